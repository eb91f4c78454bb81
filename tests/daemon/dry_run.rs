//! `evictd run --dry-run` prints and touches nothing.

use super::shop::{Config, Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions, eventually};

const RULES: &str = r#"
# Nobody listens there.
[buffer]
kind      = "sqs"
queue_url = "http://127.0.0.1:1/000000000000/none"

[cloudfront]
[[cloudfront.distribution]]
name = "main"
id   = "E1"

[[rule]]
name    = "users"
tables  = ["$db.users"]
version = "version"
keys    = ["user:{id}:v{version}"]
paths   = ["/users/{slug}"]

[[rule]]
name    = "lists"
tables  = ["$db.users", "$db.orders"]
keys    = ["lists"]
"#;

/// The first `count` lines that a dry run prints.
async fn lines(config: &Config, args: &[&str], count: usize) -> String {
    let args = [&["run", "--dry-run"], args].concat();
    let evictd = Evictd::start(&config.options().args(&args));
    let text = eventually("the plans are printed", WITHIN, async || {
        let text = evictd.stdout();
        (text.lines().count() >= count).then_some(text)
    })
    .await;
    stop(evictd).await;
    text
}

#[tokio::test]
async fn a_dry_run_prints_the_same_plan_twice_and_touches_neither_cache_nor_buffer_nor_checkpoint()
{
    let shop = Shop::own(MysqlOptions::default()).await;
    let (file, offset, _) = shop.end().await;
    shop.fill(&["user:1:v1", "lists"]).await;
    let mut conn = shop.redis.conn().await;
    let mut connections = async || {
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query_async(&mut conn)
            .await
            .unwrap();
        let line = info
            .lines()
            .find(|line| line.starts_with("total_connections_received"))
            .unwrap();
        line.to_owned()
    };
    let before = connections().await;
    shop.sql(
        "INSERT INTO users (id, slug) VALUES (1, 'ada'); BEGIN; UPDATE users SET slug = 'grace', version = 2;
         DELETE FROM users; COMMIT; INSERT INTO unrelated (note) VALUES ('x'); TRUNCATE TABLE orders",
    )
    .await;

    let config = shop
        .config()
        .rest(RULES)
        .source(&format!("start = \"{file}:{offset}\""));
    let json = lines(&config, &["--format", "json"], 7).await;
    assert_eq!(
        lines(&config, &["--format", "json"], 7).await,
        json,
        "byte for byte"
    );
    let text = lines(&config, &[], 7).await;
    assert_eq!(lines(&config, &[], 7).await, text, "byte for byte");

    let uuid = &shop.mysql().rows::<String>("SELECT @@server_uuid").await[0];
    let number = shop
        .end()
        .await
        .2
        .rsplit('-')
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    let mut places = Vec::new();
    let plans: Vec<_> = json
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            let position = line["position"].take();
            assert_eq!(position["file"], file.as_str());
            let ends: u64 = position["offset"].as_u64().unwrap();
            assert!(ends > offset, "{position}");
            places.push(position["gtid"].as_str().unwrap().to_owned());
            let _: jiff::Timestamp = line["committed_at"]
                .take()
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            ["table", "op", "rule", "cache", "edge", "reason"]
                .map(|field| line[field].to_string().replace('"', ""))
                .join(" ")
        })
        .collect();
    assert_eq!(
        plans,
        [
            "shop.users insert users [user:1:v1] [/users/ada] null",
            "shop.users insert lists [lists] [] null",
            "shop.users update users [user:1:v1] [/users/ada,/users/grace] null",
            "shop.users update lists [lists] [] null",
            "shop.users delete users [user:1:v2] [/users/grace] null",
            "shop.users delete lists [lists] [] null",
            "null null lists [lists] [] statement",
        ]
    );
    let gtid = |back: u64| format!("{uuid}:{}", number - back);
    assert_eq!(places, [3, 3, 2, 2, 2, 2, 0].map(gtid));

    let first = text.lines().next().unwrap();
    assert!(
        first.ends_with(" shop.users insert rule=users cache=[user:1:v1] edge=[/users/ada]"),
        "{first}"
    );
    assert!(first.contains(&format!(" {file}:")), "{first}");
    let last = text.lines().last().unwrap();
    assert!(
        last.ends_with(" - statement rule=lists cache=[lists] edge=[] reason=statement"),
        "{last}"
    );

    assert_eq!(connections().await, before, "nobody else talked to Redis");
    assert_eq!(shop.redis.keys().await, ["lists", "user:1:v1"]);
    assert_eq!(shop.checkpoint(), None);
}
