//! Passwords that are replaced while evictd runs.

use std::time::Duration;

use super::shop::{Shop, WITHIN, stop};
use crate::support::{EVICTD_PASSWORD, MysqlOptions, eventually};

#[tokio::test]
async fn passwords_that_were_rotated_open_the_next_connections() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let kept = |name: &str| shop.dir.path().join(name);
    let (source, cache) = (kept("source.password"), kept("redis.password"));
    std::fs::write(&source, EVICTD_PASSWORD).unwrap();
    std::fs::write(&cache, "before").unwrap();
    let mut conn = shop.redis.conn().await;
    let mut redis = async |words: &[&str]| {
        let mut command = redis::Cmd::new();
        command.arg(words);
        let _: redis::Value = command.query_async(&mut conn).await.unwrap();
    };
    redis(&["ACL", "SETUSER", "evictd", "on", ">before", "~*", "+@all"]).await;
    let lines = format!(
        "password = {{ file = \"{}\" }}\nsettle_after = \"off\"",
        cache.display()
    );
    let mut config = shop.config().redis(&lines);
    config.password = format!("{{ file = \"{}\" }}", source.display());
    config.redis_url = shop.redis.url().replace("redis://", "redis://evictd@");
    let evictd = config.start().await;
    shop.done(&evictd).await;

    // Every connection breaks after that.
    std::fs::write(&source, "another one").unwrap();
    std::fs::write(&cache, "after").unwrap();
    shop.mysql()
        .exec("ALTER USER evictd IDENTIFIED BY 'another one'")
        .await;
    redis(&["ACL", "SETUSER", "evictd", "resetpass", ">after"]).await;
    redis(&["CLIENT", "KILL", "USER", "evictd"]).await;
    eventually("evictd's connections are gone", WITHIN, async || {
        let ids: Vec<u64> = shop
            .mysql()
            .rows("SELECT id FROM information_schema.processlist WHERE user = 'evictd'")
            .await;
        for id in &ids {
            // It may have ended by itself.
            let kill = format!("KILL {id}");
            mysql_async::prelude::Queryable::query_drop(&mut shop.mysql().conn().await, kill)
                .await
                .ok();
        }
        Some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.gone(&["user:1:profile"], &evictd).await;
    stop(evictd).await;
}
