//! What a month's invalidations cost, in paths.
//!
//! CloudFront bills every path of an invalidation, wildcards as one. A path is
//! counted on disk *before* the call, so that none is paid for unseen; what was
//! certainly not made is given back. A count that a crash left open is settled
//! at the next start, by looking at what the edge has made.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;

use super::cover::request::BudgetMode;
use crate::model::Current;

/// From this part of the budget on, requests become thrifty.
const THRIFTY_FROM_PERCENT: u64 = 80;

/// A thrifty request costs at most this part of what is left: a bulk change
/// becomes wildcards, and single edits stay as they are for a long time.
const THRIFTY_PART: u64 = 50;

/// What a distribution has cost this month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// The distribution's name.
    pub distribution: String,
    /// The month, in UTC: `2026-11`.
    pub month: String,
    /// Paths that this machine's drains have sent in it.
    pub spent: u64,
    /// The budget, if there is one.
    pub limit: Option<u64>,
    /// What is left of it.
    pub left: Option<u64>,
    /// What the month will have cost at its end, at the pace so far.
    pub forecast: u64,
}

impl BudgetStatus {
    /// How sparing the next request has to be.
    pub fn mode(&self) -> BudgetMode {
        let (Some(limit), Some(left)) = (self.limit, self.left) else {
            return BudgetMode::Free;
        };
        if left == 0 {
            return BudgetMode::Spent;
        }
        let thrifty = self.spent.saturating_mul(100) >= limit.saturating_mul(THRIFTY_FROM_PERCENT);
        let most = if thrifty {
            left.div_ceil(THRIFTY_PART)
        } else {
            left
        };
        BudgetMode::AtMost(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

/// Why the counts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file or its directory.
    #[error(
        "cannot {action} the budget file {path}: {reason}; \
         check that the directory exists and evictd's user may write to it"
    )]
    Io {
        /// The file.
        path: String,
        /// What was tried.
        action: &'static str,
        /// The system's words.
        reason: String,
    },
    /// It holds something else.
    #[error(
        "the budget file {path} is not one of evictd's ({reason}); \
         move it away, and the month is counted from zero"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Everything that is counted, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Accounts {
    version: u32,
    distributions: BTreeMap<String, Account>,
}

/// One distribution's month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    month: String,
    spent: u64,
    /// Counted, and not known to be made: by caller reference.
    open: BTreeMap<String, OpenAccount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OpenAccount {
    paths: u64,
    /// The process that asks for it.
    process: u32,
    opened_at: Timestamp,
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
    fn open(&mut self, reference: String, paths: u64, process: u32, now: Timestamp) {
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

    fn made(&mut self, reference: &str) {
        self.open.remove(reference);
    }

    fn not_made(&mut self, reference: &str) {
        if let Some(open) = self.open.remove(reference) {
            self.spent = self.spent.saturating_sub(open.paths);
        }
    }
}

/// The distributions' budgets, where they have one.
pub type Limits = BTreeMap<Arc<str>, Option<u64>>;

/// Counts paths, for all distributions of a configuration.
///
/// Several processes may share the file; each change reads it first.
#[derive(Debug)]
pub struct Budget {
    /// `None`: nothing is kept.
    path: Option<PathBuf>,
    limits: Current<Limits>,
    /// As last read or written.
    accounts: Arc<Mutex<Accounts>>,
}

impl Budget {
    /// Counts in memory only.
    pub fn in_memory(limits: Limits) -> Self {
        Self {
            path: None,
            limits: Current::new(limits),
            accounts: Arc::default(),
        }
    }

    /// Counts in the file at `path`, which need not be there yet.
    ///
    /// # Errors
    ///
    /// It cannot be read, or written, or holds something else.
    pub async fn open_file(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, BudgetError> {
        let book = Self {
            path: Some(path.into()),
            ..Self::in_memory(limits)
        };
        book.change(|_| ()).await?;
        Ok(book)
    }

    /// Goes by other budgets from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// Counts a request before it is made. Counting one again that is open
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// It is counted in memory only.
    pub async fn open(
        &self,
        distribution: &str,
        reference: &str,
        paths: usize,
    ) -> Result<(), BudgetError> {
        let (distribution, reference) = (distribution.to_owned(), reference.to_owned());
        let paths = u64::try_from(paths).unwrap_or(u64::MAX);
        self.change(move |accounts| {
            let account = accounts.distributions.entry(distribution).or_default();
            account.open(reference, paths, std::process::id(), Timestamp::now());
        })
        .await
    }

    /// The edge has made the request.
    ///
    /// # Errors
    ///
    /// The file still has it as open, and the next start finds it made.
    pub async fn made(&self, distribution: &str, reference: &str) -> Result<(), BudgetError> {
        let (distribution, reference) = (distribution.to_owned(), reference.to_owned());
        self.change(move |accounts| {
            if let Some(account) = accounts.distributions.get_mut(&distribution) {
                account.made(&reference);
            }
        })
        .await
    }

    /// The edge has certainly not made it, and it is not repeated.
    ///
    /// # Errors
    ///
    /// The file still has it as open, and the next start finds it not made.
    pub async fn not_made(&self, distribution: &str, reference: &str) -> Result<(), BudgetError> {
        let (distribution, reference) = (distribution.to_owned(), reference.to_owned());
        self.change(move |accounts| {
            if let Some(account) = accounts.distributions.get_mut(&distribution) {
                account.not_made(&reference);
            }
        })
        .await
    }

    /// Requests that a process counted which is gone, and when it did: whether
    /// they were made is to be found out.
    pub fn orphans(&self, distribution: &str) -> Vec<(String, Timestamp)> {
        let own = std::process::id();
        let accounts = self.accounts();
        let Some(account) = accounts.distributions.get(distribution) else {
            return Vec::new();
        };
        let gone = |open: &OpenAccount| {
            // In a container every process has the same number.
            open.process == own || !PathBuf::from(format!("/proc/{}", open.process)).exists()
        };
        let orphans = account.open.iter().filter(|(_, open)| gone(open));
        orphans
            .map(|(reference, open)| (reference.clone(), open.opened_at))
            .collect()
    }

    /// What the file at `path` says, to look at. Nothing is made or locked.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds something else.
    pub async fn read_file(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, BudgetError> {
        let path = path.into();
        let reading = tokio::task::spawn_blocking(move || file::read(&path));
        let accounts = reading
            .await
            .unwrap_or_else(|panicked| panicked_in("read", &panicked))?;
        Ok(Self {
            accounts: Arc::new(Mutex::new(accounts)),
            ..Self::in_memory(limits)
        })
    }

    /// What every distribution has cost this month.
    pub fn statuses(&self) -> Vec<BudgetStatus> {
        let limits = self.limits.get();
        limits.keys().map(|name| self.status(name)).collect()
    }

    /// What a distribution has cost this month.
    pub fn status(&self, distribution: &Arc<str>) -> BudgetStatus {
        let now = Timestamp::now();
        let month = month_of(now);
        let accounts = self.accounts();
        let account = accounts.distributions.get(&**distribution);
        let account = account.filter(|account| account.month == month);
        let spent = account.map_or(0, |account| account.spent);
        let limit = self.limits.get().get(distribution).copied().flatten();
        BudgetStatus {
            distribution: distribution.to_string(),
            month,
            spent,
            limit,
            left: limit.map(|limit| limit.saturating_sub(spent)),
            forecast: forecast(spent, now),
        }
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn change(
        &self,
        work: impl FnOnce(&mut Accounts) + Send + 'static,
    ) -> Result<(), BudgetError> {
        let Some(path) = self.path.clone() else {
            work(&mut self.accounts());
            return Ok(());
        };
        let accounts = Arc::clone(&self.accounts);
        let changing = tokio::task::spawn_blocking(move || {
            let mut known = accounts.lock().unwrap_or_else(PoisonError::into_inner);
            file::change(&path, &mut known, work)
        });
        changing
            .await
            .unwrap_or_else(|panicked| panicked_in("write", &panicked))
    }
}

fn panicked_in<T>(action: &'static str, panicked: &JoinError) -> Result<T, BudgetError> {
    Err(BudgetError::Io {
        path: String::new(),
        action,
        reason: panicked.to_string(),
    })
}

fn month_of(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

/// The first hour of a month says nothing about its pace, and counts as whole.
fn forecast(spent: u64, now: Timestamp) -> u64 {
    const HOUR_S: u64 = 3_600;
    let today = now.to_zoned(TimeZone::UTC);
    let days = u64::try_from(today.days_in_month()).unwrap_or(30);
    let full_days = u64::try_from(today.day()).unwrap_or(1).saturating_sub(1);
    let hour = u64::try_from(today.hour()).unwrap_or(0);
    let minute = u64::try_from(today.minute()).unwrap_or(0);
    let elapsed_s = (full_days * 24 + hour) * HOUR_S + minute * 60;
    let scaled = u128::from(spent) * u128::from(days * 24 * HOUR_S);
    u64::try_from(scaled / u128::from(elapsed_s.max(HOUR_S))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
