//! What others have had invalidated: drains on other machines, deployments,
//! people in the console.
//!
//! A budget is what a distribution may cost, whoever spends it. Each machine
//! counts its own requests before it makes them, and everybody else's when it
//! sees them in the edge's list.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Account, Budget, BudgetError, month_of};

/// How long an id is remembered, so that none counts twice. Lists are read from
/// a few seconds before the place that was reached.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// An invalidation that none of this machine's drains asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its id.
    pub id: String,
    /// What names the request.
    pub caller_reference: String,
    /// When it was accepted.
    pub made_at: Timestamp,
    /// How many paths it has.
    pub paths: u64,
}

/// How far the edge's list is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Elsewhere {
    /// Paths, this month.
    pub(super) paths: u64,
    /// Everything that was accepted before is counted.
    until: Option<Timestamp>,
    /// What was counted lately, by id.
    counted: BTreeMap<String, Timestamp>,
}

impl Elsewhere {
    /// The place in the list stays, the count begins anew.
    pub(super) fn of_next_month(self) -> Self {
        Self { paths: 0, ..self }
    }
}

impl Account {
    fn count_elsewhere(&mut self, foreign: &[Foreign], until: Option<Timestamp>, now: Timestamp) {
        let month = month_of(now);
        self.turn_to(&month);
        for Foreign {
            id, made_at, paths, ..
        } in foreign
        {
            let new = self
                .elsewhere
                .counted
                .insert(id.clone(), *made_at)
                .is_none();
            if new && month_of(*made_at) == month {
                self.elsewhere.paths = self.elsewhere.paths.saturating_add(*paths);
            }
        }
        self.elsewhere.until = self.elsewhere.until.max(until);
        let oldest = self
            .elsewhere
            .until
            .and_then(|until| until.checked_sub(REMEMBERED_FOR).ok());
        if let Some(oldest) = oldest {
            self.elsewhere
                .counted
                .retain(|_, made_at| *made_at >= oldest);
        }
    }
}

impl Budget {
    /// From where on the edge's list is to be counted. `None`: nobody asks for
    /// it, since there is no budget.
    ///
    /// # Errors
    ///
    /// It begins now, each time, until the file can be written.
    pub async fn counts_elsewhere_from(
        &self,
        distribution: &str,
    ) -> Result<Option<Timestamp>, BudgetError> {
        if !self.has_limit(distribution) {
            return Ok(None);
        }
        let now = Timestamp::now();
        let name = distribution.to_owned();
        let changed = self.change(move |accounts| {
            let account = accounts.distributions.entry(name).or_default();
            if account.elsewhere.until.is_none() {
                account.count_elsewhere(&[], Some(now), now);
            }
        });
        changed.await?;
        let accounts = self.accounts();
        let account = accounts.distributions.get(distribution);
        Ok(account.and_then(|account| account.elsewhere.until))
    }

    /// Whether the distribution has a budget.
    pub fn has_limit(&self, distribution: &str) -> bool {
        let limits = self.limits.get();
        limits.get(distribution).copied().flatten().is_some()
    }

    /// The requests that this machine's drains are about to make, or do not
    /// know to be made.
    ///
    /// # Errors
    ///
    /// Those of other processes are not known.
    pub async fn open_references(
        &self,
        distribution: &str,
    ) -> Result<HashSet<String>, BudgetError> {
        self.change(|_| ()).await?;
        let accounts = self.accounts();
        let account = accounts.distributions.get(distribution);
        Ok(account
            .map(|account| account.open.keys().cloned().collect())
            .unwrap_or_default())
    }

    /// Counts what others have had invalidated, each once. With `until`,
    /// nothing before that is missing.
    ///
    /// # Errors
    ///
    /// It is counted in memory only.
    pub async fn elsewhere(
        &self,
        distribution: &str,
        foreign: Vec<Foreign>,
        until: Option<Timestamp>,
    ) -> Result<(), BudgetError> {
        let name = distribution.to_owned();
        self.change(move |accounts| {
            let account = accounts.distributions.entry(name).or_default();
            account.count_elsewhere(&foreign, until, Timestamp::now());
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn foreign(id: &str, made_at: Timestamp, paths: u64) -> Foreign {
        Foreign {
            id: id.to_owned(),
            caller_reference: format!("somebody-{id}"),
            made_at,
            paths,
        }
    }

    #[tokio::test]
    async fn what_others_spend_counts_once_for_all_processes_that_share_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.budget.json");
        let limits: BTreeMap<Arc<str>, _> =
            [("main".into(), Some(100)), ("images".into(), None)].into();
        let one = Budget::open_file(&path, limits.clone()).await.unwrap();
        let two = Budget::open_file(&path, limits).await.unwrap();
        assert_eq!(one.counts_elsewhere_from("images").await.unwrap(), None);
        let begun = one.counts_elsewhere_from("main").await.unwrap();
        assert_eq!(two.counts_elsewhere_from("main").await.unwrap(), begun);
        let now = Timestamp::now();
        one.open("main", "own", 7).await.unwrap();
        assert!(two.open_references("main").await.unwrap().contains("own"));
        one.elsewhere("main", vec![foreign("I1", now, 30)], None)
            .await
            .unwrap();
        let seen = vec![foreign("I1", now, 30), foreign("I2", now, 5)];
        two.elsewhere("main", seen, Some(now)).await.unwrap();
        let status = two.status(&"main".into());
        assert_eq!(
            (status.spent, status.elsewhere, status.left),
            (42, 35, Some(58))
        );
        assert_eq!(two.counts_elsewhere_from("main").await.unwrap(), Some(now));
    }

    #[test]
    fn a_month_counts_what_was_made_in_it_and_ids_are_forgotten_in_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut account = Account::default();
        let november = at("2026-11-30T23:59:00Z");
        let december = at("2026-12-01T00:01:00Z");
        account.count_elsewhere(&[foreign("I1", november, 9)], Some(november), november);
        assert_eq!(account.elsewhere.paths, 9);
        let late = [foreign("I2", november, 9), foreign("I3", december, 4)];
        account.count_elsewhere(&late, Some(december), december);
        assert_eq!(account.elsewhere.paths, 4);
        account.count_elsewhere(&late, Some(december), december);
        assert_eq!(account.elsewhere.paths, 4);
        let later = at("2026-12-02T00:00:00Z");
        account.count_elsewhere(&[], Some(later), later);
        assert!(account.elsewhere.counted.is_empty());
        assert_eq!(account.elsewhere.until, Some(later));
    }
}
