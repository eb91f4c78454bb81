//! The cache against real Redis servers: alone, in a cluster, behind sentinels, with TLS and with accounts; and the
//! checkpoint that Redis may hold.

mod checkpoint;
mod cluster;
mod commands;
mod failures;
mod iam;
mod moves;
mod refusals;
mod secured;
mod sentinel;
mod shapes;

use std::time::Duration;

use evictd::cache::{Cache, CacheError, Outcome, Redis};
use evictd::model::{KeyList, KeySet};
use evictd::redis::{Layout, RedisTarget, TlsFiles};

/// A server that is reached without anything special.
fn target(url: String) -> RedisTarget {
    RedisTarget {
        url,
        password: None,
        tls: TlsFiles::default(),
        layout: Layout::Single,
        replicas: 0,
    }
}

fn set<K: AsRef<[u8]>>(keys: &[K]) -> KeyList {
    let mut set = KeySet::default();
    for key in keys {
        set.insert(key.as_ref());
    }
    set.into_keys()
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn nothing_refused(existed: usize) -> Outcome {
    Outcome {
        existed: u64::try_from(existed).unwrap(),
        ..Outcome::default()
    }
}

/// Repeats what fails, as the pipeline does, and returns the last outcome with the failures before it.
async fn until_done<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, CacheError>,
) -> (T, Vec<CacheError>) {
    let mut failures = Vec::new();
    loop {
        match attempt().await {
            Ok(done) => return (done, failures),
            Err(error) => failures.push(error),
        }
        assert!(failures.len() < 600, "{:?}", failures.last());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn delete(redis: &mut Redis, keys: &KeyList) -> Vec<CacheError> {
    let attempt = async || redis.delete(&[keys]).await.and_then(Outcome::whole);
    let (outcome, failures) = until_done(attempt).await;
    assert_eq!(outcome.refused, []);
    failures
}
