//! Servers, rows, and stretches of the binlog to be read again and again.

use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;

use crate::support::{Mysql, MysqlOptions, Redis, RedisOptions, servers};

/// Rows of the table, and updates of most stretches.
pub const ROWS: u64 = 1_000_000;

/// Row changes in transactions of one row.
pub const SINGLE_ROWS: u64 = 200_000;

/// Row changes in the one large transaction.
pub const HUGE_ROWS: u64 = 5_000_000;

/// What every stretch changes.
const UPDATE: &str =
    "UPDATE bench.users SET version = version + 1, name = CONCAT(name, '!'), balance = balance + 1";

/// A part of the binlog, in a file of its own. Its last transaction inserts a row into `bench.ends`.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub file: String,
    pub offset: u64,
    pub rows: u64,
    /// The row of `bench.ends`.
    pub end: u64,
    /// Rows of `bench.ends` in between, with the changes before them.
    pub marks: Vec<(u64, u64)>,
}

impl Stretch {
    /// Every row of `bench.ends` in it.
    pub fn ends(&self) -> Vec<u64> {
        let marks = self.marks.iter().map(|(end, _)| *end);
        marks.chain([self.end]).collect()
    }
}

/// Servers and stretches, made when they are needed first.
#[derive(Default)]
pub struct World {
    mysql: Option<Mysql>,
    redis: Option<Redis>,
    many: Option<Stretch>,
    single: Option<Stretch>,
    huge: Option<Stretch>,
    ends: u64,
}

impl World {
    pub fn mysql(&self) -> &Mysql {
        self.mysql.as_ref().expect("a stretch was asked for before")
    }

    pub fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("a stretch was asked for before")
    }

    /// Every row updated, a thousand in each transaction.
    pub async fn many(&mut self) -> Stretch {
        if self.many.is_none() {
            self.users().await;
            let mut stretch = self.begin().await;
            let mysql = self.mysql.as_ref().expect("it was started");
            let mut conn = mysql.conn().await;
            for chunk in 0..ROWS / 1_000 {
                let first = chunk * 1_000;
                let sql = format!("{UPDATE} WHERE id >= {first} AND id < {}", first + 1_000);
                conn.query_drop(sql).await.expect("rows are updated");
                let done = first + 1_000;
                if matches!(done, 10_000 | 100_000) {
                    self.ends += 1;
                    let sql = format!("INSERT INTO bench.ends VALUES ({})", self.ends);
                    conn.query_drop(sql).await.expect("a row is inserted");
                    stretch.marks.push((self.ends, done));
                }
            }
            stretch.rows = ROWS;
            self.many = Some(self.end(stretch).await);
        }
        self.many.clone().expect("it was made")
    }

    /// Rows updated one by one, each in a transaction of its own.
    pub async fn single(&mut self) -> Stretch {
        if self.single.is_none() {
            self.users().await;
            // A procedure saves the round trips.
            self.mysql()
                .exec(format!(
                    "CREATE PROCEDURE bench.single(n BIGINT) BEGIN DECLARE i BIGINT DEFAULT 0; \
                     WHILE i < n DO {UPDATE} WHERE id = i; SET i = i + 1; END WHILE; END"
                ))
                .await;
            let mut stretch = self.begin().await;
            self.mysql()
                .exec(format!("CALL bench.single({SINGLE_ROWS})"))
                .await;
            stretch.rows = SINGLE_ROWS;
            self.single = Some(self.end(stretch).await);
        }
        self.single.clone().expect("it was made")
    }

    /// Five million rows inserted in one transaction.
    pub async fn huge(&mut self) -> Stretch {
        if self.huge.is_none() {
            self.users().await;
            let table =
                "CREATE TABLE bench.events (id BIGINT PRIMARY KEY, kind VARCHAR(20) NOT NULL)";
            self.mysql().exec(table).await;
            let mut stretch = self.begin().await;
            let digits = digits();
            self.mysql()
                .exec(format!(
                    "INSERT INTO bench.events SELECT a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d + 100000*f.d \
                       + 1000000*g.d AS id, 'placed' FROM {digits} a, {digits} b, {digits} c, {digits} d, \
                       {digits} e, {digits} f, {digits} g WHERE g.d < 5"
                ))
                .await;
            stretch.rows = HUGE_ROWS;
            self.huge = Some(self.end(stretch).await);
        }
        self.huge.clone().expect("it was made")
    }

    /// Ten times every row.
    pub async fn ten_times_many(&mut self) -> Stretch {
        self.users().await;
        let mut stretch = self.begin().await;
        let mut conn = self.mysql().conn().await;
        for chunk in 0..10 * ROWS / 1_000 {
            let first = chunk * 1_000 % ROWS;
            let sql = format!("{UPDATE} WHERE id >= {first} AND id < {}", first + 1_000);
            let sql = sql.replace("CONCAT(name, '!')", "REVERSE(name)");
            conn.query_drop(sql).await.expect("rows are updated");
        }
        stretch.rows = 10 * ROWS;
        self.end(stretch).await
    }

    /// Runs statements in a stretch of their own.
    pub async fn stretch(&mut self, sql: &str, rows: u64) -> Stretch {
        self.users().await;
        let mut stretch = self.begin().await;
        self.mysql().exec(sql).await;
        stretch.rows = rows;
        self.end(stretch).await
    }

    /// Begins a binlog file.
    async fn begin(&mut self) -> Stretch {
        self.mysql().exec("FLUSH BINARY LOGS").await;
        let rows = self
            .mysql()
            .rows::<mysql_async::Row>("SHOW BINARY LOG STATUS")
            .await;
        let row = rows.first().expect("the server has a binlog");
        Stretch {
            file: row.get("File").expect("it is named"),
            offset: row.get("Position").expect("it has an end"),
            rows: 0,
            end: 0,
            marks: Vec::new(),
        }
    }

    async fn end(&mut self, mut stretch: Stretch) -> Stretch {
        self.ends += 1;
        stretch.end = self.ends;
        let end = format!(
            "INSERT INTO bench.ends VALUES ({}); FLUSH BINARY LOGS",
            self.ends
        );
        self.mysql().exec(end).await;
        stretch
    }

    /// Twelve columns, about 250 bytes a row image.
    async fn users(&mut self) {
        if self.mysql.is_some() {
            return;
        }
        println!("  preparing {ROWS} rows ...");
        let mysql = Mysql::start(MysqlOptions {
            extra: [
                "--innodb-buffer-pool-size=1G",
                "--innodb-redo-log-capacity=2G",
                "--max-binlog-size=1G",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..MysqlOptions::default()
        })
        .await;
        mysql
            .exec(
                "CREATE DATABASE bench; USE bench; CREATE TABLE ends (id BIGINT PRIMARY KEY); \
                 CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, tenant_id INT NOT NULL, \
                   name VARCHAR(80) NOT NULL, email VARCHAR(120), slug VARCHAR(80) NOT NULL, \
                   status ENUM('draft','active','gone') NOT NULL, balance DECIMAL(12,2) NOT NULL, \
                   score DOUBLE, bio VARCHAR(255), created_at DATETIME(6) NOT NULL, \
                   updated_at TIMESTAMP NULL, version INT UNSIGNED NOT NULL) CHARSET utf8mb4",
            )
            .await;
        let digits = digits();
        for first in (0..ROWS).step_by(100_000) {
            mysql
                .exec(format!(
                    "INSERT INTO bench.users SELECT id, id % 100, CONCAT('User number ', id), \
                       CONCAT('user', id, '@example.com'), CONCAT('user-number-', id), 'active', \
                       id / 7, id * 1.5, REPEAT('x', 100), NOW(6), NOW(), 1 \
                     FROM (SELECT {first} + a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d AS id \
                       FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e) ids"
                ))
                .await;
        }
        self.mysql = Some(mysql);
        self.redis = Some(redis(&[]).await);
    }
}

fn digits() -> String {
    let all: Vec<String> = (1..10).map(|d| format!("UNION ALL SELECT {d}")).collect();
    format!("(SELECT 0 d {})", all.join(" "))
}

/// A server whose keys can be made quickly.
pub async fn redis(extra: &[&str]) -> Redis {
    let mut options = vec!["--enable-debug-command", "local"];
    options.extend(extra);
    Redis::start(RedisOptions {
        extra: options.into_iter().map(str::to_owned).collect(),
        ..RedisOptions::default()
    })
    .await
}

/// Makes keys `PREFIX:0` and on for each prefix, and those of ends; nothing else is left.
pub fn fill_keys(redis: &Redis, prefixes: &[&str], rows: u64, ends: &[u64]) {
    redis_cli(redis, &["FLUSHALL"]);
    for prefix in prefixes {
        redis_cli(redis, &["DEBUG", "POPULATE", &rows.to_string(), prefix]);
    }
    for end in ends {
        redis_cli(redis, &["SET", &format!("end:{end}"), "x"]);
    }
}

pub fn redis_cli(redis: &Redis, arguments: &[&str]) {
    let status = Command::new(&servers().redis_cli)
        .args(["-p", &redis.port().to_string()])
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .expect("redis-cli runs");
    assert!(status.success(), "redis-cli {arguments:?} succeeds");
}
