//! Servers for one case after the other.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use super::case::Case;
use super::settings::{DEFAULTS, Settings};
use crate::support::{Mysql, MysqlOptions, Redis, RedisOptions, Relay, scratch};

/// `redis.settle_after`. What readers promise is a bit less.
const SETTLE_AFTER: &str = "500ms";
pub const FILL_WITHIN: Duration = Duration::from_millis(430);

/// A table that tells when evictd is done.
const MARKS: &str =
    "CREATE DATABASE marks; CREATE TABLE marks.marks (id BIGINT UNSIGNED PRIMARY KEY)";

/// What [`super::fates::MysqlFate::Set`] changes.
const UNSWITCHED: [&str; 3] = [
    "binlog_row_image = FULL",
    "binlog_transaction_compression = OFF",
    "binlog_row_value_options = ''",
];

/// Databases that no rule is about.
const ELSEWHERE: &str = "elsewhere";

/// What a server can only be started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    gtid: bool,
    native_foreign_keys: bool,
}

impl Server {
    /// For one lane after the other.
    pub const KINDS: [Self; 4] = [
        Self::new(true, false),
        Self::new(false, true),
        Self::new(true, true),
        Self::new(false, false),
    ];

    const fn new(gtid: bool, native_foreign_keys: bool) -> Self {
        Self {
            gtid,
            native_foreign_keys,
        }
    }

    pub fn of(settings: &Settings) -> Self {
        Self::new(settings.gtid, settings.native_foreign_keys)
    }
}

pub struct Lane {
    /// Whether keys settle.
    pub settles: bool,
    pub mysql: Mysql,
    pub redis: Redis,
    /// In front of Redis, so that a replica can take over.
    pub redis_relay: Relay,
    pub redis_replica: Option<Redis>,
    pub relay: Relay,
    dir: TempDir,
    /// How many cases it has begun.
    cases: u32,
    /// Settings of the server that are not what they are at its start.
    pub switched: bool,
    /// What follows the server, and takes its place.
    pub replica: Option<Mysql>,
    /// What it took the place of, and lives on.
    pub former: Option<Mysql>,
    /// How many servers there have been.
    pub servers: u32,
    gtid: bool,
}

/// A connection as the readers of an application have it, whatever the server's defaults are.
pub async fn connect(mysql: &Mysql) -> Conn {
    let mut conn = mysql.conn().await;
    for sql in [
        "SET NAMES utf8mb4",
        "SET autocommit = 1, sql_mode = 'STRICT_TRANS_TABLES', time_zone = '+00:00'",
        "SET sql_select_limit = 18446744073709551615, transaction_isolation = 'REPEATABLE-READ'",
        "SET group_concat_max_len = 1000000, show_gipk_in_create_table_and_information_schema = ON",
    ] {
        run(&mut conn, sql).await;
    }
    conn
}

/// Switches GTIDs on or off as the manual says, while the server runs.
pub async fn switch_gtids(conn: &mut Conn, on: bool) {
    let modes = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let now: Option<String> = conn
        .query_first("SELECT @@GLOBAL.gtid_mode")
        .await
        .expect("the server answers");
    let now = now.expect("it has a mode");
    let at = modes.iter().position(|mode| *mode == now);
    let at = at.expect("one of the four");
    let steps: Vec<&str> = if on {
        run(conn, "SET GLOBAL enforce_gtid_consistency = ON").await;
        modes[at + 1..].to_vec()
    } else {
        modes[..at].iter().rev().copied().collect()
    };
    for mode in steps {
        run(conn, &format!("SET GLOBAL gtid_mode = {mode}")).await;
    }
}

/// A statement of the harness, which has to succeed.
pub async fn run(conn: &mut Conn, sql: &str) {
    if let Err(error) = conn.query_drop(sql).await {
        panic!("{error}\nin: {sql}");
    }
}

impl Lane {
    pub async fn start(server: Server, settles: bool) -> Self {
        let native = u8::from(server.native_foreign_keys);
        let options = MysqlOptions {
            gtid: server.gtid,
            extra: vec![format!("--innodb-native-foreign-keys={native}")],
            ..MysqlOptions::default()
        };
        let mysql = Mysql::start(options).await;
        mysql.exec(MARKS).await;
        let relay = Relay::to(mysql.port()).await;
        let redis = Redis::start(RedisOptions::default()).await;
        Self {
            settles,
            relay,
            mysql,
            redis_relay: Relay::to(redis.port()).await,
            redis,
            redis_replica: None,
            dir: scratch("oracle"),
            cases: 0,
            switched: false,
            replica: None,
            former: None,
            servers: 1,
            gtid: server.gtid,
        }
    }

    /// Puts everything back, and makes what the case begins with.
    pub async fn begin(&mut self, case: &Case) -> Conn {
        self.cases += 1;
        self.relay.release();
        self.replica = None;
        self.former = None;
        self.redis_replica = None;
        std::fs::create_dir(self.state_dir()).expect("there is room");
        let mut conn = connect(&self.mysql).await;
        if std::mem::take(&mut self.switched) {
            switch_gtids(&mut conn, self.gtid).await;
            for default in UNSWITCHED {
                run(&mut conn, &format!("SET GLOBAL {default}")).await;
            }
        }
        let prepared: Vec<(u32, u32, u32, String)> =
            conn.query("XA RECOVER").await.expect("the server answers");
        for (_, _, _, id) in prepared {
            run(&mut conn, &format!("XA ROLLBACK '{id}'")).await;
        }
        for default in DEFAULTS {
            run(&mut conn, &format!("SET GLOBAL {default}")).await;
        }
        let databases: Vec<String> = conn
            .query("SHOW DATABASES WHERE `Database` NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'marks')")
            .await
            .expect("the server answers");
        for database in databases {
            run(&mut conn, &format!("DROP DATABASE `{database}`")).await;
        }
        let database = &case.schema.database;
        run(
            &mut conn,
            &format!("CREATE DATABASE {ELSEWHERE}; CREATE DATABASE `{database}`; USE `{database}`"),
        )
        .await;
        let invisible = u8::from(case.settings.invisible_key);
        run(
            &mut conn,
            &format!("SET sql_generate_invisible_primary_key = {invisible}"),
        )
        .await;
        for sql in case.setup() {
            // Rows may lack the one that they refer to, and a shrunk case may lack a table.
            conn.query_drop(sql).await.ok();
        }
        for sql in case.settings.begin() {
            run(&mut conn, &sql).await;
        }
        self.redis.configure("maxmemory", "0").await;
        let mut cache = self.redis.conn().await;
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut cache)
            .await
            .expect("Redis runs");
        self.redis.forget_snapshot();
        conn
    }

    /// What evictd is called.
    pub fn name(&self) -> String {
        format!("oracle-{}", self.cases)
    }

    pub fn settle_after(&self) -> &'static str {
        if self.settles { SETTLE_AFTER } else { "off" }
    }

    /// Where evictd keeps its files.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join(self.cases.to_string())
    }

    pub fn checkpoint_file(&self) -> PathBuf {
        self.state_dir().join("checkpoint.json")
    }

    pub fn queue_file(&self) -> PathBuf {
        self.state_dir().join("queue.redb")
    }
}
