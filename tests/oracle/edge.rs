//! CloudFront's copies of pages, and the viewers that ask for them.
//!
//! A page is built from its entry in the cache, or from the rows where there is none. Once it is invalidated, a viewer
//! asks for it at once: if it was invalidated before its entry was deleted, the copy is a stale one again, and nothing
//! invalidates it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::Conn;

use super::cache::Cache;
use super::snapshot::{self, Content, Name, Place, Snapshot};
use crate::support::FakeCloudFront;

const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// A copy, and what it is of.
#[derive(Clone, Debug)]
pub struct Page {
    pub of: (Place, Name),
    pub content: Content,
    /// When the viewer asked.
    asked: Instant,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<String, Page>,
    invalidated: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Edge {
    pub fake: FakeCloudFront,
    state: Arc<Mutex<State>>,
}

fn is_matched(path: &str, invalidated: &str) -> bool {
    match invalidated.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == invalidated,
    }
}

impl Edge {
    pub fn new(fake: FakeCloudFront) -> Self {
        Self {
            fake,
            state: Arc::default(),
        }
    }

    /// The copies that there are.
    pub fn pages(&self) -> BTreeMap<String, Page> {
        self.state.lock().expect("no viewer panics").pages.clone()
    }

    /// Whether a path was invalidated, and viewers have asked for what was invalidated with it.
    pub fn has_invalidated(&self, path: &str) -> bool {
        let state = self.state.lock().expect("no viewer panics");
        state.invalidated.iter().any(|of| is_matched(path, of))
    }

    /// Viewers ask for pages that CloudFront has no copy of.
    pub async fn ask(
        &self,
        pages: &BTreeMap<String, (Place, Name)>,
        cache: &mut Cache,
        now: &Snapshot,
    ) {
        let asked = Instant::now();
        let names: Vec<(Place, Name)> = pages.values().cloned().collect();
        let cached = cache.read(&names).await;
        let mut state = self.state.lock().expect("no viewer panics");
        for (path, of) in pages {
            let content = cached.get(of).cloned();
            state.pages.entry(path.clone()).or_insert_with(|| Page {
                content: content.unwrap_or_else(|| now.content(of.0, &of.1).to_vec()),
                of: of.clone(),
                asked,
            });
        }
    }

    /// Asks again for whatever is invalidated, until it is aborted.
    pub async fn view(self, mut reader: Conn, database: String, mut cache: Cache) {
        let mut seen = 0;
        loop {
            tokio::time::sleep(LOOKS_EVERY).await;
            let made = self.fake.made();
            let new = made.get(seen..).unwrap_or_default();
            if new.is_empty() {
                continue;
            }
            seen = made.len();
            let mut gone = BTreeMap::new();
            {
                let mut state = self.state.lock().expect("no viewer panics");
                for made in new {
                    for of in &made.paths {
                        let matched = |path: &String, page: &mut Page| {
                            is_matched(path, of) && page.asked <= made.at
                        };
                        gone.extend(state.pages.extract_if(.., matched));
                    }
                }
            }
            let asked = Instant::now();
            let names: Vec<(Place, Name)> = gone.values().map(|page| page.of.clone()).collect();
            let cached = cache.read(&names).await;
            // A table that is just being changed is asked for again.
            let now = loop {
                let columns = snapshot::columns(&mut reader, &database).await;
                if let Ok(columns) = columns
                    && let Ok(now) = snapshot::take(&mut reader, &cache.rules, &columns).await
                {
                    break now;
                }
                tokio::time::sleep(LOOKS_EVERY).await;
            };
            let mut state = self.state.lock().expect("no viewer panics");
            for (path, page) in gone {
                let content = cached.get(&page.of).cloned();
                let content =
                    content.unwrap_or_else(|| now.content(page.of.0, &page.of.1).to_vec());
                state.pages.insert(
                    path,
                    Page {
                        content,
                        asked,
                        ..page
                    },
                );
            }
            for made in new {
                state.invalidated.extend(made.paths.iter().cloned());
            }
        }
    }
}
