//! Looks whether the cache is still the one that deletions were made in.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::cache_history::{CacheHistory, CacheNews};
use super::marks::Mark;
use crate::cache::Cache;
use crate::telemetry::repeating;

/// Time between two looks, each a question to every primary.
const INTERVAL: Duration = Duration::from_secs(2);

/// Sends on what it finds, until nobody takes it any more. `stored` is the newest
/// position before which everything is done.
pub(super) async fn watch(
    mut cache: impl Cache,
    mut history: CacheHistory,
    mut stored: watch::Receiver<Option<Mark>>,
    news: mpsc::Sender<CacheNews>,
) {
    let looking = async {
        loop {
            let at = Instant::now();
            if let Some(mark) = stored.borrow_and_update().as_ref() {
                history.done(at, mark);
            }
            match cache.runs().await {
                Ok(servers) => {
                    if let Some(found) = history.look(at, servers)
                        && news.send(found).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    repeating!(warn, error.code(), { %error },
                        "it cannot be seen whether Redis began anew from an earlier snapshot: entries that come back so stay until it can, or for good where its account may not use INFO");
                }
            }
            sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        () = looking => {}
        () = news.closed() => {}
    }
}
