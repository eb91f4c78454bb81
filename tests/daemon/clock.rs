//! A clock that somebody sets while evictd runs.

use std::time::Duration;

use super::shop::{Shop, USERS, WITHIN, start, stop};
use crate::support::{Clock, Evictd, MysqlOptions, eventually, free_port};

/// The clock shows another time within a second.
const SHOWS_AFTER: Duration = Duration::from_millis(1_200);

#[tokio::test]
async fn a_clock_that_is_set_hours_ahead_and_back_neither_delays_nor_skips_a_deletion() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let clock = Clock::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let config = shop
        .config()
        .redis("settle_after = \"2s\"")
        .rest(&format!("[metrics]\nlisten = \"{listen}\"\n{USERS}"));
    let mut options = config.options();
    let status = options.clone().args(&["status", "--json"]);
    options = options.envs(clock.env());
    let evictd = start(&options).await;
    for (id, hours) in [(1, 0_i64), (2, 5), (3, -7), (4, 0)] {
        clock.set(&format!("{:+}", hours * 3_600));
        tokio::time::sleep(SHOWS_AFTER).await;
        let key = format!("user:{id}:profile");
        shop.fill(&[&key]).await;
        shop.sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
        shop.gone(&[&key], &evictd).await;
        // What a slow reader stores goes too, when it is due and not hours later.
        shop.fill(&[&key]).await;
        shop.gone(&[&key], &evictd).await;
        shop.checkpoint_at_end().await;
        // The process did see that clock.
        eventually("the status has the clock's time", WITHIN, async || {
            let ended = Evictd::finish(&status, WITHIN).await;
            let json: serde_json::Value = serde_json::from_str(&ended.stdout).ok()?;
            let stored_at = json["checkpoint"]["stored_at"].as_str()?;
            let stored_at: jiff::Timestamp = stored_at.parse().ok()?;
            let off_s = stored_at.as_second() - jiff::Timestamp::now().as_second();
            ((off_s - hours * 3_600).abs() < 600).then_some(())
        })
        .await;
    }
    stop(evictd).await;
}
