//! Rows whose paths CloudFront refuses. They keep coming beside good ones, which must neither be given up with them
//! nor wait for them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::clients::{Database, Endpoint};
use super::traffic::Traffic;

pub const RULE: &str = r#"
[[rule]]
name   = "refused"
tables = ["soak.refused"]
keys   = ["refused:{id}"]
paths  = ["/refused/{id}"]
"#;

/// What CloudFront takes for an invalid argument.
pub const PREFIX: &str = "/refused/";

/// Between two rows: to find out that a path is refused alone takes a call, of the few in a second that there are.
const EVERY: Duration = Duration::from_secs(1);

/// Inserts rows until the end of the run.
pub async fn write(traffic: Arc<Traffic>, database: Endpoint) {
    let mut database = Database::new(&database);
    for id in 1.. {
        let Some(leave) = traffic.may_write().await else {
            return;
        };
        let insert = format!("INSERT IGNORE INTO refused VALUES ({id})");
        while database.run(&insert).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(leave);
        tokio::time::sleep(EVERY).await;
    }
}

/// What evictd has given up.
#[derive(Debug, Default)]
pub struct Letters {
    /// Paths that CloudFront refuses.
    pub refused: usize,
    /// Everything else: there is nothing wrong with it.
    pub good: Vec<String>,
}

/// Reads the dead letters on record.
pub fn letters(directory: &Path) -> Letters {
    let file = directory.join("soak.dead-letters.jsonl");
    let mut letters = Letters::default();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        // The disk may have been full in the midst of it.
        let Ok(letter) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let paths = letter["paths"].as_array().into_iter().flatten();
        let paths: Vec<&str> = paths.filter_map(serde_json::Value::as_str).collect();
        if paths.is_empty() {
            letters.good.push(line.to_owned());
        }
        for path in paths {
            if path.starts_with(PREFIX) {
                letters.refused += 1;
            } else {
                letters.good.push(path.to_owned());
            }
        }
    }
    letters
}
