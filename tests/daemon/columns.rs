//! Columns of which applications see another text than the binlog's: BIT as a number, TIMESTAMP in their session's zone.

use super::shop::{Shop, stop};
use crate::support::MysqlOptions;

const ITEMS: &str = r#"
[[rule]]
name   = "items"
tables = ["$db.items"]
when   = "op == 'insert' || before.flags == 341 && before.one == 1"
keys   = [
  'item:{id}:{flags}:{wide}:{one}',
  'seen:{seen|date("%Y-%m-%d %H:%M:%S%.3f", "+05:30")}',
  'seen in Berlin:{seen|date("%F %T", "Europe/Berlin")}',
  'seen:{seen}',
]
"#;

/// The keys are put together from what the application's own session reads.
#[tokio::test]
async fn keys_are_made_of_the_numbers_and_times_that_an_applications_session_reads() {
    for row_metadata in ["FULL", "MINIMAL"] {
        let options = MysqlOptions {
            row_metadata,
            ..MysqlOptions::default()
        };
        let shop = Shop::own(options).await;
        shop.sql(
            "CREATE TABLE items (id INT PRIMARY KEY, flags BIT(9), wide BIT(64), one BIT(1), seen TIMESTAMP(3)); \
             SET time_zone = '+05:30'; \
             INSERT INTO items VALUES (1, b'101010101', ~0, b'1', '2026-10-25 06:00:00.250')",
        )
        .await;
        let read = |zone: &str| {
            let sql = format!(
                "SELECT CONCAT_WS(':', 'item', id, flags + 0, wide + 0, one + 0), CONCAT('seen:', CONVERT_TZ(seen, @@time_zone, '{zone}')) \
                 FROM {}.items",
                shop.database
            );
            shop.mysql().rows::<(String, String)>(sql)
        };
        let [(item, seen)] = read("+05:30").await.try_into().unwrap();
        assert_eq!(item, "item:1:341:18446744073709551615:1");
        assert_eq!(seen, "seen:2026-10-25 06:00:00.250");
        let [(_, utc)] = read("+00:00").await.try_into().unwrap();
        // The first of the two hours from two to three o'clock.
        let berlin = "seen in Berlin:2026-10-25 02:30:00".to_owned();
        let keys = [item, seen, utc, berlin];

        let evictd = shop.config().rest(ITEMS).start().await;
        shop.fill(&keys).await;
        shop.sql("DELETE FROM items").await;
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        shop.gone(&keys, &evictd).await;
        stop(evictd).await;
    }
}

#[tokio::test]
async fn a_time_zone_is_refused_for_a_column_without_one() {
    let shop = Shop::open().await;
    let rule = "[[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\nkeys = ['joined:{joined|date(\"%F\", \"Europe/Berlin\")}']\n";
    let finished = shop.config().rest(rule).finish().await;
    assert_eq!(finished.code, Some(2), "{finished:?}");
    let said = "takes a time zone for a TIMESTAMP column only";
    assert!(finished.stderr.contains(said), "{finished:?}");
}
