//! One screen that shows what evictd does, on a real MySQL, a real Redis and an AWS emulator.
//!
//! A small shop fills its caches, then rows change in MySQL. The screen shows each change, the keys that were deleted
//! from Redis and how long after the commit, and the paths that were invalidated at CloudFront. Nothing is left behind,
//! whether the demo ends by itself, fails or is interrupted.
//!
//! Run it with `make demo`.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints a screen, and ends with the reason when something cannot be set up"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use support::{
    Aws, EVICTD_PASSWORD, Evictd, EvictdOptions, Mysql, MysqlOptions, Redis, RedisOptions, scratch,
};

const STARTED_WITHIN: Duration = Duration::from_secs(30);
const EVICTED_WITHIN: Duration = Duration::from_secs(30);
const SETTLED_AFTER: Duration = Duration::from_millis(500);
const COLUMN_WIDTHS: [usize; 3] = [44, 26, 24];

const SCHEMA: &str = "
CREATE DATABASE shop;
CREATE TABLE shop.users (
    id INT UNSIGNED PRIMARY KEY, tenant_id INT UNSIGNED NOT NULL, slug VARCHAR(50) NOT NULL,
    name VARCHAR(100) NOT NULL, email VARCHAR(100) NOT NULL, status VARCHAR(20) NOT NULL DEFAULT 'active',
    version INT UNSIGNED NOT NULL DEFAULT 1);
CREATE TABLE shop.products (
    id INT UNSIGNED PRIMARY KEY, slug VARCHAR(50) NOT NULL, name VARCHAR(100) NOT NULL,
    price_cents INT UNSIGNED NOT NULL, version INT UNSIGNED NOT NULL DEFAULT 1);
CREATE TABLE shop.orders (
    id INT UNSIGNED PRIMARY KEY, user_id INT UNSIGNED NOT NULL, total_cents INT UNSIGNED NOT NULL,
    status VARCHAR(20) NOT NULL, version INT UNSIGNED NOT NULL DEFAULT 1);
INSERT INTO shop.users (id, tenant_id, slug, name, email) VALUES
    (1, 1, 'ada', 'Ada Byron', 'ada@shop.test'), (2, 1, 'grace', 'Grace Hopper', 'grace@shop.test');
INSERT INTO shop.products (id, slug, name, price_cents) VALUES (1, 'teapot', 'Teapot', 2900), (2, 'cup', 'Cup', 700);
INSERT INTO shop.orders (id, user_id, total_cents, status) VALUES (1, 1, 3600, 'placed');
";

/// A change to a row, and the keys and paths that have to be gone after it.
struct Change {
    sql: &'static str,
    why: &'static str,
    keys: &'static [&'static str],
    paths: &'static [&'static str],
}

const CHANGES: [Change; 5] = [
    Change {
        sql: "UPDATE shop.users SET name = 'Ada Lovelace', version = version + 1 WHERE id = 1",
        why: "a name changes, the version with it",
        keys: &["user:1:v1", "user:1:profile", "tenant:1:users"],
        paths: &["/users/ada", "/api/users/1*"],
    },
    Change {
        sql: "UPDATE shop.products SET slug = 'tea-pot', version = version + 1 WHERE id = 1",
        why: "a slug changes: the old page and the new",
        keys: &["product:1:v1", "products:all"],
        paths: &["/products/teapot", "/products/tea-pot", "/api/products/1*"],
    },
    Change {
        sql: "DELETE FROM shop.users WHERE id = 2",
        why: "a row goes",
        keys: &["user:2:v1", "user:2:profile", "tenant:1:users"],
        paths: &["/users/grace", "/api/users/2*"],
    },
    Change {
        sql: "INSERT INTO shop.products (id, slug, name, price_cents) VALUES (3, 'kettle', 'Kettle', 4900)",
        why: "a row comes: only the list is stale",
        keys: &["products:all"],
        paths: &["/products/kettle", "/api/products/3*"],
    },
    Change {
        sql: "UPDATE shop.orders SET status = 'paid', version = version + 1 WHERE id = 1",
        why: "checkout is never cached at the edge",
        keys: &["order:1:v1", "user:1:orders"],
        paths: &[],
    },
];

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("unknown reason");
        eprintln!("\nThe demo failed: {message}");
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a Tokio runtime can be built");
    // `demo` owns everything that was started, and drops it when it ends, fails, or is dropped itself by Ctrl-C.
    runtime.block_on(async {
        tokio::select! {
            () = Box::pin(demo()) => ExitCode::SUCCESS,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("\nInterrupted; nothing is left running.");
                ExitCode::from(130)
            }
        }
    })
}

async fn demo() {
    let since = Instant::now();
    eprintln!("Starting MySQL, Redis, an AWS emulator and evictd ...");
    let binary = evictd_binary();
    let mysql = Mysql::start(MysqlOptions::default()).await;
    let redis = Redis::start(RedisOptions::default()).await;
    let aws = Aws::start().await;
    let distribution = aws.create_distribution("shop").await;
    let (queue_url, _) = aws
        .create_queue_with_dead_letters("shop-invalidations", 5)
        .await;
    mysql.exec(SCHEMA).await;

    let state = scratch("demo");
    let checkpoint = state.path().join("shop.checkpoint.json");
    let config = configuration(&mysql, &redis, &queue_url, &distribution, &checkpoint);
    let options = EvictdOptions::run(binary, config)
        .env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD)
        .envs(aws.env());
    let mut evictd = Evictd::start(&options);
    // evictd stores its position before it reads on.
    wait_until(&mut evictd, STARTED_WITHIN, "start", async || {
        checkpoint.exists()
    })
    .await;
    eprintln!("Ready after {:.1} s.\n", since.elapsed().as_secs_f64());

    fill_cache(&mysql, &redis).await;
    let cached = redis.keys().await;
    println!(
        "The shop has filled its cache. Redis holds {} keys:",
        cached.len()
    );
    print_wrapped(&cached);

    println!();
    print_row([
        "ROW CHANGE IN MYSQL",
        "KEYS GONE FROM REDIS",
        "PATHS SENT TO CLOUDFRONT",
    ]);
    print_row(
        COLUMN_WIDTHS
            .map(|width| "─".repeat(width))
            .each_ref()
            .map(String::as_str),
    );
    for change in &CHANGES {
        show(change, &mysql, &redis, &aws, &distribution, &mut evictd).await;
        // The next readers miss, and fill from the new rows.
        fill_cache(&mysql, &redis).await;
    }

    let cached = redis.keys().await;
    println!(
        "The shop has filled its cache again, from the new rows. Redis holds {} keys:",
        cached.len()
    );
    print_wrapped(&cached);
    let requests = aws.invalidations(&distribution).await.len();
    println!(
        "\nCloudFront got {} paths in {requests} invalidations. The shop itself invalidated nothing.",
        aws.invalidated_paths(&distribution).await.len()
    );

    evictd.terminate();
    let status = evictd.exit(STARTED_WITHIN).await;
    assert!(
        status.success(),
        "evictd ended with {status}\n{}",
        evictd.tail()
    );
}

/// Makes one change and prints its row of the table.
async fn show(
    change: &Change,
    mysql: &Mysql,
    redis: &Redis,
    aws: &Aws,
    distribution: &str,
    evictd: &mut Evictd,
) {
    let before: BTreeSet<String> = redis.keys().await.into_iter().collect();
    let paths_before = aws.invalidated_paths(distribution).await;
    let mut conn = redis.conn().await;

    mysql.exec(change.sql).await;
    let committed = Instant::now();
    wait_until(evictd, EVICTED_WITHIN, "delete keys", async || {
        let left: u32 = conn.exists(change.keys).await.expect("EXISTS answers");
        left == 0
    })
    .await;
    let took = committed.elapsed();

    let new_paths = async || {
        let mut paths = aws.invalidated_paths(distribution).await;
        for old in &paths_before {
            let place = paths.iter().position(|path| path == old);
            paths.swap_remove(place.expect("an invalidation stays listed"));
        }
        paths.sort();
        paths
    };
    wait_until(evictd, EVICTED_WITHIN, "invalidate paths", async || {
        let paths = new_paths().await;
        change
            .paths
            .iter()
            .all(|path| paths.iter().any(|new| new == path))
    })
    .await;

    if change.paths.is_empty() {
        // Paths show that the keys are settled. Without paths, wait for that long.
        tokio::time::sleep(SETTLED_AFTER).await;
    }

    let after: BTreeSet<String> = redis.keys().await.into_iter().collect();
    let gone: Vec<String> = before.difference(&after).cloned().collect();
    let mut paths = new_paths().await;
    if paths.is_empty() {
        paths.push("none".to_owned());
    }
    let mut left = wrap(change.sql, COLUMN_WIDTHS[0]);
    left.push(format!("  {}", change.why));
    let mut middle = gone;
    middle.push(format!("  {} ms after commit", took.as_millis()));
    let line = |lines: &[String], number: usize| lines.get(number).cloned().unwrap_or_default();
    for number in 0..left.len().max(middle.len()).max(paths.len()) {
        print_row([
            &line(&left, number),
            &line(&middle, number),
            &line(&paths, number),
        ]);
    }
    println!();
}

/// What an application does on a miss: it reads the row and stores the answer under its key.
async fn fill_cache(mysql: &Mysql, redis: &Redis) {
    let mut entries: Vec<(String, String)> = Vec::new();
    let users: Vec<(u32, u32, String, u32)> = mysql
        .rows("SELECT id, tenant_id, name, version FROM shop.users")
        .await;
    for (id, tenant_id, name, version) in users {
        entries.push((format!("user:{id}:v{version}"), name.clone()));
        entries.push((format!("user:{id}:profile"), name));
        entries.push((format!("tenant:{tenant_id}:users"), "a list".to_owned()));
    }
    let products: Vec<(u32, String, u32)> = mysql
        .rows("SELECT id, name, version FROM shop.products")
        .await;
    for (id, name, version) in products {
        entries.push((format!("product:{id}:v{version}"), name));
        entries.push(("products:all".to_owned(), "a list".to_owned()));
    }
    let orders: Vec<(u32, u32, String, u32)> = mysql
        .rows("SELECT id, user_id, status, version FROM shop.orders")
        .await;
    for (id, user_id, status, version) in orders {
        entries.push((format!("order:{id}:v{version}"), status));
        entries.push((format!("user:{user_id}:orders"), "a list".to_owned()));
    }
    let _: () = redis
        .conn()
        .await
        .mset(&entries)
        .await
        .expect("MSET answers");
}

fn configuration(
    mysql: &Mysql,
    redis: &Redis,
    queue_url: &str,
    distribution: &str,
    checkpoint: &std::path::Path,
) -> String {
    format!(
        r#"
name = "shop"

[source]
url       = "{mysql_url}"
password  = {{ env = "EVICTD_SOURCE_PASSWORD" }}
tls       = {{ mode = "disabled" }}
server_id = 420001
start     = "current"

[checkpoint]
store = "file"
path  = "{checkpoint}"

[redis]
url          = "{redis_url}"
settle_after = "200ms"

[buffer]
kind      = "sqs"
queue_url = "{queue_url}"

[cloudfront]
window = "200ms"

[[cloudfront.distribution]]
name = "main"
id   = "{distribution}"

[[path]]
pattern = "/checkout/*"
class   = "strong"

[[path]]
pattern = "/*"
class   = "cached"

[[rule]]
name    = "users"
tables  = ["shop.users"]
changed = ["name", "email", "slug", "status"]
version = "version"
keys    = ["user:{{id}}:v{{version}}", "user:{{id}}:profile", "tenant:{{tenant_id}}:users"]
paths   = ["/users/{{slug}}", "/api/users/{{id}}*"]

[[rule]]
name    = "products"
tables  = ["shop.products"]
version = "version"
keys    = ["product:{{id}}:v{{version}}", "products:all"]
paths   = ["/products/{{slug}}", "/api/products/{{id}}*"]

[[rule]]
name    = "orders"
tables  = ["shop.orders"]
version = "version"
keys    = ["order:{{id}}:v{{version}}", "user:{{user_id}}:orders"]
"#,
        mysql_url = mysql.url(),
        redis_url = redis.url(),
        checkpoint = checkpoint.display(),
    )
}

/// The program, which is in the directory above this example's.
fn evictd_binary() -> PathBuf {
    let example = std::env::current_exe().expect("the demo knows where it is");
    let directory = example.parent().and_then(std::path::Path::parent);
    let binary = directory
        .expect("it lies in target/*/examples")
        .join("evictd");
    assert!(
        binary.exists(),
        "{} is not built: run `make demo`, or `cargo build` first",
        binary.display()
    );
    binary
}

/// Polls until `done`; ends the demo with evictd's log when evictd has ended or takes too long.
async fn wait_until(
    evictd: &mut Evictd,
    within: Duration,
    what: &str,
    mut done: impl AsyncFnMut() -> bool,
) {
    let deadline = Instant::now() + within;
    while !done().await {
        let ended = evictd.exited();
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "evictd did not {what} ({})\n{}",
            ended.map_or(format!("waited {within:?}"), |status| format!(
                "it ended: {status}"
            )),
            evictd.tail()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn print_row(cells: [&str; 3]) {
    let [change, keys, paths] = cells;
    let [change_width, keys_width, _] = COLUMN_WIDTHS;
    let row = format!("{change:<change_width$}  {keys:<keys_width$}  {paths}");
    println!("{}", row.trim_end());
}

fn print_wrapped(words: &[String]) {
    let width = COLUMN_WIDTHS.iter().sum();
    for line in wrap(&words.join("  "), width) {
        println!("  {}", line.trim_end());
    }
}

/// Breaks text at spaces into lines of at most `width`, a longer word excepted.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
