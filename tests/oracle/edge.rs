//! CloudFront's copies of pages, and the viewers that ask for them.
//!
//! A page is built from its entry in the cache, or from the rows where there is none. Once it is invalidated, a viewer
//! asks for it at once: if it was invalidated before its entry was deleted, the copy is a stale one again, and nothing
//! invalidates it any more. Each distribution has copies of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use mysql_async::Conn;

use super::cache::Cache;
use super::config::Config;
use super::fates::EdgeFate;
use super::snapshot::{self, Content, Name, Place, Snapshot};
use crate::support::{FakeCloudFront, FakeInvalidation, FakeSettings};

const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// How late what was made is listed, and how far the clock is behind.
const LATE: Duration = Duration::from_secs(2);
const CLOCK_BEHIND: Duration = Duration::from_secs(10);

/// A distribution's id and a path.
pub type At = (String, String);

/// A copy, and what it is of.
#[derive(Clone, Debug)]
pub struct Page {
    pub of: (Place, Name),
    pub content: Content,
    /// When the viewer asked.
    asked: Instant,
}

/// Whether a distribution has heard of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    Not,
    /// Only of a wildcard over it, which may have been on its way before.
    Along,
    ByName,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<At, Page>,
    /// How much of what was made the viewer has seen.
    seen: usize,
    /// What paths contain that CloudFront refuses.
    refused: Option<String>,
}

/// What a viewer reads from.
pub struct Origin {
    pub reader: Conn,
    pub cache: Cache,
}

#[derive(Clone)]
pub struct Edge {
    pub fake: FakeCloudFront,
    state: Arc<Mutex<State>>,
}

/// `page` is a path or a cache tag, which has no case.
fn is_matched(page: &str, invalidated: &str) -> bool {
    if invalidated.starts_with('#') {
        return page.eq_ignore_ascii_case(invalidated);
    }
    match invalidated.strip_suffix('*') {
        Some(start) => place_of_page(page).starts_with(start),
        None => page == invalidated,
    }
}

/// The path of a page that is known by its tag, before it is encoded.
pub fn place_of_page(page: &str) -> String {
    match page.strip_prefix('#') {
        Some(tag) => format!("/{tag}"),
        None => page.to_owned(),
    }
}

impl Edge {
    pub async fn start() -> Self {
        Self {
            fake: FakeCloudFront::start(FakeSettings::default()).await,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no viewer panics")
    }

    /// The copies that there are, but for those that CloudFront refuses to invalidate.
    pub fn pages(&self) -> BTreeMap<At, Page> {
        let state = self.state();
        let mut pages = state.pages.clone();
        pages.retain(|(_, path), _| !self.is_refused(&state, path));
        pages
    }

    fn is_refused(&self, state: &State, path: &str) -> bool {
        let refused = state.refused.as_deref();
        refused.is_some_and(|part| path.contains(part))
    }

    /// Whether a path was invalidated there after the first `made` requests, and viewers have asked for what was
    /// invalidated with it.
    pub fn told(&self, made: usize, distribution: &str, path: &str) -> Told {
        let seen = self.state().seen;
        let all = self.fake.made();
        let there = all.get(made..seen).unwrap_or_default().iter();
        let there = there.filter(|made| made.distribution == distribution);
        let paths: Vec<&String> = there.flat_map(|made| &made.paths).collect();
        if paths.iter().any(|of| *of == path) {
            Told::ByName
        } else if paths.iter().any(|of| is_matched(path, of)) {
            Told::Along
        } else {
            Told::Not
        }
    }

    /// Viewers ask for pages that CloudFront has no copy of.
    pub async fn ask(
        &self,
        config: &Config,
        pages: &BTreeMap<String, (Place, Name)>,
        cache: &mut Cache,
        now: &Snapshot,
    ) {
        let asked = Instant::now();
        let names: Vec<(Place, Name)> = pages.values().cloned().collect();
        let cached = cache.read(&names).await;
        let mut state = self.state();
        for (path, of) in pages {
            let content = cached.get(of).cloned();
            let content = content.unwrap_or_else(|| now.content(of.0, &of.1).to_vec());
            for id in config.ids_of_rule(of.0.0) {
                let page = || Page {
                    content: content.clone(),
                    of: of.clone(),
                    asked,
                };
                state.pages.entry((id, path.clone())).or_insert_with(page);
            }
        }
    }

    /// Copies are where rules send paths from now on. A distribution that takes the place of another one has what that
    /// had. One that a rule did not name before has nothing yet.
    pub async fn moves(&self, from: &Config, to: &Config) {
        while self.state().seen < self.fake.made().len() {
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        let mut state = self.state();
        let pages = std::mem::take(&mut state.pages);
        for ((id, path), page) in pages {
            let id = to.id_now(from, &id);
            if to.ids_of_rule(page.of.0.0).contains(&id) {
                state.pages.insert((id, path), page);
            }
        }
    }

    /// What becomes of CloudFront from now on. What it refuses stays refused: a path that was refused is asked for again
    /// half a minute later.
    pub fn meet(&self, fate: EdgeFate, config: &Config, pages: &BTreeMap<String, (Place, Name)>) {
        if let EdgeFate::Refuses(number) = fate {
            let path = pages.keys().cycle().nth(number).cloned();
            // One that was refused before stays refused, and so there is only one.
            let refused = &mut self.state().refused;
            *refused = refused.take().or(path);
        }
        let refused = self.state().refused.clone();
        self.fake.change(|settings| {
            *settings = FakeSettings {
                refuse: refused,
                ..FakeSettings::default()
            };
            match fate {
                EdgeFate::Well | EdgeFate::Refuses(_) => {}
                EdgeFate::Away => settings.away = true,
                EdgeFate::Answers(status, code) => settings.error = Some((status, code)),
                EdgeFate::Throttled => (settings.calls_per_second, settings.burst) = (2.0, 1.0),
                EdgeFate::Full => settings.full = config.ids(),
                EdgeFate::FullAtOne => settings.full = config.ids().split_off(1),
                EdgeFate::Late => {
                    settings.unlisted_for = LATE;
                    settings.unreadable_for = LATE / 2;
                    settings.clock_behind = CLOCK_BEHIND;
                }
                EdgeFate::Deaf => settings.lose_answer = Some(1),
                EdgeFate::LosesSome => settings.lose_answer = Some(2),
                EdgeFate::Holds => settings.holds = true,
            }
        });
    }

    /// The copies that these invalidations remove.
    fn gone(&self, made: &[FakeInvalidation]) -> BTreeMap<At, Page> {
        let state = self.state();
        let is_gone = |((id, path), page): &(&At, &Page)| {
            made.iter().any(|made| {
                made.distribution == *id
                    && page.asked <= made.at
                    && made.paths.iter().any(|of| is_matched(path, of))
            })
        };
        let gone = state.pages.iter().filter(is_gone);
        gone.map(|(at, page)| (at.clone(), page.clone())).collect()
    }

    /// Asks again for whatever is invalidated, until it is aborted.
    pub async fn view(self, database: String, origin: Arc<tokio::sync::Mutex<Origin>>) {
        loop {
            tokio::time::sleep(LOOKS_EVERY).await;
            // Nobody asks while its servers restart.
            let mut origin = origin.lock().await;
            let Origin { reader, cache } = &mut *origin;
            let made = self.fake.made();
            let seen = self.state().seen;
            let new = made.get(seen..).unwrap_or_default();
            if new.is_empty() {
                continue;
            }
            let asked = Instant::now();
            let gone = self.gone(new);
            let names: Vec<(Place, Name)> = gone.values().map(|page| page.of.clone()).collect();
            let cached = cache.read(&names).await;
            // A table that is just being changed is asked for again, and so is a server that has just gone.
            let Ok(columns) = snapshot::columns(reader, &database).await else {
                continue;
            };
            let Ok(now) = snapshot::take(reader, &cache.rules, &columns).await else {
                continue;
            };
            let mut state = self.state();
            for (at, page) in gone {
                let content = cached.get(&page.of).cloned();
                let content =
                    content.unwrap_or_else(|| now.content(page.of.0, &page.of.1).to_vec());
                let page = Page {
                    content,
                    asked,
                    ..page
                };
                state.pages.insert(at, page);
            }
            state.seen = made.len();
        }
    }
}
