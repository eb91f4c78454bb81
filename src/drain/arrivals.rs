//! Suspects that nobody has looked at yet, and what is known of a distribution's
//! paths.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::refused_paths::{Refusal, RefusedPaths, Standing};
use super::suspects::Tenant;
use crate::edge::EdgeError;
use crate::edge::cover::request::Gathering;

/// Tenants whose last acceptance is remembered (Bounded).
const TENANTS_MAX: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Rounds set messages apart here, and the search for refused paths takes them.
/// Locked for moments, never across an await.
#[derive(Debug)]
pub(super) struct Arrivals {
    state: Mutex<ArrivalsState>,
    /// Told when something has arrived.
    pub(super) news: Notify,
}

#[derive(Debug)]
struct ArrivalsState {
    by_tenant: BTreeMap<Tenant, Gathering>,
    /// Paths that an operator lets be tried again.
    afresh: BTreeSet<String>,
    refused: RefusedPaths,
    accepted_at: LruCache<Tenant, Instant>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            state: Mutex::new(ArrivalsState {
                by_tenant: BTreeMap::new(),
                afresh: BTreeSet::new(),
                refused: RefusedPaths::default(),
                accepted_at: LruCache::new(TENANTS_MAX),
            }),
            news: Notify::new(),
        }
    }
}

impl Arrivals {
    /// Sets messages apart, whose paths are to be tried `afresh` or with others of
    /// their kind.
    pub(super) fn arrive(&self, tenant: Tenant, suspects: Gathering, afresh: bool) {
        let mut state = self.lock();
        if afresh {
            let paths = suspects.paths().map(str::to_owned);
            state.afresh.extend(paths);
        }
        state.by_tenant.entry(tenant).or_default().absorb(suspects);
        drop(state);
        self.news.notify_one();
    }

    /// Whether somebody has to look at suspects.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().by_tenant.is_empty()
    }

    /// Takes those that have arrived, and the paths that are to be tried again.
    pub(super) fn take(&self) -> (BTreeMap<Tenant, Gathering>, BTreeSet<String>) {
        let mut state = self.lock();
        let arrived = std::mem::take(&mut state.by_tenant);
        (arrived, std::mem::take(&mut state.afresh))
    }

    /// Their messages.
    pub(super) fn messages(&self) -> Vec<Arc<str>> {
        let state = self.lock();
        let arrived = state.by_tenant.values();
        arrived.flat_map(Gathering::messages).collect()
    }

    /// The edge refuses the path by itself, or the tenant.
    pub(super) fn refuse(&self, path: &str, error: &EdgeError) {
        let refusal = Refusal {
            code: error.name(),
            reason: error.to_string().into(),
        };
        self.lock().refused.add(path, refusal);
    }

    /// Paths such as this one are to share no request with others.
    pub(super) fn set_apart(&self, path: &str) {
        self.lock().refused.set_apart(path);
    }

    /// The edge accepted these paths.
    pub(super) fn accepted(&self, tenant: &Tenant, paths: &[String]) {
        let mut state = self.lock();
        state.refused.accepted(paths);
        state.refused.accepted(tenant.as_deref().map(of_tenant));
        state.accepted_at.put(tenant.clone(), Instant::now());
    }

    /// Whether the edge has accepted any path since then.
    pub(super) fn has_accepted_since(&self, tenant: &Tenant, since: Instant) -> bool {
        let accepted = self.lock().accepted_at.peek(tenant).copied();
        accepted.is_some_and(|accepted| accepted > since)
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
    }

    pub(super) fn standing(&self, path: &str) -> Standing {
        self.lock().refused.standing(path)
    }

    /// Whether the tenant was not there, once or for good; `None`: it was not refused.
    pub(super) fn tenant_is_gone(&self, tenant: &Tenant) -> Option<Standing> {
        let standing = self.standing(&of_tenant(tenant.as_deref()?));
        let is_gone = !matches!(standing, Standing::Unknown | Standing::Similar);
        is_gone.then_some(standing)
    }

    /// Whether nobody is to share a request with a message for the tenant with these
    /// paths.
    pub(super) fn suspects(&self, tenant: &Tenant, paths: &[String]) -> bool {
        let is_known = |path: &String| self.standing(path) != Standing::Unknown;
        self.tenant_is_gone(tenant).is_some() || paths.iter().any(is_known)
    }

    fn lock(&self) -> MutexGuard<'_, ArrivalsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for a tenant among paths: no path begins like this.
pub(super) fn of_tenant(tenant: &str) -> String {
    format!("tenant {tenant}")
}
