//! What a daemon logs.

use serde_json::Value;

use super::shop::{Shop, start, stop};

/// The lines of standard error as JSON.
fn records(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[tokio::test]
async fn what_comes_again_is_logged_once_with_rule_and_position_and_then_counted() {
    let shop = Shop::open().await;
    let mut options = shop.config().options();
    options
        .args
        .extend(["--log-format", "json"].map(str::to_owned));
    let mut evictd = start(&options).await;
    shop.sql("INSERT INTO users (id, version) VALUES (7, 3)")
        .await;
    let updates: Vec<String> = (0..200)
        .map(|number| format!("UPDATE users SET name = 'n{number}' WHERE id = 7"))
        .collect();
    // One commit and one batch each, at times.
    for update in &updates {
        shop.sql(update).await;
    }
    shop.done(&evictd).await;
    let missed = |records: &[Value]| -> Vec<Value> {
        let of = |it: &&Value| {
            it["message"]
                .as_str()
                .unwrap()
                .contains("its version did not")
        };
        records.iter().filter(of).cloned().collect()
    };
    let logged = missed(&records(&evictd.stderr()));
    let [first] = logged.as_slice() else {
        panic!("{logged:#?}");
    };
    assert_eq!(
        (&first["level"], &first["rule"]),
        (&"WARN".into(), &"users".into())
    );
    assert_eq!(first["version"], "3");
    assert!(
        first["position"]
            .as_str()
            .unwrap()
            .starts_with("mysql-bin."),
        "{first}"
    );
    evictd.terminate();
    evictd.exit(super::shop::WITHIN).await;
    // What was not said yet is said before the end.
    let logged = missed(&records(&evictd.stderr()));
    let [_, summary] = logged.as_slice() else {
        panic!("{logged:#?}");
    };
    let more = summary["more"].as_u64().unwrap();
    assert!((1..200).contains(&more), "{summary}");
    assert_eq!(summary["subject"], "users");
    assert!(
        summary["message"].as_str().unwrap().starts_with("and "),
        "{summary}"
    );
}

#[tokio::test]
async fn text_goes_without_colours_where_nobody_reads_along() {
    let shop = Shop::open().await;
    let evictd = shop.config().start().await;
    shop.done(&evictd).await;
    let text = evictd.stderr();
    assert!(text.contains("INFO reading the binlog"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    stop(evictd).await;
}
