//! The paths of a batch, rule by rule, and the wildcards that are sent in their
//! place when there are too many.
//!
//! A change of a hundred thousand rows would be a hundred thousand paths in the
//! buffer, and as many on the bill. Beyond its threshold a rule sends what it
//! would send for the whole table (Over, never under).
//!
//! Cache tags count as paths here. The same path of two tenants counts as two.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use metrics::counter;

use crate::model::edge_item::{is_tag, matches, of_tenant, split_tenant};
use crate::model::invalidation::{Distributions, Target};
use crate::model::{CommitTime, KeySet};
use crate::telemetry::metric;

/// Paths to invalidate, by rule.
#[derive(Debug, Default)]
pub struct Paths {
    rules: Vec<OfRule>,
    /// Index of the newest path's rule: paths of a rule come in runs.
    last: usize,
    /// When the change was committed whose paths come next.
    at: Option<CommitTime>,
    oldest: Option<CommitTime>,
    newest: Option<CommitTime>,
}

#[derive(Debug)]
struct OfRule {
    name: Arc<str>,
    /// The distributions that they go to; `None` for all of them. Paths that go
    /// elsewhere are never merged with these, whatever their rule is called.
    distributions: Option<Distributions>,
    /// Paths, each after its tenant.
    paths: KeySet,
    /// The parts that came from single batches, once batches are joined: many
    /// small batches that wait together are not a bulk change.
    parts: Vec<RulePaths>,
}

/// The paths of one rule in one batch, counted.
#[derive(Clone, Copy, Debug)]
struct RulePaths {
    oldest: Option<CommitTime>,
    newest: Option<CommitTime>,
    paths: usize,
}

impl Paths {
    /// Adds a path of `rule`.
    pub fn insert(&mut self, rule: &Arc<str>, at: Target<'_>, path: &str) {
        self.newest = self.newest.max(self.at);
        let path = of_tenant(at.tenant, path);
        let path = path.as_bytes();
        if let Some(of_rule) = self.rules.get_mut(self.last)
            && Arc::ptr_eq(&of_rule.name, rule)
        {
            of_rule.paths.insert(path);
            return;
        }
        let found = self.rules.iter().position(|known| {
            known.name == *rule && known.distributions.as_ref() == at.distributions
        });
        self.last = found.unwrap_or(self.rules.len());
        match self.rules.get_mut(self.last) {
            Some(of_rule) => {
                of_rule.paths.insert(path);
            }
            None => {
                let mut paths = KeySet::default();
                paths.insert(path);
                self.rules.push(OfRule {
                    name: Arc::clone(rule),
                    distributions: at.distributions.cloned(),
                    paths,
                    parts: Vec::new(),
                });
            }
        }
    }

    /// Adds the paths of a later batch.
    pub fn add(&mut self, mut later: Paths) {
        later.part();
        if self.is_empty() {
            *self = later;
            return;
        }
        self.part();
        self.newest = self.newest.max(later.newest);
        for theirs in later.rules {
            let same = |own: &&mut OfRule| {
                own.name == theirs.name && own.distributions == theirs.distributions
            };
            match self.rules.iter_mut().find(same) {
                Some(own) => {
                    for path in theirs.paths.iter() {
                        own.paths.insert(path);
                    }
                    own.parts.extend(theirs.parts);
                }
                None => self.rules.push(theirs),
            }
        }
    }

    /// Counts the paths so far as a part of their own, before others are added.
    fn part(&mut self) {
        let (oldest, newest) = (self.oldest, self.newest);
        for of_rule in &mut self.rules {
            if of_rule.parts.is_empty() {
                of_rule.parts.push(RulePaths {
                    oldest,
                    newest,
                    paths: of_rule.paths.len(),
                });
            }
        }
    }

    /// Sets that all of its changes were committed at `at`.
    pub fn all_committed_at(&mut self, at: CommitTime) {
        self.at = Some(at);
        self.oldest = Some(at);
        self.newest = Some(at);
    }

    /// Sets when the changes of the paths that come next were committed.
    pub fn committed_at(&mut self, at: Option<CommitTime>) {
        if self.is_empty() {
            self.oldest = at;
        }
        self.at = at;
    }

    /// When the oldest change was committed.
    pub fn oldest(&self) -> Option<CommitTime> {
        self.oldest
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The memory that they take, in bytes (Bounded).
    pub fn size(&self) -> usize {
        self.rules
            .iter()
            .map(|rule| rule.paths.size() + rule.parts.len() * size_of::<RulePaths>())
            .sum()
    }

    /// Every path after its tenant, a path of two rules twice. Paths are
    /// percent-encoded, and thus ASCII.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.rules
            .iter()
            .flat_map(|rule| rule.paths.iter())
            .map(|path| String::from_utf8_lossy(path).into_owned())
    }
}

/// The number of paths that is too many for a rule, and the wildcards to send
/// in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkRule {
    /// Most paths that are sent as they are, in a batch or a transaction.
    pub threshold: usize,
    /// The rule's paths for the whole table.
    pub wildcards: Vec<String>,
}

/// Rules by their names. A rule that is not among them sends every path.
pub type BulkRules = HashMap<Arc<str>, BulkRule>;

/// Most tenants that a rule's wildcards are sent to one by one. For more they go
/// to the distribution, which covers all of its tenants.
pub(crate) const TENANTS_MAX: usize = 15;

/// Decides for each batch what is sent.
#[derive(Debug, Default)]
pub struct BulkGuard {
    rules: BulkRules,
    runs: HashMap<Arc<str>, SpreadTransaction>,
}

/// Paths sent so far of the transaction that the last batch ended in. A huge
/// transaction comes in many batches, each of them below the threshold.
#[derive(Debug)]
struct SpreadTransaction {
    committed_at: Option<CommitTime>,
    paths: usize,
}

impl BulkGuard {
    /// A guard that goes by the rules as they are at each batch.
    pub fn new(rules: BulkRules) -> Self {
        Self {
            rules,
            runs: HashMap::new(),
        }
    }

    /// The paths to send for a batch to each of `distributions`, in their order,
    /// each path once and after its tenant.
    pub fn send(&mut self, batch: &Paths, distributions: &[Arc<str>]) -> Vec<Vec<String>> {
        let mut out: Vec<(KeySet, Vec<String>)> = Vec::new();
        out.resize_with(distributions.len(), Default::default);
        for of_rule in &batch.rules {
            let items = self.items(batch, of_rule);
            for (name, (seen, out)) in distributions.iter().zip(&mut out) {
                let meant = of_rule.distributions.as_ref();
                if meant.is_some_and(|names| !names.contains(name)) {
                    continue;
                }
                let new = items.iter().filter(|item| seen.insert(item.as_bytes()));
                out.extend(new.cloned());
            }
        }
        out.into_iter().map(|(_, items)| items).collect()
    }

    /// The paths to send for a rule.
    fn items(&mut self, batch: &Paths, of_rule: &OfRule) -> Vec<String> {
        let OfRule {
            name, paths, parts, ..
        } = of_rule;
        let whole = [RulePaths {
            oldest: batch.oldest,
            newest: batch.newest,
            paths: paths.len(),
        }];
        let parts = match parts.as_slice() {
            [] => &whole,
            parts => parts,
        };
        let mut paths: Vec<String> = paths
            .iter()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        let wildcards = self.wildcards(name, parts);
        if wildcards.is_empty() {
            return paths;
        }
        let tenants: BTreeSet<Option<&str>> =
            paths.iter().map(|path| split_tenant(path).0).collect();
        let mut out: Vec<String> = if tenants.len() <= TENANTS_MAX {
            tenants
                .iter()
                .flat_map(|tenant| {
                    wildcards
                        .iter()
                        .map(|wildcard| of_tenant(*tenant, wildcard).into_owned())
                })
                .collect()
        } else {
            // A call for each tenant would take longer than all refills.
            wildcards.to_vec()
        };
        // `table_wide` may leave out paths that single rows render. For tags it
        // has to name what stands for them.
        let covered = |path: &str| {
            let (_, item) = split_tenant(path);
            is_tag(item) || wildcards.iter().any(|wildcard| matches(wildcard, item))
        };
        paths.retain(|path| !covered(path));
        out.append(&mut paths);
        out
    }

    /// The wildcards that stand for the rule's paths; none, unless the paths are
    /// too many.
    fn wildcards(&mut self, name: &Arc<str>, parts: &[RulePaths]) -> &[String] {
        let Some(rule) = self.rules.get(name) else {
            return &[];
        };
        let mut most = 0;
        for part in parts {
            let before = self
                .runs
                .get(name)
                .filter(|run| run.committed_at == part.oldest);
            let in_run = before.map_or(0, |run| run.paths).saturating_add(part.paths);
            let one_commit = part.oldest == part.newest;
            let run = SpreadTransaction {
                committed_at: part.newest,
                paths: if one_commit { in_run } else { part.paths },
            };
            self.runs.insert(Arc::clone(name), run);
            most = most.max(in_run);
        }
        if most <= rule.threshold || rule.wildcards.is_empty() {
            return &[];
        }
        counter!(metric::BULK_CHANGES, "rule" => name.to_string()).increment(1);
        tracing::info!(rule = %name, paths = most, wildcards = ?rule.wildcards, "a bulk change: the rule's paths go as its wildcards");
        &rule.wildcards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> BulkGuard {
        let rule = |wildcards: &[&str]| BulkRule {
            threshold: 10,
            wildcards: wildcards.iter().map(|&path| path.to_owned()).collect(),
        };
        BulkGuard::new(HashMap::from([
            ("products".into(), rule(&["/products/*"])),
            ("keyless".into(), rule(&[])),
        ]))
    }

    fn batch(rules: &[(&str, usize)], commits: [u64; 2]) -> Paths {
        let mut paths = Paths::default();
        paths.committed_at(CommitTime::from_micros(commits[0]));
        for (rule, count) in rules {
            let rule: Arc<str> = (*rule).into();
            for n in 0..*count {
                paths.insert(&rule, Target::default(), &format!("/{rule}/{n}"));
                paths.committed_at(CommitTime::from_micros(commits[1]));
            }
        }
        paths.committed_at(CommitTime::from_micros(commits[1] + 100));
        paths
    }

    /// The paths sent to the only distribution.
    fn to_main(guard: &mut BulkGuard, paths: &Paths) -> Vec<String> {
        guard.send(paths, &["main".into()]).concat()
    }

    #[test]
    fn each_distribution_gets_what_its_rules_send() {
        let mut paths = Paths::default();
        let (shop, both): (Distributions, Distributions) = (
            vec!["shop".into()].into(),
            vec!["shop".into(), "main".into()].into(),
        );
        for (rule, distributions, path) in [
            ("everywhere", None, "/a"),
            ("shop", Some(&shop), "/b"),
            ("shop", Some(&shop), "/a"),
            ("both", Some(&both), "/c"),
        ] {
            let at = Target {
                distributions,
                tenant: None,
            };
            paths.insert(&rule.into(), at, path);
        }
        let all = ["main".into(), "shop".into(), "images".into()];
        let sent = guard().send(&paths, &all);
        assert_eq!(sent, [vec!["/a", "/c"], vec!["/a", "/b", "/c"], vec!["/a"]]);
    }

    /// A reload changes where a rule's paths go.
    #[test]
    fn paths_that_go_elsewhere_are_not_merged_because_their_rules_have_one_name() {
        let (main, shop): (Distributions, Distributions) =
            (vec!["main".into()].into(), vec!["shop".into()].into());
        let of = |distributions: &Distributions, path: &str| {
            let mut paths = Paths::default();
            let at = Target {
                distributions: Some(distributions),
                tenant: None,
            };
            paths.insert(&"users".into(), at, path);
            paths
        };
        let mut paths = of(&main, "/a");
        paths.add(of(&shop, "/b"));
        paths.add(of(&shop, "/c"));
        paths.add(of(&main, "/d"));
        let sent = guard().send(&paths, &["main".into(), "shop".into()]);
        assert_eq!(sent, [["/a", "/d"], ["/b", "/c"]]);
    }

    #[test]
    fn a_bulk_change_goes_to_the_tenants_it_is_about_or_to_all_of_them() {
        let bulk = |tenants: usize| {
            let mut paths = Paths::default();
            for n in 0..40 {
                let tenant = format!("dt_{}", n % tenants);
                let at = Target {
                    tenant: Some(&tenant),
                    ..Target::default()
                };
                let rule = "products".into();
                paths.insert(&rule, at, &format!("/products/{n}"));
                paths.insert(&rule, at, &format!("#product-{n}"));
            }
            to_main(&mut guard(), &paths)
        };
        assert_eq!(bulk(2), ["dt_0:/products/*", "dt_1:/products/*"]);
        assert_eq!(bulk(15).len(), 15);
        assert_eq!(bulk(16), ["/products/*"]);
    }

    #[test]
    fn beyond_the_threshold_a_rule_sends_its_wildcards_and_others_their_paths() {
        let mut guard = guard();
        let sent = to_main(
            &mut guard,
            &batch(&[("products", 10), ("users", 2)], [1, 2]),
        );
        assert_eq!(sent.len(), 12);
        let sent = to_main(
            &mut guard,
            &batch(&[("products", 11), ("users", 2)], [3, 4]),
        );
        assert_eq!(sent, ["/products/*", "/users/0", "/users/1"]);
        let sent = to_main(&mut guard, &batch(&[("keyless", 11)], [5, 6]));
        assert_eq!(sent.len(), 11, "nothing stands for them");
    }

    #[test]
    fn what_the_wildcards_do_not_match_goes_as_it_is() {
        let mut paths = batch(&[("products", 20)], [1, 1]);
        let rule = "products".into();
        paths.insert(&rule, Target::default(), "/api/products/7");
        assert_eq!(
            to_main(&mut guard(), &paths),
            ["/products/*", "/api/products/7"]
        );
    }

    #[test]
    fn the_batches_of_one_transaction_count_together_and_those_of_several_do_not() {
        let mut guard = guard();
        for (commits, expected) in [
            ([7, 7], 6),
            ([7, 7], 1),
            ([7, 7], 1),
            ([7, 8], 1),
            ([8, 9], 1),
            ([9, 10], 1),
            ([11, 11], 6),
            ([12, 12], 6),
        ] {
            let sent = to_main(&mut guard, &batch(&[("products", 6)], commits));
            assert_eq!(sent.len(), expected, "{commits:?}");
        }
    }

    #[test]
    fn batches_that_are_sent_together_are_no_bulk_change_unless_one_of_them_is() {
        let gathered = |sizes: [usize; 3]| {
            let mut paths = Paths::default();
            for (at, size) in (1..).zip(sizes) {
                paths.add(batch(&[("products", size), ("users", 1)], [at, at]));
            }
            to_main(&mut guard(), &paths)
        };
        let first_paths = gathered([6, 8, 9]);
        assert_eq!(first_paths.len(), 10, "each once: {first_paths:?}");
        assert_eq!(gathered([6, 11, 6]), ["/products/*", "/users/0"]);
        let mut one_commit = batch(&[("products", 6)], [7, 7]);
        one_commit.add(batch(&[("products", 6)], [7, 7]));
        assert_eq!(to_main(&mut guard(), &one_commit), ["/products/*"]);
    }

    #[test]
    fn a_path_of_two_rules_goes_once() {
        let mut paths = Paths::default();
        for rule in ["a", "b", "a"] {
            paths.insert(&rule.into(), Target::default(), "/same");
        }
        assert_eq!(
            (to_main(&mut guard(), &paths), paths.iter().count()),
            (vec!["/same".to_owned()], 2)
        );
    }
}
