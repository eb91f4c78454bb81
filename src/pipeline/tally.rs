//! What a range of the binlog comes to: changes, keys, paths, and the bill.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use super::record::{At, Record};
use crate::model::edge_item::{is_tag, is_wildcard, of_tenant};
use crate::model::invalidation::{Action, Plan, Target, Widening};
use crate::model::{Op, RowChange};

/// Paths that an AWS account may invalidate in a month without paying
/// (Amazon CloudFront pricing, "Invalidation requests").
const FREE_PATHS_A_MONTH: u64 = 1_000;

/// What each one after that costs, in thousandths of a dollar.
const PATH_COST_MILLIDOLLARS: u64 = 5;

/// The daemon cuts a huge transaction into batches, and equal keys and paths
/// collapse within one batch only; so does the count, and stays bounded.
const DISTINCT_MAX: usize = 65_536;

/// Counts what is planned. Keys and paths that a transaction names more than
/// once count once, as they are acted on once.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Transactions that changed a mapped table.
    pub transactions: u64,
    /// Rows, by table and operation.
    pub tables: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// What each rule asks for.
    pub rules: BTreeMap<String, RuleTally>,
    /// All rules together.
    pub total: RuleTally,
    #[serde(skip)]
    distributions: Vec<Arc<str>>,
    #[serde(skip)]
    billed_paths: u64,
    #[serde(skip)]
    seen: HashSet<u64>,
    #[serde(skip)]
    open: bool,
}

/// Numbers of one rule, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleTally {
    /// Keys to delete.
    pub keys: u64,
    /// Globs of keys to delete, each of which visits the whole keyspace.
    pub globs: u64,
    /// Counters to add to.
    pub counters: u64,
    /// Guards to raise.
    pub guards: u64,
    /// Tag sets to delete, with the keys that their members name.
    pub tag_sets: u64,
    /// Fields of hashes to delete.
    pub hash_fields: u64,
    /// Paths to invalidate, wildcards among them.
    pub paths: u64,
    /// Those of them that end in `*`.
    pub wildcards: u64,
    /// Those of them that are cache tags.
    pub tags: u64,
    /// Paths that their class says not to send.
    pub skipped: u64,
    /// Updates that forgot the version.
    pub missed_version_bumps: u64,
    /// Invalidations of more than the row, by reason.
    pub widened: BTreeMap<&'static str, u64>,
}

/// What CloudFront asks for the paths and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// Distributions that there are.
    pub distributions: u64,
    /// Every path once for each distribution or tenant that it goes to; a
    /// wildcard and a tag count as one.
    pub billed_paths: u64,
    /// In thousandths of a dollar, if nothing else was sent this month.
    pub millidollars_after_free_paths: u64,
    /// In thousandths of a dollar, if the free paths are used up.
    pub millidollars_at_most: u64,
}

impl Tally {
    /// Starts at nothing. Paths of rules that name no distribution go to all of
    /// `distributions`.
    pub fn new(distributions: Vec<Arc<str>>) -> Self {
        Self {
            distributions,
            ..Self::default()
        }
    }

    /// All rows of all tables.
    pub fn changes(&self) -> u64 {
        self.tables.values().flat_map(BTreeMap::values).sum()
    }

    /// What the paths cost.
    pub fn bill(&self) -> Bill {
        let billed_paths = self.billed_paths;
        let cost = |paths: u64| paths.saturating_mul(PATH_COST_MILLIDOLLARS);
        Bill {
            distributions: u64::try_from(self.distributions.len()).unwrap_or(u64::MAX),
            billed_paths,
            millidollars_after_free_paths: cost(billed_paths.saturating_sub(FREE_PATHS_A_MONTH)),
            millidollars_at_most: cost(billed_paths),
        }
    }

    /// Whether `what` is new in this transaction.
    fn first(&mut self, what: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        if self.seen.len() >= DISTINCT_MAX {
            self.seen.clear();
        }
        self.seen.insert(hasher.finish())
    }

    fn count_field(&mut self, rule: &Arc<str>, key: &[u8], field: &[u8]) {
        // The length keeps `a` of `bc` apart from `ab` of `c`.
        let both = [&key.len().to_le_bytes(), key, field].concat();
        self.count(rule, ("field", &both), |tally| tally.hash_fields += 1);
    }

    fn count_bill(&mut self, item: &str, at: Target<'_>) {
        let names = match at.distributions {
            Some(names) => names.to_vec(),
            None => self.distributions.clone(),
        };
        for name in names {
            self.billed_paths += u64::from(self.first(("billed", &*name, item)));
        }
    }

    /// Counts something for its rule and for all, each time that it is new.
    fn count(
        &mut self,
        rule: &Arc<str>,
        what: (&'static str, &[u8]),
        add: impl Fn(&mut RuleTally),
    ) {
        self.open = true;
        if self.first((rule, what)) {
            add(self.rules.entry(rule.to_string()).or_default());
        }
        if self.first(what) {
            add(&mut self.total);
        }
    }
}

impl Plan for Tally {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        match action {
            Action::Delete { key, .. } => self.count(rule, ("key", key), |tally| tally.keys += 1),
            Action::DeleteMatching { glob } => {
                self.count(rule, ("glob", glob), |tally| tally.globs += 1);
            }
            Action::Increment { key } => {
                self.count(rule, ("counter", key), |tally| tally.counters += 1);
            }
            Action::RaiseGuard { key, .. } => {
                self.count(rule, ("guard", key), |tally| tally.guards += 1);
            }
            Action::DeleteTagged { key, .. } => {
                self.count(rule, ("tag set", key), |tally| tally.tag_sets += 1);
            }
            Action::DeleteTaggedMatching { glob, .. } => {
                self.count(rule, ("tag sets", glob), |tally| tally.globs += 1);
            }
            Action::DeleteField { key, field } => {
                self.count_field(rule, key, field);
            }
            // They follow what is counted, and what is logged.
            Action::Publish { .. } | Action::SkipGuard { .. } | Action::BackwardVersion { .. } => {}
            Action::Invalidate { path, at } => {
                let (wildcard, tag) = (is_wildcard(path), is_tag(path));
                let item = of_tenant(at.tenant, path);
                self.count(rule, ("path", item.as_bytes()), |tally| {
                    tally.paths += 1;
                    tally.wildcards += u64::from(wildcard);
                    tally.tags += u64::from(tag);
                });
                self.count_bill(&item, at);
            }
            Action::Skip { path, .. } => {
                self.count(rule, ("skip", path.as_bytes()), |tally| tally.skipped += 1);
            }
            Action::MissedBump { .. } => {
                let entry = self.rules.entry(rule.to_string()).or_default();
                entry.missed_version_bumps += 1;
                self.total.missed_version_bumps += 1;
            }
        }
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.open = true;
        let entry = self.rules.entry(rule.to_string()).or_default();
        *entry.widened.entry(reason.as_str()).or_default() += 1;
        *self.total.widened.entry(reason.as_str()).or_default() += 1;
    }
}

impl Record for Tally {
    fn place(&mut self, _at: &At<'_>) {}

    fn begin(&mut self, change: &RowChange<'_>) {
        self.open = true;
        let name = change.table.name.to_string();
        let table = self.tables.entry(name).or_default();
        *table.entry(Op::as_str(change.op)).or_default() += 1;
    }

    fn end(&mut self) {
        self.transactions += u64::from(std::mem::take(&mut self.open));
        self.seen.clear();
    }
}

impl fmt::Display for RuleTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys, {} paths", self.keys, self.paths)?;
        for (count, what) in [
            (self.wildcards, "of them wildcards"),
            (self.tags, "of them tags"),
            (self.globs, "globs over the keyspace"),
            (self.counters, "counters"),
            (self.guards, "guards"),
            (self.tag_sets, "tag sets"),
            (self.hash_fields, "hash fields"),
            (self.skipped, "paths not sent for their class"),
            (self.missed_version_bumps, "updates without their version"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        for (reason, count) in &self.widened {
            write!(f, ", widened {count} times ({reason})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars =
            |millidollars: u64| format!("${}.{:03}", millidollars / 1_000, millidollars % 1_000);
        write!(
            f,
            "{} paths to {} distribution{}: {} after the {FREE_PATHS_A_MONTH} that are free each month, {} without them",
            self.billed_paths,
            self.distributions,
            if self.distributions == 1 { "" } else { "s" },
            dollars(self.millidollars_after_free_paths),
            dollars(self.millidollars_at_most),
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} changes of mapped tables in {} transactions",
            self.changes(),
            self.transactions
        )?;
        for (table, ops) in &self.tables {
            let ops = ops.iter().map(|(op, count)| format!("{count} {op}"));
            writeln!(f, "  table {table}: {}", ops.collect::<Vec<_>>().join(", "))?;
        }
        for (rule, tally) in &self.rules {
            writeln!(f, "  rule {rule}: {tally}")?;
        }
        write!(f, "in all {}", self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invalidation::Distributions;

    #[test]
    fn what_a_transaction_repeats_counts_once_and_wildcards_cost_as_one_path() {
        let (users, lists): (Arc<str>, Arc<str>) = ("users".into(), "lists".into());
        let mut tally = Tally::new(vec!["main".into()]);
        let at = Target::default();
        for _ in 0..2 {
            for (rule, path) in [
                (&users, "/u/1"),
                (&users, "/u/1"),
                (&lists, "/u/1"),
                (&lists, "/lists*"),
            ] {
                tally.act(rule, Action::Invalidate { path, at });
            }
            tally.act(
                &users,
                Action::Delete {
                    key: b"u:1",
                    settles: true,
                },
            );
            tally.end();
        }
        assert_eq!(tally.transactions, 2);
        assert_eq!((tally.total.paths, tally.total.wildcards), (4, 2));
        assert_eq!(tally.total.keys, 2);
        assert_eq!(tally.rules["users"].paths, 2);
        assert_eq!(tally.rules["lists"].paths, 4);
    }

    #[test]
    fn every_distribution_and_every_tenant_is_billed_for_what_goes_there() {
        let shop: Distributions = vec!["shop".into()].into();
        let mut tally = Tally::new(vec!["main".into(), "shop".into()]);
        for (path, distributions, tenant) in [
            ("/a", None, None),
            ("/a", Some(&shop), None),
            ("/a", Some(&shop), Some("dt_1")),
            ("/a", Some(&shop), Some("dt_2")),
            ("#a", Some(&shop), Some("dt_2")),
            ("#a*", Some(&shop), None),
        ] {
            let at = Target {
                distributions,
                tenant,
            };
            tally.act(&"rule".into(), Action::Invalidate { path, at });
        }
        assert_eq!(tally.bill().billed_paths, 6, "/a goes to shop once");
        assert_eq!((tally.total.tags, tally.total.wildcards), (2, 0));
    }

    #[test]
    fn a_thousand_paths_a_month_are_free_and_each_further_one_costs_half_a_cent() {
        let bill = |names: &[&str]| {
            let mut tally = Tally::new(names.iter().map(|&name| name.into()).collect());
            for n in 0..600 {
                let (path, at) = (&*format!("/{n}"), Target::default());
                tally.act(&"rule".into(), Action::Invalidate { path, at });
            }
            tally.bill()
        };
        assert_eq!(bill(&["main"]).millidollars_after_free_paths, 0);
        let bill = bill(&["main", "images"]);
        assert_eq!(bill.millidollars_after_free_paths, 1_000);
        assert_eq!(
            bill.to_string(),
            "1200 paths to 2 distributions: $1.000 after the 1000 that are free each month, $6.000 without them"
        );
    }
}
