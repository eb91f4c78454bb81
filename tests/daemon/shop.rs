//! A shop with a database, a cache, and an evictd between the two.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::AsyncCommands;
use tempfile::TempDir;

use crate::support::{
    EVICTD_PASSWORD, Evictd, EvictdOptions, Finished, Mysql, MysqlOptions, Redis, RedisOptions,
    scratch, shared_mysql,
};

/// Far more than anything takes that works.
pub const WITHIN: Duration = Duration::from_secs(30);

/// Far more than a scan of a test's few keys takes.
const SCANNED_WITHIN: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
CREATE TABLE users (
    id BIGINT UNSIGNED PRIMARY KEY, tenant_id INT, slug VARCHAR(50), name VARCHAR(100),
    status ENUM('draft', 'active', 'gone') NOT NULL DEFAULT 'active', joined DATE,
    version INT UNSIGNED NOT NULL DEFAULT 1);
CREATE TABLE orders (
    id INT UNSIGNED PRIMARY KEY, user_id BIGINT UNSIGNED, total INT, version INT UNSIGNED NOT NULL DEFAULT 1);
CREATE TABLE unrelated (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT);
CREATE TABLE marks (id INT UNSIGNED PRIMARY KEY);
";

/// The rules of most tests.
pub const USERS: &str = r#"
[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{id}:v{version}", "user:{id}:profile"]
"#;

/// Tells when evictd has done everything that was committed before.
const MARKS: &str = r#"
[[rule]]
name   = "marks"
tables = ["$db.marks"]
keys   = ["mark:{id}"]
"#;

/// The servers and files of one test.
pub struct Shop {
    mysql: Server,
    pub database: String,
    pub redis: Redis,
    pub dir: TempDir,
    /// `redis.key_prefix` of the configuration.
    pub key_prefix: &'static str,
    marks: AtomicU32,
}

enum Server {
    Shared(&'static Mysql),
    Own(Box<Mysql>),
}

impl Deref for Server {
    type Target = Mysql;

    fn deref(&self) -> &Mysql {
        match self {
            Server::Shared(mysql) => mysql,
            Server::Own(mysql) => mysql,
        }
    }
}

/// A configuration whose parts a test replaces.
#[derive(Clone, Debug)]
pub struct Config {
    pub source_url: String,
    /// A TOML value.
    pub password: String,
    /// More lines of `[source]`.
    pub source: String,
    pub redis_url: String,
    /// More lines of `[redis]`.
    pub redis: String,
    /// Everything else; `$db` stands for the database.
    pub rest: String,
    /// The lines of `[checkpoint]`.
    checkpoint: String,
    /// Also the configuration's name: on a shared server one daemon of a name leads.
    database: String,
}

impl Config {
    pub fn source(mut self, lines: &str) -> Self {
        self.source.push_str(lines);
        self.source.push('\n');
        self
    }

    /// Another file, with what stands beside it.
    pub fn checkpoint_file(self, path: &Path) -> Self {
        let lines = format!("path = \"{}\"", path.display());
        self.checkpoint(&lines)
    }

    pub fn redis(mut self, lines: &str) -> Self {
        self.redis = lines.to_owned();
        self
    }

    pub fn checkpoint(mut self, lines: &str) -> Self {
        self.checkpoint = lines.to_owned();
        self
    }

    pub fn rest(mut self, text: &str) -> Self {
        self.rest = text.to_owned();
        self
    }

    pub fn text(&self) -> String {
        let Self {
            source_url,
            password,
            source,
            redis_url,
            redis,
            rest,
            checkpoint,
            database,
            ..
        } = self;
        format!(
            "name = \"{database}\"\n[source]\nurl = \"{source_url}\"\npassword = {password}\n{source}\n\
             [checkpoint]\n{checkpoint}\n[redis]\nurl = \"{redis_url}\"\n{redis}\n{rest}\n{MARKS}"
        )
        .replace("$db", &self.database)
    }

    /// `evictd run`, with the password in the environment.
    pub fn options(&self) -> EvictdOptions {
        EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), self.text())
            .env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD)
    }

    /// Starts evictd and waits until it reads the binlog.
    pub async fn start(&self) -> Evictd {
        start(&self.options()).await
    }

    /// Runs evictd until it ends by itself.
    pub async fn finish(&self) -> Finished {
        Evictd::finish(&self.options(), WITHIN).await
    }
}

/// Starts evictd and waits until it reads the binlog.
pub async fn start(options: &EvictdOptions) -> Evictd {
    let mut evictd = Evictd::start(options);
    evictd.wait_for_line("reading the binlog", WITHIN).await;
    evictd
}

/// SIGTERM, and success.
pub async fn stop(mut evictd: Evictd) {
    evictd.terminate();
    let status = evictd.exit(WITHIN).await;
    assert!(status.success(), "{status}\n{}", evictd.tail());
}

/// It has lost no changes.
pub fn has_no_gap(evictd: &Evictd) {
    let lines = evictd.lines();
    let gap = lines.iter().find(|line| line.contains("changes are lost"));
    assert_eq!(gap, None, "{}", evictd.tail());
}

impl Shop {
    /// On the shared MySQL, in a database of its own. Others read the same binlog: what widens to everything, such as
    /// the commit of an XA transaction that was prepared before another test's evictd began, wants [`Shop::own`].
    pub async fn open() -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(1);
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let mysql = Server::Shared(shared_mysql().await);
        Self::with(mysql, format!("shop{number}"), RedisOptions::default()).await
    }

    /// On a MySQL of its own.
    pub async fn own(options: MysqlOptions) -> Self {
        let mysql = Server::Own(Box::new(Mysql::start(options).await));
        let redis = RedisOptions {
            append_only: true,
            ..RedisOptions::default()
        };
        Self::with(mysql, "shop".to_owned(), redis).await
    }

    async fn with(mysql: Server, database: String, redis: RedisOptions) -> Self {
        mysql
            .exec(format!(
                "CREATE DATABASE {database}; USE {database}; {SCHEMA}"
            ))
            .await;
        Self {
            mysql,
            database,
            redis: Redis::start(redis).await,
            dir: scratch("shop"),
            key_prefix: "",
            marks: AtomicU32::new(1),
        }
    }

    pub fn mysql(&self) -> &Mysql {
        &self.mysql
    }

    /// To stop or freeze it: only of a server of its own.
    pub fn mysql_mut(&mut self) -> &mut Mysql {
        match &mut self.mysql {
            Server::Own(mysql) => mysql,
            Server::Shared(_) => panic!("other tests use the shared server"),
        }
    }

    pub fn checkpoint_file(&self) -> PathBuf {
        self.dir.path().join("shop.checkpoint.json")
    }

    /// What the checkpoint holds, if it is there.
    pub fn checkpoint(&self) -> Option<serde_json::Value> {
        let bytes = std::fs::read(self.checkpoint_file()).ok()?;
        Some(serde_json::from_slice(&bytes).expect("the checkpoint is JSON"))
    }

    /// With the rule [`USERS`].
    pub fn config(&self) -> Config {
        Config {
            source_url: self.mysql.url(),
            password: r#"{ env = "EVICTD_SOURCE_PASSWORD" }"#.to_owned(),
            source: String::new(),
            redis_url: self.redis.url(),
            // A second deletion would take what a later step fills.
            redis: format!(
                "key_prefix = \"{}\"\nsettle_after = \"off\"",
                self.key_prefix
            ),
            rest: USERS.to_owned(),
            checkpoint: format!("path = \"{}\"", self.checkpoint_file().display()),
            database: self.database.clone(),
        }
    }

    /// Takes the first of the server's binlog files away. One that somebody still reads, as a replica that has just
    /// gone may seem to, is not purged.
    pub async fn purge_first_file(&self) {
        self.mysql.exec("FLUSH BINARY LOGS").await;
        let purged = self.poll(async |shop: &Self| {
            shop.mysql
                .exec("PURGE BINARY LOGS TO 'mysql-bin.000002'")
                .await;
            let left: Vec<(String, u64, String)> = shop.mysql.rows("SHOW BINARY LOGS").await;
            left.len() == 1
        });
        assert!(purged.await, "somebody still reads it");
    }

    /// Runs statements in the shop's database.
    pub async fn sql(&self, sql: &str) {
        self.mysql
            .exec(format!("USE {}; {sql}", self.database))
            .await;
    }

    /// Caches something under each key.
    pub async fn fill<K: AsRef<[u8]>>(&self, keys: &[K]) {
        let mut conn = self.redis.conn().await;
        for chunk in keys.chunks(1_000) {
            let entries: Vec<(&[u8], &str)> = chunk.iter().map(|key| (key.as_ref(), "x")).collect();
            let _: () = conn.mset(&entries).await.unwrap();
        }
    }

    /// The number of keys.
    pub async fn redis_size(&self, conn: &mut redis::aio::MultiplexedConnection) -> u64 {
        let size = redis::cmd("DBSIZE").query_async(conn).await;
        size.expect("DBSIZE answers")
    }

    /// Waits until all of these keys are gone.
    pub async fn gone(&self, keys: &[&str], evictd: &Evictd) {
        let mut left = Vec::new();
        let gone = self.poll(async |shop: &Self| {
            left = shop.redis.keys().await;
            left.retain(|key| keys.contains(&key.as_str()));
            left.is_empty()
        });
        assert!(gone.await, "{left:?} stay\n{}", evictd.tail());
    }

    /// Waits until no key is left.
    pub async fn empty(&self, evictd: &Evictd) {
        let mut left = Vec::new();
        let gone = self.poll(async |shop: &Self| {
            left = shop.redis.keys().await;
            left.is_empty()
        });
        assert!(
            gone.await,
            "{} keys stay, such as {:?}\n{}",
            left.len(),
            left.first(),
            evictd.tail()
        );
    }

    async fn poll(&self, mut done: impl AsyncFnMut(&Self) -> bool) -> bool {
        let deadline = std::time::Instant::now() + WITHIN;
        while !done(self).await {
            if std::time::Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Waits until evictd has done everything committed before.
    ///
    /// A later change's key goes only after the earlier ones. What takes a scan goes beside them; it shows in the
    /// position, which some tests hold up on purpose, though none of those has a scan.
    pub async fn done(&self, evictd: &Evictd) {
        for _ in 0..2 {
            let mark = self.marks.fetch_add(1, Ordering::Relaxed);
            let key = format!("{}mark:{mark}", self.key_prefix);
            self.fill(&[&key]).await;
            self.sql(&format!("INSERT INTO marks VALUES ({mark})"))
                .await;
            self.gone(&[&key], evictd).await;
        }
        let (file, offset, _) = self.end().await;
        let deadline = std::time::Instant::now() + SCANNED_WITHIN;
        while let Some(stored) = self.checkpoint()
            && (stored["file"].as_str(), stored["offset"].as_u64())
                < (Some(file.as_str()), Some(offset))
            && std::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Caches `keys`, makes the change, and returns which of them are gone once evictd is done with it.
    pub async fn deleted_by(&self, evictd: &Evictd, keys: &[&str], sql: &str) -> Vec<String> {
        self.fill(keys).await;
        self.sql(sql).await;
        self.done(evictd).await;
        let left = self.redis.keys().await;
        let gone = keys
            .iter()
            .filter(|key| !left.iter().any(|left| left == **key));
        gone.map(|key| (*key).to_owned()).collect()
    }

    /// Waits until the checkpoint has passed what is the server's end now.
    pub async fn checkpoint_passes_the_end(&self, evictd: &Evictd) {
        let (file, offset, _) = self.end().await;
        let passed = self.poll(async |shop: &Self| {
            shop.checkpoint().is_some_and(|stored| {
                let at = (stored["file"].as_str(), stored["offset"].as_u64());
                at >= (Some(file.as_str()), Some(offset))
            })
        });
        assert!(passed.await, "{:?}\n{}", self.checkpoint(), evictd.tail());
    }

    /// Waits until the checkpoint is at the server's end, and returns it. Only on a server of its own.
    pub async fn checkpoint_at_end(&self) -> serde_json::Value {
        let (file, offset, gtids) = self.end().await;
        let mut stored = None;
        let at_end = self.poll(async |shop: &Self| {
            stored = shop.checkpoint();
            stored.as_ref().is_some_and(|stored| {
                stored["file"] == file.as_str()
                    && stored["offset"] == offset
                    && stored["gtid_set"].as_str().unwrap_or_default() == gtids
            })
        });
        assert!(at_end.await, "{stored:?} and not {file}:{offset} {gtids}");
        stored.expect("it was found")
    }

    /// The server's end: file, offset and executed GTIDs.
    pub async fn end(&self) -> (String, u64, String) {
        let rows: Vec<(String, u64, String, String, String)> =
            self.mysql.rows("SHOW BINARY LOG STATUS").await;
        let (file, offset, _, _, gtids) = rows.into_iter().next().expect("one row");
        (file, offset, gtids.replace('\n', ""))
    }
}
