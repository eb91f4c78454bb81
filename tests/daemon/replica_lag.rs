//! `redis.settle_after = { replica_lag = true }`: keys settle until the slowest reader has the change.
//!
//! Only Aurora has the table that tells. A table of the same shape stands for it here.

use std::time::Duration;

use evictd::binlog::connection::connector::{Connector, MysqlTarget};
use evictd::binlog::server::replica_lag::ReplicaLag;
use evictd::credentials::Password;
use tokio::sync::watch;
use tokio::time::Instant;

use super::shop::{Shop, WITHIN, stop};
use crate::support::{EVICTD_PASSWORD, eventually};

const REPORTS: &str = "
CREATE TABLE replica_host_status (
    SERVER_ID VARCHAR(100) PRIMARY KEY, SESSION_ID VARCHAR(100) NOT NULL,
    LAST_UPDATE_TIMESTAMP DATETIME(6), REPLICA_LAG_IN_MILLISECONDS FLOAT)";

fn replica_lag(shop: &Shop) -> ReplicaLag {
    let connector = Connector::new(MysqlTarget {
        host: "127.0.0.1".to_owned(),
        port: shop.mysql().port(),
        user: "evictd".to_owned(),
        password: Some(Password::fixed(EVICTD_PASSWORD)),
        tls: None,
    });
    ReplicaLag::new(connector, &format!("{}.replica_host_status", shop.database))
}

#[tokio::test]
async fn the_slowest_readers_lag_is_read_and_what_is_not_known_is_an_error() {
    let shop = Shop::open().await;
    let mut lag = replica_lag(&shop);
    let error = lag.ask().await.unwrap_err().to_string();
    assert!(error.contains("how far the readers are behind"), "{error}");

    shop.sql(REPORTS).await;
    let error = lag.ask().await.unwrap_err().to_string();
    assert!(error.contains("no instance"), "{error}");

    let report = async |server: &str, session: &str, age_s: u32, lag: &str| {
        shop.sql(&format!(
            "REPLACE INTO replica_host_status VALUES \
             ('{server}', '{session}', NOW(6) - INTERVAL {age_s} SECOND, {lag})"
        ))
        .await;
    };
    report("writer", "MASTER_SESSION_ID", 0, "NULL").await;
    let before = Instant::now();
    let alone = lag.ask().await.unwrap();
    assert!(alone.through >= before && alone.seen_at >= alone.through);

    // Lags that no slow machine mixes up.
    report("a", "0a1b", 0, "60000.5").await;
    report("b", "2c3d", 0, "600000").await;
    report("gone", "4e5f", 86_400, "900000").await;
    let slow = lag.ask().await.unwrap();
    let behind = slow.seen_at - slow.through;
    assert!((600..900).contains(&behind.as_secs()), "{behind:?}");
    report("b", "2c3d", 0, "20").await;
    let behind = lag.ask().await.unwrap();
    let behind = behind.seen_at - behind.through;
    assert!((60..600).contains(&behind.as_secs()), "{behind:?}");

    for (age_s, lag_ms, reason) in [(60, "20", "reported last"), (0, "NULL", "no lag")] {
        report("b", "2c3d", age_s, lag_ms).await;
        let error = lag.ask().await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn readers_are_followed_while_somebody_listens() {
    let shop = Shop::open().await;
    shop.sql(REPORTS).await;
    shop.sql("INSERT INTO replica_host_status VALUES ('writer', 'MASTER_SESSION_ID', NOW(6), 0), ('a', '0a1b', NOW(6), 5)")
        .await;
    let (publish, mut applied) = watch::channel(None);
    let second = Duration::from_secs(1);
    let following = tokio::spawn(replica_lag(&shop).follow(publish, second, 10 * second));
    for _ in 0..2 {
        let change = Instant::now();
        // The reader reports once it has the change.
        shop.sql("UPDATE replica_host_status SET LAST_UPDATE_TIMESTAMP = NOW(6) + INTERVAL 10000 MICROSECOND")
            .await;
        let has_it =
            applied.wait_for(|applied| applied.is_some_and(|applied| applied.through >= change));
        tokio::time::timeout(WITHIN, has_it).await.unwrap().unwrap();
    }
    drop(applied);
    tokio::time::timeout(WITHIN, following)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn keys_settle_for_as_long_as_allowed_where_readers_do_not_report() {
    let shop = Shop::open().await;
    let settle_after = r#"settle_after = { replica_lag = true, min = "1ms", max = "3s" }"#;
    let mut evictd = shop.config().redis(settle_after).start().await;
    evictd
        .wait_for_line("not known how far the readers are behind", WITHIN)
        .await;
    shop.fill(&["user:7:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (7)").await;
    shop.gone(&["user:7:profile"], &evictd).await;
    let deleted = Instant::now();
    // A reader that was slow since before the commit.
    shop.fill(&["user:7:profile"]).await;
    let deleted_again = eventually("it is deleted again", WITHIN, async || {
        (shop.redis.keys().await == [""; 0]).then(Instant::now)
    })
    .await;
    let settled = deleted_again - deleted;
    assert!(
        settled > Duration::from_secs(1),
        "after {settled:?} already"
    );
    stop(evictd).await;
}
