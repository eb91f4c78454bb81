//! Plans counted: changes, keys, paths, and the bill for the paths.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use super::record::{At, Record};
use crate::evict::bulk_paths::{BulkRules, TENANTS_MAX};
use crate::model::cast::to_u64;
use crate::model::edge_item::{is_tag, is_wildcard, matches, of_tenant};
use crate::model::invalidation::{Action, Plan, Target, Widening};
use crate::model::{Op, RowChange};

/// Paths that an AWS account may invalidate in a month without paying
/// (Amazon CloudFront pricing, "Invalidation requests").
const FREE_PATHS_A_MONTH: u64 = 1_000;

/// Price of each further path, in thousandths of a dollar.
const PATH_COST_MILLIDOLLARS: u64 = 5;

/// Most names that are remembered to count equal ones once. The daemon too cuts a
/// huge transaction into batches, and collapses equal names within a batch only.
const DISTINCT_MAX: usize = 65_536;

/// Counts plans. Keys and paths that a transaction names several times count
/// once, since they are acted on once.
#[derive(Debug, Default, Serialize)]
pub struct Totals {
    /// Transactions that changed a mapped table.
    pub transactions: u64,
    /// Rows, by table and operation.
    pub tables: BTreeMap<String, BTreeMap<&'static str, u64>>,
    pub rules: BTreeMap<String, RuleTotals>,
    /// All rules together.
    pub total: RuleTotals,
    #[serde(skip)]
    bulk: BulkRules,
    /// The open transaction's paths, by rule.
    #[serde(skip)]
    sending: BTreeMap<Arc<str>, Sending>,
    #[serde(skip)]
    distributions: Vec<Arc<str>>,
    /// Paths that are sent, once for each distribution or tenant that they go to;
    /// each transaction by itself.
    #[serde(skip)]
    billed_paths: u64,
    /// Paths that are not sent because wildcards stand for a bulk change.
    #[serde(skip)]
    bulk_paths: u64,
    #[serde(skip)]
    seen: HashSet<u64>,
    #[serde(skip)]
    open: bool,
}

/// The counts of one rule, or of all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleTotals {
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
    /// Paths among them that end in `*`.
    pub wildcards: u64,
    /// Cache tags among them.
    pub tags: u64,
    /// Paths whose class is not invalidated.
    pub skipped: u64,
    /// Updates that left the version as it was.
    pub missed_version_bumps: u64,
    /// Invalidations of more than the row, by reason.
    pub widened: BTreeMap<&'static str, u64>,
}

/// A rule's paths and tags in one transaction.
#[derive(Clone, Debug, Default)]
struct Sending {
    /// All of them, as the rule renders them.
    paths: u64,
    /// Paths that no rule before has named, once for each distribution.
    new: u64,
    /// Paths among `new` that the rule's wildcards do not stand for.
    unmatched: u64,
    /// The distributions that they go to.
    distributions: Vec<Arc<str>>,
    /// The tenants that they are for, up to one more than [`TENANTS_MAX`].
    tenants: BTreeSet<Option<Arc<str>>>,
}

/// CloudFront's bill for the paths and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// Number of distributions.
    pub distributions: u64,
    /// Paths, each once for each distribution or tenant that it goes to. A
    /// wildcard and a tag count as one.
    pub billed_paths: u64,
    /// Paths that wildcards stand for, because a transaction had more than
    /// `bulk_threshold` of them.
    pub bulk_paths: u64,
    /// Cost in thousandths of a dollar if nothing else was sent this month.
    pub millidollars_after_free_paths: u64,
    /// Cost in thousandths of a dollar if the free paths are used up.
    pub millidollars_at_most: u64,
}

impl Totals {
    /// Counts from zero. Paths of rules that name no distribution go to all of
    /// `distributions`.
    pub fn new(distributions: Vec<Arc<str>>) -> Self {
        Self {
            distributions,
            ..Self::default()
        }
    }

    /// Counts a bulk change as these rules' wildcards.
    #[must_use]
    pub fn with_bulk(self, bulk: BulkRules) -> Self {
        Self { bulk, ..self }
    }

    /// The number of changed rows, of all tables.
    pub fn changes(&self) -> u64 {
        self.tables.values().flat_map(BTreeMap::values).sum()
    }

    /// The bill for the paths so far.
    pub fn bill(&mut self) -> Bill {
        self.send_all();
        let billed_paths = self.billed_paths;
        let cost = |paths: u64| paths.saturating_mul(PATH_COST_MILLIDOLLARS);
        Bill {
            distributions: to_u64(self.distributions.len()),
            billed_paths,
            bulk_paths: self.bulk_paths,
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
        self.count(rule, ("field", &both), |totals| totals.hash_fields += 1);
    }

    /// Counts `what` for its rule and in total, each time that it is new.
    fn count(
        &mut self,
        rule: &Arc<str>,
        what: (&'static str, &[u8]),
        add: impl Fn(&mut RuleTotals),
    ) {
        self.open = true;
        if self.first((rule, what)) {
            add(self.rules.entry(rule.to_string()).or_default());
        }
        if self.first(what) {
            add(&mut self.total);
        }
    }

    /// Counts a path for the bill, each time that it is new for its rule.
    fn send(&mut self, rule: &Arc<str>, path: &str, item: &str, at: Target<'_>) {
        if !self.first(("sent", rule, item)) {
            return;
        }
        let names = match at.distributions {
            Some(names) => names.to_vec(),
            None => self.distributions.clone(),
        };
        let new = names
            .iter()
            .map(|name| u64::from(self.first(("billed", &**name, item))))
            .sum();
        // As in the daemon, a rule's wildcards stand for its tags too.
        let matched = self.bulk.get(rule).is_some_and(|bulk| {
            is_tag(path) || bulk.wildcards.iter().any(|sent| matches(sent, path))
        });
        let sending = self.sending.entry(Arc::clone(rule)).or_default();
        sending.paths += 1;
        sending.new += new;
        sending.unmatched += if matched { 0 } else { new };
        sending.distributions = names;
        if sending.tenants.len() <= TENANTS_MAX {
            sending.tenants.insert(at.tenant.map(Into::into));
        }
    }

    /// Bills the transaction's paths as the daemon sends them.
    fn send_all(&mut self) {
        let mut wildcards: HashSet<(Arc<str>, String)> = HashSet::new();
        for (rule, mut sending) in std::mem::take(&mut self.sending) {
            let bulk = self.bulk.get(&rule).filter(|bulk| {
                let threshold = to_u64(bulk.threshold);
                sending.paths > threshold && !bulk.wildcards.is_empty()
            });
            let Some(bulk) = bulk else {
                self.billed_paths += sending.new;
                continue;
            };
            if sending.tenants.len() > TENANTS_MAX {
                sending.tenants = [None].into();
            }
            let before = wildcards.len();
            for name in &sending.distributions {
                for tenant in &sending.tenants {
                    wildcards.extend(bulk.wildcards.iter().map(|sent| {
                        let item = of_tenant(tenant.as_deref(), sent).into_owned();
                        (Arc::clone(name), item)
                    }));
                }
            }
            let added = to_u64(wildcards.len() - before);
            self.billed_paths += sending.unmatched.saturating_add(added);
            self.bulk_paths += sending.new - sending.unmatched;
        }
    }
}

impl Plan for Totals {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        match action {
            Action::Delete { key, .. } => self.count(rule, ("key", key), |totals| totals.keys += 1),
            Action::DeleteMatching { glob } => {
                self.count(rule, ("glob", glob), |totals| totals.globs += 1);
            }
            Action::Increment { key } => {
                self.count(rule, ("counter", key), |totals| totals.counters += 1);
            }
            Action::RaiseGuard { key, .. } => {
                self.count(rule, ("guard", key), |totals| totals.guards += 1);
            }
            Action::DeleteTagSet { key, .. } => {
                self.count(rule, ("tag set", key), |totals| totals.tag_sets += 1);
            }
            Action::DeleteTagSetsMatching { glob, .. } => {
                self.count(rule, ("tag sets", glob), |totals| totals.globs += 1);
            }
            Action::DeleteField { key, field } => {
                self.count_field(rule, key, field);
            }
            // They follow from what is counted or logged already.
            Action::Publish { .. } | Action::SkipGuard { .. } | Action::BackwardVersion { .. } => {}
            Action::Invalidate { path, at } => {
                let (wildcard, tag) = (is_wildcard(path), is_tag(path));
                let item = of_tenant(at.tenant, path);
                self.count(rule, ("path", item.as_bytes()), |totals| {
                    totals.paths += 1;
                    totals.wildcards += u64::from(wildcard);
                    totals.tags += u64::from(tag);
                });
                self.send(rule, path, &item, at);
            }
            Action::Skip { path, .. } => {
                self.count(rule, ("skip", path.as_bytes()), |totals| {
                    totals.skipped += 1;
                });
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

impl Record for Totals {
    fn place(&mut self, _at: &At<'_>) {}

    fn begin(&mut self, change: &RowChange<'_>) {
        self.open = true;
        let name = change.table.name.to_string();
        let table = self.tables.entry(name).or_default();
        *table.entry(Op::as_str(change.op)).or_default() += 1;
    }

    fn end(&mut self) {
        self.send_all();
        self.transactions += u64::from(std::mem::take(&mut self.open));
        self.seen.clear();
    }
}

impl fmt::Display for RuleTotals {
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
            "at most {} paths to {} distribution{}: {} after the {FREE_PATHS_A_MONTH} that are free each month, {} without them",
            self.billed_paths,
            self.distributions,
            if self.distributions == 1 { "" } else { "s" },
            dollars(self.millidollars_after_free_paths),
            dollars(self.millidollars_at_most),
        )?;
        if self.bulk_paths > 0 {
            write!(
                f,
                "; {} more go under the wildcards of bulk changes",
                self.bulk_paths
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} changes of mapped tables in {} transactions",
            self.changes(),
            self.transactions
        )?;
        for (table, ops) in &self.tables {
            let ops: Vec<String> = ops
                .iter()
                .map(|(op, count)| format!("{count} {op}"))
                .collect();
            writeln!(f, "  table {table}: {}", ops.join(", "))?;
        }
        for (rule, totals) in &self.rules {
            writeln!(f, "  rule {rule}: {totals}")?;
        }
        write!(f, "in all {}", self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::bulk_paths::BulkRule;
    use crate::model::invalidation::Distributions;

    #[test]
    fn what_a_transaction_repeats_counts_once_and_wildcards_cost_as_one_path() {
        let (users, lists): (Arc<str>, Arc<str>) = ("users".into(), "lists".into());
        let mut totals = Totals::new(vec!["main".into()]);
        let at = Target::default();
        for _ in 0..2 {
            for (rule, path) in [
                (&users, "/u/1"),
                (&users, "/u/1"),
                (&lists, "/u/1"),
                (&lists, "/lists*"),
            ] {
                totals.act(rule, Action::Invalidate { path, at });
            }
            totals.act(
                &users,
                Action::Delete {
                    key: b"u:1",
                    settles: true,
                },
            );
            totals.end();
        }
        assert_eq!(totals.transactions, 2);
        assert_eq!((totals.total.paths, totals.total.wildcards), (4, 2));
        assert_eq!(totals.total.keys, 2);
        assert_eq!(totals.rules["users"].paths, 2);
        assert_eq!(totals.rules["lists"].paths, 4);
    }

    #[test]
    fn every_distribution_and_every_tenant_is_billed_for_what_goes_there() {
        let shop: Distributions = vec!["shop".into()].into();
        let mut totals = Totals::new(vec!["main".into(), "shop".into()]);
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
            totals.act(&"rule".into(), Action::Invalidate { path, at });
        }
        assert_eq!(totals.bill().billed_paths, 6, "/a goes to shop once");
        assert_eq!((totals.total.tags, totals.total.wildcards), (2, 0));
    }

    #[test]
    fn a_thousand_paths_a_month_are_free_and_each_further_one_costs_half_a_cent() {
        let bill = |names: &[&str]| {
            let mut totals = Totals::new(names.iter().map(|&name| name.into()).collect());
            for n in 0..600 {
                let (path, at) = (&*format!("/{n}"), Target::default());
                totals.act(&"rule".into(), Action::Invalidate { path, at });
            }
            totals.bill()
        };
        assert_eq!(bill(&["main"]).millidollars_after_free_paths, 0);
        let bill = bill(&["main", "images"]);
        assert_eq!(bill.millidollars_after_free_paths, 1_000);
        assert_eq!(
            bill.to_string(),
            "at most 1200 paths to 2 distributions: $1.000 after the 1000 that are free each month, $6.000 without them"
        );
    }

    #[test]
    fn a_bulk_change_costs_its_wildcards_and_what_they_do_not_match() {
        let (products, users): (Arc<str>, Arc<str>) = ("products".into(), "users".into());
        let bulk = BulkRule {
            threshold: 10,
            wildcards: vec!["/products/*".to_owned(), "/api/*".to_owned()],
        };
        let mut totals = Totals::new(vec!["main".into(), "images".into()])
            .with_bulk([(Arc::clone(&products), bulk)].into());
        let at = Target::default();
        let mut change = |rows: u32| {
            for row in 0..rows {
                for path in [format!("/products/{row}"), "/sitemap.xml".to_owned()] {
                    totals.act(&products, Action::Invalidate { path: &path, at });
                }
                let path = format!("/users/{row}");
                totals.act(&users, Action::Invalidate { path: &path, at });
            }
            totals.end();
            (totals.billed_paths / 2, totals.bulk_paths / 2)
        };
        assert_eq!(change(9), (9 + 1 + 9, 0), "ten paths are no more than ten");
        assert_eq!(change(500), (19 + 2 + 1 + 500, 500));
        assert_eq!(change(500), (522 + 503, 1_000));
        let bill = totals.bill();
        assert_eq!((bill.billed_paths, bill.bulk_paths), (2_050, 2_000));
        assert!(
            bill.to_string()
                .ends_with("; 2000 more go under the wildcards of bulk changes")
        );
        assert_eq!(
            totals.total.paths,
            1_009 + 3 + 1_009,
            "what rows render stays as it is"
        );
    }

    #[test]
    fn a_bulk_change_costs_its_wildcards_for_each_tenant_or_for_all_together() {
        let (shop, rule): (Distributions, Arc<str>) = (vec!["shop".into()].into(), "rule".into());
        let bulk = BulkRule {
            threshold: 10,
            wildcards: vec!["/p/*".to_owned()],
        };
        let bill = |tenants: u32| {
            let mut totals = Totals::new(vec!["main".into(), "shop".into()])
                .with_bulk([(Arc::clone(&rule), bulk.clone())].into());
            for tenant in 0..tenants {
                let tenant = format!("dt_{tenant}");
                let at = Target {
                    distributions: Some(&shop),
                    tenant: Some(&tenant),
                };
                for path in ["/p/1", "/p/2", "/p/3", "/p/4", "/p/5", "#t", "/other"] {
                    totals.act(&rule, Action::Invalidate { path, at });
                }
            }
            let bill = totals.bill();
            (bill.billed_paths, bill.bulk_paths)
        };
        assert_eq!(bill(1), (7, 0), "seven paths are not a bulk change");
        assert_eq!(bill(2), (2 + 2, 12));
        assert_eq!(bill(15), (15 + 15, 15 * 6));
        assert_eq!(bill(16), (1 + 16, 16 * 6), "one for all");
    }
}
