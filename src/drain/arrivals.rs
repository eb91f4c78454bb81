//! Suspects that nobody has looked at yet, and what is known of a distribution's
//! paths.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::refused_paths::{CONFIRMED_AFTER, Refusal, RefusedPath, RefusedPaths, Standing, Weight};
use super::suspects::Tenant;
use crate::edge::EdgeError;
use crate::edge::cover::request::Gathering;

/// Tenants whose last acceptance is remembered (Bounded).
const TENANTS_MAX: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Time for which an acceptance shows that the edge accepts something. It is not longer
/// than between the two refusals that condemn a path: so something else was accepted
/// between them, and an edge that refuses everything condemns nothing.
const ACCEPTS_FOR: Duration = CONFIRMED_AFTER;

/// Rounds set messages apart here, and the search for refused paths takes them.
/// Locked for moments, never across an await.
#[derive(Debug)]
pub(super) struct Arrivals {
    state: Mutex<ArrivalsState>,
    /// Told when something has arrived, or may be asked for earlier than before.
    pub(super) news: Notify,
}

#[derive(Debug)]
struct ArrivalsState {
    by_tenant: BTreeMap<Tenant, Gathering>,
    /// Whether paths that were refused may be asked for again.
    again: bool,
    /// Whether a path was accepted that had been refused.
    mended: bool,
    refused: RefusedPaths,
    accepted_at: LruCache<Tenant, Instant>,
}

impl ArrivalsState {
    fn accepts(&self, tenant: &Tenant) -> bool {
        let accepted = self.accepted_at.peek(tenant);
        accepted.is_some_and(|accepted| accepted.elapsed() < ACCEPTS_FOR)
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            state: Mutex::new(ArrivalsState {
                by_tenant: BTreeMap::new(),
                again: false,
                mended: false,
                refused: RefusedPaths::default(),
                accepted_at: LruCache::new(TENANTS_MAX),
            }),
            news: Notify::new(),
        }
    }
}

impl Arrivals {
    /// Sets messages apart.
    pub(super) fn arrive(&self, tenant: Tenant, suspects: Gathering) {
        let mut state = self.lock();
        state.by_tenant.entry(tenant).or_default().absorb(suspects);
        drop(state);
        self.news.notify_one();
    }

    /// Whether somebody has to look at suspects.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().by_tenant.is_empty()
    }

    /// Takes those that have arrived, and whether paths may be asked for earlier than
    /// before.
    pub(super) fn take(&self) -> (BTreeMap<Tenant, Gathering>, bool) {
        let mut state = self.lock();
        let arrived = std::mem::take(&mut state.by_tenant);
        (arrived, std::mem::take(&mut state.again))
    }

    /// Whether a path was accepted since the last call that had been refused: then what
    /// the others were refused for may be mended too, and nothing is known of them.
    pub(super) fn are_mended(&self) -> bool {
        std::mem::take(&mut self.lock().mended)
    }

    /// Their messages.
    pub(super) fn messages(&self) -> Vec<Arc<str>> {
        let state = self.lock();
        let arrived = state.by_tenant.values();
        arrived.flat_map(Gathering::messages).collect()
    }

    /// The edge refuses the path by itself, or the tenant.
    pub(super) fn refuse(&self, path: &str, error: &EdgeError, weight: Weight) {
        let refusal = Refusal {
            code: error.name(),
            reason: error.to_string().into(),
        };
        self.lock().refused.add(path, refusal, weight);
    }

    /// The edge accepted these paths.
    pub(super) fn accepted(&self, tenant: &Tenant, paths: &[String]) {
        let mut state = self.lock();
        let mut mended = state.refused.accepted(paths);
        mended |= state.refused.accepted(tenant.as_deref().map(of_tenant));
        let is_news = !state.accepts(tenant);
        state.accepted_at.put(tenant.clone(), Instant::now());
        if mended {
            state.refused = RefusedPaths::default();
            state.mended = true;
        }
        if mended || is_news {
            state.refused.again();
            state.again = true;
            drop(state);
            self.news.notify_one();
        }
    }

    /// Whether the edge has accepted any path lately: so what it refuses, it refuses for
    /// one of its paths.
    pub(super) fn accepts(&self, tenant: &Tenant) -> bool {
        self.lock().accepts(tenant)
    }

    /// The edge has refused everything for a while, and does not any more: what it
    /// refused says nothing.
    pub(super) fn begin_anew(&self) {
        self.lock().refused = RefusedPaths::default();
    }

    /// An operator had the message's paths tried again, this long ago.
    pub(super) fn forget(&self, tenant: &Tenant, paths: &[String], age: Duration) {
        let mut state = self.lock();
        if let Some(tenant) = tenant {
            state.refused.forget(&of_tenant(tenant), age);
        }
        for path in paths {
            state.refused.forget(path, age);
        }
        state.again = true;
        drop(state);
        self.news.notify_one();
    }

    pub(super) fn standing(&self, path: &str) -> Standing {
        self.lock().refused.standing(path)
    }

    /// What is known of the path if it was refused alone.
    pub(super) fn refused(&self, path: &str) -> Option<RefusedPath> {
        match self.standing(path) {
            Standing::Refused(refused) => Some(refused),
            Standing::Similar | Standing::Unknown => None,
        }
    }

    /// The same of the only path of a group, or of a tenant that was not there.
    pub(super) fn refused_group(&self, tenant: &Tenant, paths: &[String]) -> Option<RefusedPath> {
        let gone = tenant.as_deref().map(of_tenant);
        let gone = gone.and_then(|tenant| self.refused(&tenant));
        gone.or_else(|| match paths {
            [path] => self.refused(path),
            _ => None,
        })
    }

    /// Whether nobody is to share a request with this path of the tenant.
    pub(super) fn suspects(&self, tenant: &Tenant, path: &str) -> bool {
        self.refused_group(tenant, &[]).is_some() || self.standing(path) != Standing::Unknown
    }

    fn lock(&self) -> MutexGuard<'_, ArrivalsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for a tenant among paths: no path begins like this.
pub(super) fn of_tenant(tenant: &str) -> String {
    format!("tenant {tenant}")
}
