//! Changes of every kind, in binlog files of their own.

use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::shop::{Config, Shop, WITHIN};
use crate::support::{Evictd, Finished, MysqlOptions};

/// Rules over rows, with keys, paths, tags, variants and a tenant.
pub const RULES: &str = r#"
# Nothing listens there.
[buffer]
kind      = "sqs"
queue_url = "http://127.0.0.1:1/000000000000/none"

[cloudfront]
[[cloudfront.distribution]]
name = "main"
id   = "E1"

[[path]]
pattern = "/stock/*"
class   = "short-ttl"

[[rule]]
name    = "users"
tables  = ["$db.users"]
changed = ["slug", "name", "version"]
version = "version"
keys    = ["user:{id}:v{version}", "user:{id}:profile"]
paths   = ["/users/{slug}", "/stock/{id}"]

[[rule]]
name    = "lists"
tables  = ["$db.users", "$db.orders"]
keys    = ["lists"]

[[rule]]
name    = "pages"
tables  = ["$db.users"]
expand  = { locale = ["en", "de"] }
distributions = ["main"]
tenant  = "dt_{tenant_id}"
paths   = ["/{locale}/{slug}"]
edge_tags  = ["user-{id}"]
table_wide = { paths = ["/en/*", "/de/*"] }
"#;

/// Inserts, updates, deletes, a rollback, DDL, XA, and compressed transactions.
const CHANGES: &str = "
    INSERT INTO users (id, slug, name) VALUES (1, 'ada', 'Ada'), (2, 'grace', 'Grace');
    BEGIN; UPDATE users SET slug = 'ada-l', version = 2 WHERE id = 1; UPDATE users SET name = 'G' WHERE id = 2;
    INSERT INTO orders (id, user_id, total) VALUES (1, 1, 10); COMMIT;
    BEGIN; DELETE FROM users; ROLLBACK;
    ALTER TABLE users ADD COLUMN motto VARCHAR(20) FIRST;
    UPDATE users SET tenant_id = 3;
    SET SESSION binlog_transaction_compression = ON;
    INSERT INTO users (id, slug, name) VALUES (3, 'edsger', REPEAT('long ', 20)), (4, 'barbara', 'B');
    BEGIN; UPDATE users SET slug = CONCAT(slug, '-x'), version = version + 1; DELETE FROM users WHERE id = 4; COMMIT;
    SET SESSION binlog_transaction_compression = OFF;
    XA START 'x'; UPDATE users SET name = 'XA' WHERE id = 3; XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x';
    INSERT INTO unrelated (note) VALUES ('nothing to do');
    TRUNCATE TABLE orders;
    DELETE FROM users WHERE id = 2";

/// A shop with the changes in whole binlog files.
pub struct Workload {
    pub shop: Shop,
    /// Where the changes begin: `FILE:4`.
    pub begins: String,
    /// The two files with the changes.
    pub files: Vec<PathBuf>,
}

impl Workload {
    pub async fn new(options: MysqlOptions) -> Self {
        let shop = Shop::own(options).await;
        shop.sql("FLUSH BINARY LOGS").await;
        let (first, _, _) = shop.end().await;
        shop.sql(CHANGES).await;
        shop.sql("FLUSH BINARY LOGS; UPDATE users SET version = version + 1, name = 'later'")
            .await;
        let (second, _, _) = shop.end().await;
        shop.sql("FLUSH BINARY LOGS").await;
        let data = shop.mysql().data_dir();
        Self {
            begins: format!("{first}:4"),
            files: vec![data.join(first), data.join(second)],
            shop,
        }
    }

    pub fn config(&self) -> Config {
        let start = format!("start = \"{}\"", self.begins);
        self.shop.config().rest(RULES).source(&start)
    }

    /// A configuration whose servers cannot be reached and whose secrets cannot be read.
    pub fn unreachable(&self) -> Config {
        let mut config = self.config();
        config.source_url = "mysql://evictd@127.0.0.1:1".to_owned();
        config.redis_url = "redis://127.0.0.1:1".to_owned();
        config.password = r#"{ file = "/nonexistent" }"#.to_owned();
        config
    }

    /// Runs `evictd plan`, with arguments before the files.
    pub async fn plan(&self, args: &[&str], files: &[PathBuf]) -> Finished {
        self.plan_within(WITHIN, args, files).await
    }

    /// The same, for files that take a busy machine a while.
    pub async fn plan_within(
        &self,
        within: Duration,
        args: &[&str],
        files: &[PathBuf],
    ) -> Finished {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let args: Vec<&str> = ["plan"]
            .into_iter()
            .chain(args.iter().copied())
            .chain(["--binlog"])
            .chain(files)
            .collect();
        Evictd::finish(&self.unreachable().options().args(&args), within).await
    }
}
