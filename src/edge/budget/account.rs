//! The counts as they stand in the file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::month::month_of;

/// Everything that is counted, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub(super) version: u32,
    pub(super) distributions: BTreeMap<String, Account>,
}

/// One distribution's month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) month: String,
    pub(super) spent: u64,
    /// Requests that are counted and not known to be made, by caller reference.
    pub(super) open: BTreeMap<String, OpenAccount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenAccount {
    paths: u64,
    /// The process that counted it.
    pub(super) process: u32,
    pub(super) opened_at: Timestamp,
}

impl Account {
    fn turn_to(&mut self, month: &str) {
        if self.month != month {
            *self = Self {
                month: month.to_owned(),
                ..Self::default()
            };
        }
    }

    /// Counts a request, unless it is counted already.
    pub(super) fn open(&mut self, reference: String, paths: u64, process: u32, now: Timestamp) {
        self.turn_to(&month_of(now));
        self.open.entry(reference).or_insert_with(|| {
            self.spent = self.spent.saturating_add(paths);
            OpenAccount {
                paths,
                process,
                opened_at: now,
            }
        });
    }

    pub(super) fn made(&mut self, reference: &str) {
        self.open.remove(reference);
    }

    pub(super) fn not_made(&mut self, reference: &str) {
        if let Some(open) = self.open.remove(reference) {
            self.spent = self.spent.saturating_sub(open.paths);
        }
    }
}
