//! Messages with a path that the edge refuses, or may refuse, until it is known
//! which path that is.
//!
//! Their paths come in groups: what shared a refused request. A group is asked for
//! as one, and parted in halves when that is refused, down to single paths. The
//! order in which groups are asked for is fair both ways: by turns the one that
//! promises most, which is the largest without a path that looks like a refused one,
//! and the one that waits longest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::refused_paths::Refusal;
use crate::edge::cover::request::Gathering;

/// Time for which paths wait until it is known which of them are bad.
pub(super) const COVERED_AFTER: Duration = Duration::from_secs(10);

/// A tenant of the distribution; `None`: the distribution itself.
pub(super) type Tenant = Option<Arc<str>>;

/// Paths that are asked for together.
#[derive(Clone, Debug)]
pub(super) struct SuspectGroup {
    pub(super) tenant: Tenant,
    pub(super) paths: Vec<String>,
    /// Whether its paths look like refused ones.
    resembles: bool,
    /// Its place among all groups, in the order in which they are to be asked for.
    number: u64,
    /// When the first message with one of its paths arrived.
    pub(super) since: Instant,
    /// When the last message with one of its paths arrived.
    pub(super) arrived: Instant,
    /// When it may be asked for.
    pub(super) due: Instant,
    /// When it has waited so long that something else is to be asked for that covers it;
    /// `None` for a path that was refused alone.
    pub(super) overdue: Option<Instant>,
}

/// A message of which nothing is left to ask for, with the paths that were not sent:
/// the edge refused them for good, or did not say (`None`).
pub(super) type EndedMessage = (Arc<str>, Vec<(String, Option<Refusal>)>);

/// The suspects of one distribution.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    pools: BTreeMap<Tenant, Pool>,
    /// Every path of the pools that is still asked for is in one of them.
    groups: Vec<SuspectGroup>,
    next_number: u64,
    promising: bool,
}

/// The messages of a tenant.
#[derive(Debug, Default)]
struct Pool {
    /// With the paths of them that were not sent.
    messages: Gathering,
    /// Those of the paths that are not asked for any more, and why.
    ended: HashMap<String, Option<Refusal>>,
}

impl Suspects {
    /// Number of messages.
    pub(super) fn len(&self) -> usize {
        let pools = self.pools.values();
        pools.map(|pool| pool.messages.arrivals().count()).sum()
    }

    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn groups(&self) -> &[SuspectGroup] {
        &self.groups
    }

    /// The paths of the tenant's smallest group: one of them is bad, or was when they were
    /// last asked for.
    pub(super) fn smallest(&self, tenant: &Tenant) -> Vec<String> {
        let groups = self.groups.iter().filter(|group| group.tenant == *tenant);
        let smallest = groups.min_by_key(|group| group.paths.len());
        smallest.map_or_else(Vec::new, |group| group.paths.clone())
    }

    pub(super) fn pool(&mut self, tenant: &Tenant) -> &mut Gathering {
        &mut self.pools.entry(tenant.clone()).or_default().messages
    }

    /// Since when the path waits: when the oldest of the changes that want it was
    /// committed, if its message says so.
    pub(super) fn committed_at(&self, tenant: &Tenant, path: &str) -> Option<Timestamp> {
        let pool = self.pools.get(tenant)?;
        pool.messages.committed_at(path)?.timestamp()
    }

    /// The messages, with all of their paths that were not sent.
    pub(super) fn into_pools(self) -> impl Iterator<Item = (Tenant, Gathering)> {
        let pools = self.pools.into_iter();
        pools.map(|(tenant, pool)| (tenant, pool.messages))
    }

    /// Takes in messages. Returns a group of their paths that are in none, or not asked
    /// for any more.
    pub(super) fn arrive(&mut self, tenant: Tenant, arrived: Gathering) -> SuspectGroup {
        let now = Instant::now();
        for group in &mut self.groups {
            if group.tenant == tenant && group.paths.iter().any(|path| arrived.holds(path)) {
                group.arrived = now;
            }
        }
        let pool = self.pools.entry(tenant.clone()).or_default();
        let Pool { messages, ended } = pool;
        let is_new = |path: &&str| ended.remove(*path).is_some() || !messages.holds(path);
        let paths = arrived.paths().filter(is_new).map(str::to_owned).collect();
        messages.absorb(arrived);
        SuspectGroup {
            tenant,
            paths,
            resembles: false,
            number: 0,
            since: now,
            arrived: now,
            due: now,
            overdue: Some(now + COVERED_AFTER),
        }
    }

    /// Adds a group behind the others, if there is something in it to ask for.
    pub(super) fn add(&mut self, mut group: SuspectGroup) {
        group.number = self.next_number;
        self.next_number += 1;
        self.put_back(group);
    }

    /// Puts a group back that was not asked for, in its place.
    pub(super) fn put_back(&mut self, group: SuspectGroup) {
        if !group.paths.is_empty() {
            self.groups.push(group);
        }
    }

    /// Groups may be due earlier than they are.
    pub(super) fn again(&mut self) {
        let now = Instant::now();
        self.groups.iter_mut().for_each(|group| group.due = now);
    }

    /// The group to ask for next, or when one is due. A tenant's may be due later, as
    /// `quiet_until` says.
    pub(super) fn next(
        &mut self,
        quiet_until: impl Fn(&Tenant) -> Instant,
    ) -> Result<SuspectGroup, Instant> {
        let now = Instant::now();
        let due = |group: &SuspectGroup| group.due.max(quiet_until(&group.tenant));
        let is_due = |(_, group): &(usize, &SuspectGroup)| due(group) <= now;
        let ready = self.groups.iter().enumerate().filter(is_due);
        let next = if self.promising {
            ready.max_by_key(|(_, group)| {
                let size = group.paths.len();
                (!group.resembles, size, u64::MAX - group.number)
            })
        } else {
            ready.min_by_key(|(_, group)| group.number)
        };
        let Some((index, _)) = next else {
            return Err(self.groups.iter().map(due).min().unwrap_or(now));
        };
        self.promising = !self.promising;
        Ok(self.groups.swap_remove(index))
    }

    /// A tenant with paths that have waited long.
    pub(super) fn overdue(&self) -> Option<Tenant> {
        let now = Instant::now();
        let is_overdue = |group: &&SuspectGroup| group.overdue.is_some_and(|at| at <= now);
        let group = self.groups.iter().find(is_overdue)?;
        Some(group.tenant.clone())
    }

    /// When one is.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        self.groups.iter().filter_map(|group| group.overdue).min()
    }

    /// The tenant's paths begin to wait, and those that are done do not wait any more.
    pub(super) fn wait_anew(&mut self, tenant: &Tenant) {
        let Some(Pool { messages, .. }) = self.pools.get(tenant) else {
            return;
        };
        for group in self
            .groups
            .iter_mut()
            .filter(|group| group.tenant == *tenant)
        {
            if let Some(overdue) = &mut group.overdue {
                *overdue = Instant::now() + COVERED_AFTER;
            }
            group.paths.retain(|path| messages.holds(path));
        }
        self.groups.retain(|group| !group.paths.is_empty());
    }

    /// One of the group's paths is refused, and nobody knows which: its halves are asked
    /// for.
    pub(super) fn halve(&mut self, mut group: SuspectGroup) {
        let second = group.paths.split_off(group.paths.len().div_ceil(2));
        self.add(group.with(second));
        self.add(group);
    }

    /// Each of the tenant's paths is asked for alone.
    pub(super) fn part(&mut self, tenant: &Tenant) {
        let is_whole = |group: &mut SuspectGroup| group.tenant == *tenant && group.paths.len() > 1;
        let whole: Vec<SuspectGroup> = self.groups.extract_if(.., is_whole).collect();
        for group in whole {
            for path in &group.paths {
                self.add(group.with(vec![path.clone()]));
            }
        }
    }

    /// The group's paths are not asked for any more: they were refused for good, or are
    /// left.
    pub(super) fn end(&mut self, group: SuspectGroup, refusal: Option<&Refusal>) {
        let ended = &mut self.pools.entry(group.tenant).or_default().ended;
        let paths = group.paths.into_iter();
        ended.extend(paths.map(|path| (path, refusal.cloned())));
    }

    /// Takes out the tenant's messages of which nothing is left to ask for.
    pub(super) fn take_ended(&mut self, tenant: &Tenant) -> Vec<EndedMessage> {
        let Some(Pool { messages, ended }) = self.pools.get_mut(tenant) else {
            return Vec::new();
        };
        let taken = messages.take_ended(|path| ended.contains_key(path));
        let taken = taken.into_iter().map(|(id, paths)| {
            let why = |path: String| (ended.get(&path).cloned().flatten(), path);
            let paths = paths.into_iter().map(why).map(|(why, path)| (path, why));
            (id, paths.collect())
        });
        let taken = taken.collect();
        ended.retain(|path, _| messages.holds(path));
        taken
    }
}

impl SuspectGroup {
    /// The same for paths that look like refused ones.
    pub(super) fn similar(&self, paths: Vec<String>) -> Self {
        Self {
            resembles: true,
            ..self.with(paths)
        }
    }

    /// The same for a path that was refused alone, and waits to be asked for again.
    pub(super) fn refused(&self, path: String) -> Self {
        Self {
            overdue: None,
            ..self.similar(vec![path])
        }
    }

    /// The same for other paths.
    pub(super) fn with(&self, paths: Vec<String>) -> Self {
        Self {
            paths,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::cover::request::MessageInfo;

    fn message(paths: &[&str]) -> Gathering {
        let info = MessageInfo {
            sent: None,
            deliveries: 1,
            committed_at: None,
        };
        let mut gathering = Gathering::default();
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        gathering.add("m".into(), info, paths);
        gathering
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_as_new_as_the_last_message_of_its_tenant_with_one_of_its_paths() {
        let mut suspects = Suspects::default();
        let tenants = [None, Some("dt_1".into())];
        for tenant in &tenants {
            let group = suspects.arrive(tenant.clone(), message(&["/a", "/b"]));
            suspects.add(group);
        }
        let first = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        suspects.arrive(None, message(&["/c"]));
        let arrived = |suspects: &Suspects| -> Vec<Instant> {
            suspects.groups.iter().map(|group| group.arrived).collect()
        };
        assert_eq!(arrived(&suspects), [first, first], "another path");
        suspects.arrive(None, message(&["/b", "/d"]));
        assert_eq!(arrived(&suspects), [Instant::now(), first]);
    }

    #[tokio::test(start_paused = true)]
    async fn by_turns_the_longest_waiting_group_is_asked_for_and_the_most_promising_one() {
        let mut suspects = Suspects::default();
        for paths in [&["/1"][..], &["/2"], &["/3/a", "/3/b"], &["/4"], &["/5"]] {
            let group = suspects.arrive(None, message(paths));
            suspects.add(group);
        }
        let mut order = Vec::new();
        while let Ok(group) = suspects.next(|_| Instant::now()) {
            order.extend(group.paths);
        }
        assert_eq!(order, ["/1", "/3/a", "/3/b", "/2", "/4", "/5"]);
    }
}
