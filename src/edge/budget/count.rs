//! Counts the paths that are sent, and knows the budgets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinError;

use super::account::{Account, Accounts, OpenAccount};
use super::error::BudgetError;
use super::file;
use super::month::{forecast, month_of};
use super::status::BudgetStatus;

/// The distributions' budgets, where they have one.
pub type Limits = BTreeMap<Arc<str>, Option<u64>>;

/// Counts paths, for all distributions of a configuration.
///
/// Several processes may share the file; each change reads it first.
#[derive(Debug)]
pub struct Budget {
    /// `None`: nothing is kept.
    path: Option<PathBuf>,
    limits: Limits,
    /// As last read or written.
    accounts: Arc<Mutex<Accounts>>,
}

impl Budget {
    /// Counts in memory only.
    pub fn in_memory(limits: Limits) -> Self {
        Self {
            path: None,
            limits,
            accounts: Arc::default(),
        }
    }

    /// Counts in the file at `path`, which need not be there yet.
    ///
    /// # Errors
    ///
    /// It cannot be read or written.
    pub async fn open_file(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, BudgetError> {
        // The worst that a damaged file can have held.
        let month = month_of(Timestamp::now());
        let spent = |(name, limit): (&Arc<str>, &Option<u64>)| {
            let account = Account::spent(month.clone(), (*limit)?);
            Some((name.to_string(), account))
        };
        let worst = Accounts {
            distributions: limits.iter().filter_map(spent).collect(),
            ..Accounts::default()
        };
        let budget = Self {
            path: Some(path.into()),
            accounts: Arc::new(Mutex::new(worst)),
            limits,
        };
        budget.change(|_| ()).await?;
        Ok(budget)
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

    /// Notes, before the request, that the distribution's budget grants a path although
    /// it is spent.
    ///
    /// # Errors
    ///
    /// It is noted in memory only.
    pub async fn granted(
        &self,
        distribution: &str,
        tenant: Option<&str>,
    ) -> Result<(), BudgetError> {
        let (distribution, tenant) = (distribution.to_owned(), tenant.map(str::to_owned));
        self.change(move |accounts| {
            let account = accounts.distributions.entry(distribution).or_default();
            account.granted(tenant.as_deref(), Timestamp::now());
        })
        .await
    }

    /// Time since it last did so, if that is known.
    pub fn since_granted(&self, distribution: &str, tenant: Option<&str>) -> Option<Duration> {
        let accounts = self.accounts();
        let account = accounts.distributions.get(distribution)?;
        account.since_granted(tenant, Timestamp::now())
    }

    /// Requests that were counted by a process which is gone, and when: whether
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
        account
            .open
            .iter()
            .filter(|(_, open)| gone(open))
            .map(|(reference, open)| (reference.clone(), open.opened_at))
            .collect()
    }

    /// Reads what the file at `path` says, to show it. Nothing is made or locked.
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

    /// Says what every distribution has cost this month.
    pub fn statuses(&self) -> Vec<BudgetStatus> {
        self.limits.keys().map(|name| self.status(name)).collect()
    }

    /// Says what a distribution has cost this month.
    pub fn status(&self, distribution: &Arc<str>) -> BudgetStatus {
        let now = Timestamp::now();
        let month = month_of(now);
        let accounts = self.accounts();
        let spent = accounts
            .distributions
            .get(&**distribution)
            .map_or(0, |account| account.spent_in(&month));
        let limit = self.limits.get(distribution).copied().flatten();
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
