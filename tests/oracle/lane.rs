//! Servers for one case after the other.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use super::case::Case;
use super::settings::{DEFAULTS, Settings};
use crate::support::{
    EVICTD_PASSWORD, EvictdOptions, FakeCloudFront, Mysql, MysqlOptions, Redis, RedisOptions,
    Relay, scratch,
};

/// `redis.settle_after`. What readers promise is a bit less.
const SETTLE_AFTER: &str = "500ms";
pub const FILL_WITHIN: Duration = Duration::from_millis(430);

/// A table that tells when evictd is done.
const MARKS: &str =
    "CREATE DATABASE marks; CREATE TABLE marks.marks (id BIGINT UNSIGNED PRIMARY KEY)";

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
    pub relay: Relay,
    dir: TempDir,
    /// How many cases it has begun.
    cases: u32,
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
        Self {
            settles,
            relay,
            mysql,
            redis: Redis::start(RedisOptions::default()).await,
            dir: scratch("oracle"),
            cases: 0,
        }
    }

    /// Puts everything back, and makes what the case begins with.
    pub async fn begin(&mut self, case: &Case) -> Conn {
        self.cases += 1;
        self.relay.release();
        let mut conn = connect(&self.mysql).await;
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
        let mut cache = self.redis.conn().await;
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut cache)
            .await
            .expect("Redis runs");
        conn
    }

    pub fn checkpoint_file(&self) -> PathBuf {
        self.dir
            .path()
            .join(format!("{}.checkpoint.json", self.cases))
    }

    /// The stored position's file and offset.
    pub fn position(&self) -> Option<(String, u64)> {
        let bytes = std::fs::read(self.checkpoint_file()).ok()?;
        let stored: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let file = stored["file"].as_str()?.to_owned();
        Some((file, stored["offset"].as_u64()?))
    }

    pub fn evictd(&self, case: &Case, fake: Option<&FakeCloudFront>) -> EvictdOptions {
        let mut config = format!(
            "name = \"oracle-{}\"\n[source]\nurl = \"mysql://evictd@127.0.0.1:{}\"\npassword = {{ env = \"EVICTD_SOURCE_PASSWORD\" }}\n\
             [checkpoint]\npath = \"{}\"\n[redis]\nurl = \"{}\"\nsettle_after = \"{}\"\n",
            self.cases,
            self.relay.port(),
            self.checkpoint_file().display(),
            self.redis.url(),
            if self.settles { SETTLE_AFTER } else { "off" },
        );
        let mut marks =
            "\n[[rule]]\nname = 'marks'\ntables = ['marks.marks']\nkeys = ['mark:{id}']\n"
                .to_owned();
        if fake.is_some() {
            let queue = self.dir.path().join(format!("{}.redb", self.cases));
            config += &format!(
                "[buffer]\nkind = \"local\"\npath = \"{}\"\n[cloudfront]\nwindow = \"20ms\"\ncalls_per_second = 100\n\
                 [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n",
                queue.display()
            );
            marks += "paths = ['/mark/{id}']\n";
        }
        config += &case.rules_toml();
        config += &marks;
        let built = || env!("CARGO_BIN_EXE_evictd").to_owned();
        let binary = std::env::var("ORACLE_BINARY").unwrap_or_else(|_| built());
        let mut options =
            EvictdOptions::run(binary, config).env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD);
        if let Some(fake) = fake {
            options = options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
            for (name, value) in [
                ("AWS_REGION", "eu-west-1"),
                ("AWS_ACCESS_KEY_ID", "oracle"),
                ("AWS_SECRET_ACCESS_KEY", "oracle"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_CONFIG_FILE", "/dev/null"),
                ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ] {
                options = options.env(name, value);
            }
        }
        options
    }
}
