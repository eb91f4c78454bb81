//! What a distribution does not take now: of a tenant, or of none.
//!
//! They have one line on the board. That one tenant's paths are taken says nothing of
//! another's, and that there was room for some nothing of those that wait for it: the
//! line stays until none is left.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::suspects::Tenant;

/// Locked for moments, never across an await.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    by_place: Mutex<BTreeMap<(Tenant, TroubleKind), Trouble>>,
}

/// What paths are not taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TroubleKind {
    Refusal,
    /// There is none.
    Room,
}

/// When it began, and what was said last.
type Trouble = (Timestamp, String);

impl Troubles {
    /// Takes in a trouble, which began at `since` if it is not known. Returns when the
    /// oldest began.
    pub(super) fn add(
        &self,
        tenant: &Tenant,
        kind: TroubleKind,
        since: Timestamp,
        error: &str,
    ) -> Timestamp {
        let mut troubles = self.lock();
        let known = troubles.entry((tenant.clone(), kind));
        let (_, said) = known.or_insert((since, String::new()));
        error.clone_into(said);
        let oldest = troubles.values().map(|(since, _)| *since).min();
        oldest.unwrap_or(since)
    }

    /// Takes in that it is over. Returns the oldest of the others.
    pub(super) fn remove(&self, tenant: &Tenant, kind: TroubleKind) -> Option<Trouble> {
        let mut troubles = self.lock();
        troubles.remove(&(tenant.clone(), kind));
        troubles.values().min().cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Tenant, TroubleKind), Trouble>> {
        self.by_place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
