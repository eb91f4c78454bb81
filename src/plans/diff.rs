//! Differences between the plans that two sets of rules make of the same changes.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::binlog_files::{FilePlans, FileStep};
use super::record::{At, PlanPosition, Record, printable};
use crate::binlog::file::{FileError, Notice};
use crate::model::RowChange;
use crate::model::cast::to_u64;
use crate::model::edge_item::of_tenant;
use crate::model::invalidation::{Action, Plan, Widening};
use crate::rules::Rules;

/// One change whose plans differ.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub position: PlanPosition,
    pub committed_at: Option<jiff::Timestamp>,
    /// The table; `None` where rows are not known.
    pub table: Option<String>,
    pub op: Option<&'static str>,
    /// Everything in Redis: keys, globs, guards, sets, fields.
    pub cache: Sides,
    /// Paths and tags.
    pub edge: Sides,
}

/// Items that only one side plans.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// Planned by the other configuration alone.
    pub added: Vec<String>,
    /// Planned by this configuration alone.
    pub removed: Vec<String>,
}

/// All differences, counted.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct DifferenceTotals {
    /// Changes whose plans differ.
    pub differing: u64,
    /// Keys that only the other configuration deletes.
    pub keys_added: u64,
    /// Keys that only this configuration deletes.
    pub keys_removed: u64,
    /// Paths that only the other configuration invalidates.
    pub paths_added: u64,
    /// Paths that only this configuration invalidates.
    pub paths_removed: u64,
}

impl DifferenceTotals {
    pub fn add(&mut self, difference: &Difference) {
        let count = |list: &[String]| to_u64(list.len());
        self.differing += 1;
        self.keys_added += count(&difference.cache.added);
        self.keys_removed += count(&difference.cache.removed);
        self.paths_added += count(&difference.edge.added);
        self.paths_removed += count(&difference.edge.removed);
    }
}

impl fmt::Display for DifferenceTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} changes differ: {} keys and {} paths more, {} keys and {} paths fewer",
            self.differing,
            self.keys_added,
            self.paths_added,
            self.keys_removed,
            self.paths_removed
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self
            .committed_at
            .map_or_else(|| "-".to_owned(), |at| at.to_string());
        write!(
            f,
            "{at} {}:{} {} {}",
            self.position.file,
            self.position.offset,
            self.table.as_deref().unwrap_or("-"),
            self.op.unwrap_or("statement")
        )?;
        for (what, sides) in [("cache", &self.cache), ("edge", &self.edge)] {
            for (sign, list) in [('-', &sides.removed), ('+', &sides.added)] {
                for item in list {
                    write!(f, "\n  {sign} {what} {item}")?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the same files once for each set of rules, side by side, so that at most
/// one item of each is held (Bounded).
pub struct Differences {
    mine: OneSide,
    other: OneSide,
}

struct OneSide {
    plans: FilePlans,
    changes: PlanSets,
    ended: bool,
}

/// The next finding.
#[derive(Debug)]
pub enum DiffItem {
    /// A change whose plans differ.
    Difference(Difference),
    /// A fact about the files.
    Notice(Notice),
}

impl Differences {
    /// Compares what `mine` and `other` plan for the files at `paths`.
    pub fn new(mine: Arc<Rules>, other: Arc<Rules>, paths: Vec<PathBuf>) -> Self {
        let half = |rules, paths| OneSide {
            plans: FilePlans::new(rules, paths),
            changes: PlanSets::default(),
            ended: false,
        };
        Self {
            mine: half(mine, paths.clone()),
            other: half(other, paths),
        }
    }

    /// The next difference; `None` at the end.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is not a binlog.
    pub fn next_difference(&mut self) -> Result<Option<DiffItem>, FileError> {
        loop {
            if let Some(notice) = self.mine.fill()? {
                return Ok(Some(DiffItem::Notice(notice)));
            }
            // The other side has the same notices.
            while self.other.fill()?.is_some() {}
            let order = match (self.mine.number(), self.other.number()) {
                (None, None) => return Ok(None),
                (Some(mine), Some(other)) => mine.cmp(&other),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            let mine = order.is_le().then(|| self.mine.changes.ready.pop_front());
            let other = order.is_ge().then(|| self.other.changes.ready.pop_front());
            if let Some(difference) = difference(mine.flatten(), other.flatten()) {
                return Ok(Some(DiffItem::Difference(difference)));
            }
        }
    }
}

impl OneSide {
    /// Reads until a change is planned, or to the end.
    fn fill(&mut self) -> Result<Option<Notice>, FileError> {
        while self.changes.ready.is_empty() && !self.ended {
            match self.plans.step(&mut self.changes)? {
                None => self.ended = true,
                Some(FileStep::Notice(notice)) => return Ok(Some(notice)),
                Some(FileStep::Planned(_)) => self.changes.number_with(self.plans.events()),
            }
        }
        Ok(None)
    }

    fn number(&self) -> Option<(u64, u64)> {
        self.changes.ready.front().map(|change| change.number)
    }
}

/// The plans of an item's changes, as sets.
#[derive(Debug, Default)]
struct PlanSets {
    place: PlanPosition,
    committed_at: Option<jiff::Timestamp>,
    rows: u64,
    ready: VecDeque<PlannedItem>,
}

#[derive(Debug, Default)]
struct PlannedItem {
    /// Number of the event, and of the row in it; the same on both sides.
    number: (u64, u64),
    position: PlanPosition,
    committed_at: Option<jiff::Timestamp>,
    change: Option<(String, &'static str)>,
    cache: BTreeSet<String>,
    edge: BTreeSet<String>,
}

impl PlanSets {
    fn number_with(&mut self, event: u64) {
        for change in &mut self.ready {
            change.number.0 = event;
        }
    }

    /// The sets of the row that is being planned, or of plans of no row.
    fn current(&mut self) -> Option<&mut PlannedItem> {
        if self.ready.is_empty() {
            self.add(None);
        }
        self.ready.back_mut()
    }

    fn add(&mut self, change: Option<(String, &'static str)>) {
        self.ready.push_back(PlannedItem {
            number: (0, self.rows),
            position: self.place.clone(),
            committed_at: self.committed_at,
            change,
            ..PlannedItem::default()
        });
    }
}

impl Record for PlanSets {
    fn place(&mut self, at: &At<'_>) {
        self.place = at.into();
        self.committed_at = at.timestamp();
        self.rows = 0;
    }

    fn begin(&mut self, change: &RowChange<'_>) {
        self.rows += 1;
        let name = change.table.name.to_string();
        self.add(Some((name, change.op.as_str())));
    }
}

impl Plan for PlanSets {
    fn act(&mut self, _rule: &Arc<str>, action: Action<'_>) {
        let Some(current) = self.current() else {
            return;
        };
        match action {
            Action::Delete { key, .. } => current.cache.insert(printable(key)),
            Action::DeleteMatching { glob } => current.cache.insert(printable(glob)),
            Action::Increment { key } => current.cache.insert(format!("{}+1", printable(key))),
            Action::RaiseGuard { key, version, .. } => current
                .cache
                .insert(format!("{}={version}", printable(key))),
            Action::DeleteTagSet { key, .. } => current
                .cache
                .insert(format!("{} (tag set)", printable(key))),
            Action::DeleteTagSetsMatching { glob, .. } => current
                .cache
                .insert(format!("{} (tag sets)", printable(glob))),
            Action::DeleteField { key, field } => {
                let (key, field) = (printable(key), printable(field));
                current.cache.insert(format!("{key} (field {field})"))
            }
            Action::Invalidate { path, at } => {
                let item = of_tenant(at.tenant, path).into_owned();
                current.edge.insert(match at.distributions {
                    None => item,
                    Some(names) => format!("{item} at {}", names.join(", ")),
                })
            }
            // They follow from what is compared already.
            Action::Publish { .. }
            | Action::SkipGuard { .. }
            | Action::BackwardVersion { .. }
            | Action::Skip { .. }
            | Action::MissedBump { .. } => false,
        };
    }

    fn widen(&mut self, _rule: &Arc<str>, _reason: Widening) {}
}

fn difference(mine: Option<PlannedItem>, other: Option<PlannedItem>) -> Option<Difference> {
    let empty = BTreeSet::new();
    let sides = |get: fn(&PlannedItem) -> &BTreeSet<String>| {
        let mine = mine.as_ref().map_or(&empty, get);
        let other = other.as_ref().map_or(&empty, get);
        Sides {
            added: other.difference(mine).cloned().collect(),
            removed: mine.difference(other).cloned().collect(),
        }
    };
    let (cache, edge) = (sides(|item| &item.cache), sides(|item| &item.edge));
    if cache == Sides::default() && edge == Sides::default() {
        return None;
    }
    let known = mine.or(other)?;
    let (table, op) = known.change.unzip();
    Some(Difference {
        position: known.position,
        committed_at: known.committed_at,
        table,
        op,
        cache,
        edge,
    })
}
