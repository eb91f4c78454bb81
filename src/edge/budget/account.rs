//! The counts as they stand in the file.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::month::month_of;

/// Everything that is counted, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub(super) version: u32,
    pub(super) distributions: BTreeMap<String, Account>,
}

/// A budget that is spent grants a path so often: everything that gathers goes under it.
pub const GRANT_EVERY: Duration = Duration::from_secs(60);

/// Months that are kept beside the one in which was counted last (Bounded).
const OTHER_MONTHS_MAX: usize = 12;

/// One distribution's months.
///
/// A month's count is kept when the next one begins: a clock that was wrong, and is
/// set back, makes it the present one again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// The month in which was counted last.
    pub(super) month: String,
    /// Its paths.
    pub(super) spent: u64,
    /// The paths of other months.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    other_months: BTreeMap<String, u64>,
    /// Requests that are counted and not known to be made, by caller reference.
    pub(super) open: BTreeMap<String, OpenAccount>,
    /// When it last granted a path after it was spent, by tenant; the empty name is none.
    /// Bounded: those of a minute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    granted: BTreeMap<String, Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenAccount {
    paths: u64,
    /// The process that counted it.
    pub(super) process: u32,
    pub(super) opened_at: Timestamp,
}

impl Account {
    /// An account of which it is only known that `spent` paths are the most that
    /// count.
    pub(super) fn spent(month: String, spent: u64) -> Self {
        Self {
            month,
            spent,
            ..Self::default()
        }
    }

    /// The paths of a month.
    pub(super) fn spent_in(&self, month: &str) -> u64 {
        if self.month == month {
            return self.spent;
        }
        self.other_months.get(month).copied().unwrap_or_default()
    }

    fn turn_to(&mut self, month: String) {
        if self.month == month {
            return;
        }
        let spent = self.other_months.remove(&month).unwrap_or_default();
        let before = std::mem::replace(&mut self.month, month);
        let spent_before = std::mem::replace(&mut self.spent, spent);
        if !before.is_empty() {
            self.other_months.insert(before, spent_before);
        }
        while self.other_months.len() > OTHER_MONTHS_MAX {
            self.other_months.pop_first();
        }
    }

    /// Counts a request, unless it is counted already.
    pub(super) fn open(&mut self, reference: String, paths: u64, process: u32, now: Timestamp) {
        self.turn_to(month_of(now));
        self.open.entry(reference).or_insert_with(|| {
            self.spent = self.spent.saturating_add(paths);
            OpenAccount {
                paths,
                process,
                opened_at: now,
            }
        });
    }

    /// Notes that it grants a path although it is spent.
    pub(super) fn granted(&mut self, tenant: Option<&str>, now: Timestamp) {
        let lately = |at| since(at, now).is_some_and(|since| since < GRANT_EVERY);
        self.granted.retain(|_, at| lately(*at));
        let tenant = tenant.unwrap_or_default().to_owned();
        self.granted.insert(tenant, now);
    }

    /// Time since it last did so. Not known where the clock was set back since.
    pub(super) fn since_granted(&self, tenant: Option<&str>, now: Timestamp) -> Option<Duration> {
        let at = self.granted.get(tenant.unwrap_or_default())?;
        since(*at, now)
    }

    pub(super) fn made(&mut self, reference: &str) {
        self.open.remove(reference);
    }

    pub(super) fn not_made(&mut self, reference: &str) {
        let Some(open) = self.open.remove(reference) else {
            return;
        };
        let month = month_of(open.opened_at);
        let counted = if self.month == month {
            Some(&mut self.spent)
        } else {
            self.other_months.get_mut(&month)
        };
        if let Some(spent) = counted {
            *spent = spent.saturating_sub(open.paths);
        }
    }
}

fn since(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(now.duration_since(at)).ok()
}
