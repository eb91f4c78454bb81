//! Takes the screenshots of the documentation, of real commands on real servers.
//!
//! `make screenshots` writes them to `docs/images`: what `evictd check`, `status` and `replay` print to a terminal,
//! with MySQL, Redis and an AWS emulator behind them.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it ends with the reason when something cannot be set up"
)]

mod terminal;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{
    Aws, EVICTD_PASSWORD, Evictd, EvictdOptions, Mysql, MysqlOptions, Redis, RedisOptions, scratch,
};
use terminal::Terminal;

const STARTED_WITHIN: Duration = Duration::from_secs(30);
const COLUMNS: u16 = 150;

/// Rows that a replay reads: enough to see it half done.
const ROWS: usize = 200_000;

const SCHEMA: &str = "
CREATE DATABASE shop;
CREATE TABLE shop.users (
    id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, slug VARCHAR(50) NOT NULL, name VARCHAR(100) NOT NULL,
    version INT UNSIGNED NOT NULL DEFAULT 1);
";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a Tokio runtime can be built");
    runtime.block_on(Box::pin(take_all()));
}

async fn take_all() {
    let mysql = Mysql::start(MysqlOptions::default()).await;
    let redis = Redis::start(RedisOptions::default()).await;
    let aws = Aws::start().await;
    let distribution = aws.create_distribution("shop").await;
    let (queue_url, _) = aws
        .create_queue_with_dead_letters("shop-invalidations", 5)
        .await;
    mysql.exec(SCHEMA).await;

    let dir = scratch("screenshots");
    let metrics = support::free_port();
    let config = configuration(
        &mysql,
        &redis,
        &queue_url,
        &distribution,
        dir.path(),
        metrics,
    );
    let binary = evictd_binary();
    let options = EvictdOptions::run(&binary, config.as_str())
        .env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD)
        .envs(aws.env());
    std::fs::write(dir.path().join("shop.toml"), &config).expect("a scratch file can be written");
    let mut env = aws.env();
    env.push((
        "EVICTD_SOURCE_PASSWORD".to_owned(),
        EVICTD_PASSWORD.to_owned(),
    ));
    env.push(("EVICTD_CONFIG".to_owned(), "shop.toml".to_owned()));
    let terminal = Terminal {
        directory: dir.path().to_owned(),
        path: binary.parent().expect("it lies in a directory").to_owned(),
        env,
        columns: COLUMNS,
    };
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&images).expect("the images' directory can be made");

    terminal
        .take("evictd check", &images.join("check.svg"), |_| false)
        .await;

    let mut evictd = Evictd::start(&options);
    evictd
        .wait_for_line("reading the binlog", STARTED_WITHIN)
        .await;
    fill(&mysql).await;
    terminal
        .take("evictd status", &images.join("status.svg"), |_| false)
        .await;

    evictd.terminate();
    evictd.exit(STARTED_WITHIN).await;
    let halfway = |screen: &str| (40..70).any(|percent| screen.contains(&format!(" {percent} %")));
    terminal
        .take(
            "evictd replay --from earliest --only cache",
            &images.join("replay.svg"),
            halfway,
        )
        .await;
}

/// Inserts the rows, and changes one of them.
async fn fill(mysql: &Mysql) {
    let values: Vec<String> = (0..1_000)
        .map(|row| format!("('user-{row}', 'User {row}')"))
        .collect();
    let insert = format!(
        "INSERT INTO shop.users (slug, name) VALUES {}",
        values.join(", ")
    );
    for _ in 0..ROWS / 1_000 {
        mysql.exec(&insert).await;
    }
    mysql
        .exec("UPDATE shop.users SET name = 'Ada', version = version + 1 WHERE id = 7")
        .await;
}

fn configuration(
    mysql: &Mysql,
    redis: &Redis,
    queue_url: &str,
    distribution: &str,
    directory: &Path,
    metrics: u16,
) -> String {
    format!(
        r#"
name = "shop"

[source]
url      = "{mysql_url}"
password = {{ env = "EVICTD_SOURCE_PASSWORD" }}
tls      = {{ mode = "disabled" }}

[checkpoint]
path = "{checkpoint}"

[redis]
url = "{redis_url}"

[metrics]
listen = "127.0.0.1:{metrics}"

[buffer]
kind      = "sqs"
queue_url = "{queue_url}"

[[cloudfront.distribution]]
name = "main"
id   = "{distribution}"
monthly_path_budget = 20000

[[path]]
pattern = "/checkout/*"
class   = "strong"

[[path]]
pattern = "/users/*"
class   = "cached"

[[rule]]
name    = "users"
tables  = ["shop.users"]
version = "version"
keys    = ["user:{{id}}:v{{version}}", "user:{{id}}:profile"]
paths   = ["/users/{{slug}}"]
"#,
        mysql_url = mysql.url(),
        redis_url = redis.url(),
        checkpoint = directory.join("shop.checkpoint.json").display(),
    )
}

/// The program, which is in the directory above this example's.
fn evictd_binary() -> PathBuf {
    let example = std::env::current_exe().expect("the example knows where it is");
    let directory = example.parent().and_then(Path::parent);
    let binary = directory
        .expect("it lies in target/*/examples")
        .join("evictd");
    assert!(
        binary.exists(),
        "{} is not built: run `make screenshots`, or `cargo build` first",
        binary.display()
    );
    binary
}
