//! The smallest case that still fails.

use std::time::Instant;

use super::case::Case;
use super::failure::Failure;
use super::lane::Lane;
use super::rules::{Fires, Rule, Shape};
use super::steps::{Step, Without};
use super::world::play;

pub struct Shrunk {
    pub case: Case,
    pub failure: Failure,
    /// How many cases were tried.
    pub tried: u32,
}

impl Shrunk {
    /// Leaves out what is not needed, until nothing is left to leave out or it is late.
    pub async fn of(lane: &mut Lane, case: Case, failure: Failure, until: Instant) -> Self {
        let mut shrunk = Self {
            case,
            failure,
            tried: 0,
        };
        shrunk.end_at_the_failure();
        loop {
            let before = shrunk.case.to_string();
            shrunk.drop_steps(lane, until).await;
            for smaller in [
                rules,
                plainer_rules,
                topology,
                settings,
                rows,
                tables,
                columns,
            ] {
                shrunk.try_all(lane, until, smaller).await;
            }
            if shrunk.case.to_string() == before || Instant::now() > until {
                return shrunk;
            }
        }
    }

    /// Nothing matters that comes later.
    fn end_at_the_failure(&mut self) {
        if self.failure.step > 0 {
            self.case.steps.truncate(self.failure.step);
        }
    }

    /// Takes a smaller case if it fails in the same way.
    async fn fails(&mut self, lane: &mut Lane, until: Instant, case: Case) -> bool {
        if Instant::now() > until {
            return false;
        }
        self.tried += 1;
        let failed = play(lane, &case).await.err();
        // At a first start evictd refuses a rule that is about no table.
        let failed = failed.filter(|failure| failure.kind == self.failure.kind && failure.step > 0);
        let fails = failed.is_some();
        if let Some(failure) = failed {
            (self.case, self.failure) = (case, failure);
            self.end_at_the_failure();
        }
        fails
    }

    /// Halves, quarters, and so on, down to single steps.
    async fn drop_steps(&mut self, lane: &mut Lane, until: Instant) {
        let mut length = self.case.steps.len() / 2;
        while length > 0 {
            let mut from = 0;
            // The comparison at the end stays.
            while from + length < self.case.steps.len() {
                let mut case = self.case.clone();
                case.steps.drain(from..from + length);
                if !self.fails(lane, until, case).await {
                    from += length;
                }
            }
            length /= 2;
        }
        for index in 0..self.case.steps.len() {
            let mut case = self.case.clone();
            if let Some(Step::Change(change)) = case.steps.get_mut(index)
                && change.late
            {
                change.late = false;
                self.fails(lane, until, case).await;
            }
            let mut case = self.case.clone();
            if let Some(Step::Change(change)) = case.steps.get_mut(index)
                && change.held.take().is_some()
            {
                self.fails(lane, until, case).await;
            }
        }
    }

    /// Tries one smaller case after the other; where one fails, its own smaller ones.
    async fn try_all(&mut self, lane: &mut Lane, until: Instant, smaller: fn(&Case) -> Vec<Case>) {
        let mut at = 0;
        while let Some(case) = smaller(&self.case).into_iter().nth(at) {
            if !self.fails(lane, until, case).await {
                at += 1;
            }
        }
    }
}

fn with(case: &Case, change: impl FnOnce(&mut Case)) -> Case {
    let mut case = case.clone();
    change(&mut case);
    case
}

fn rules(case: &Case) -> Vec<Case> {
    let one = |index| {
        with(case, |case| {
            case.rules.remove(index);
        })
    };
    // evictd wants one.
    let all = 0..case.rules.len();
    all.filter(|_| case.rules.len() > 1).map(one).collect()
}

fn plainer_rules(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for (index, rule) in case.rules.iter().enumerate() {
        let mut push = |change: &dyn Fn(&mut Rule)| {
            all.push(with(case, |case| change(&mut case.rules[index])));
        };
        for family in 0..rule.families.len() {
            if rule.families.len() > 1 {
                push(&|rule| drop(rule.families.remove(family)));
            }
            if rule.families[family].path.is_some() {
                push(&|rule| {
                    rule.families[family].path = None;
                    rule.families[family].tagged = false;
                });
            }
            // A version stays last, and with it the key that makes the name one row's.
            let of = &rule.families[family];
            if of.template.placeholders.len() > 1 && !matches!(of.shape, Shape::Versioned) {
                push(&|rule| drop(rule.families[family].template.placeholders.pop()));
            }
        }
        if !matches!(rule.fires, Fires::Always) {
            push(&|rule| rule.fires = Fires::Always);
        }
        if rule.table_wide {
            push(&|rule| rule.table_wide = false);
        }
        if rule.generation {
            push(&|rule| rule.generation = false);
        }
        if rule.families.iter().any(|family| family.template.varies) {
            push(&|rule| {
                for family in &mut rule.families {
                    let path = family.path.iter_mut();
                    for template in path.chain([&mut family.template]) {
                        template.varies = false;
                    }
                }
            });
        }
    }
    let families = case.rules.iter().flat_map(|rule| &rule.families);
    if case.edge && families.filter(|family| family.path.is_some()).count() == 0 {
        all.push(with(case, |case| case.edge = false));
    }
    all
}

fn topology(case: &Case) -> Vec<Case> {
    let plainer = case.topology.plainer().into_iter();
    plainer
        .map(|topology| with(case, |case| case.topology = topology))
        .collect()
}

fn settings(case: &Case) -> Vec<Case> {
    let plainer = case.settings.plainer().into_iter();
    plainer
        .map(|settings| with(case, |case| case.settings = settings))
        .collect()
}

fn rows(case: &Case) -> Vec<Case> {
    let one = |index| {
        with(case, |case| {
            case.first_rows.remove(index);
        })
    };
    (0..case.first_rows.len()).map(one).collect()
}

fn tables(case: &Case) -> Vec<Case> {
    let one = |index: usize| {
        with(case, |case| {
            let gone = case.schema.tables.remove(index).name;
            for table in &mut case.schema.tables {
                if table.trigger.as_ref() == Some(&gone) {
                    table.trigger = None;
                }
                if table.parent.as_ref().is_some_and(|(name, _)| *name == gone) {
                    table.parent = None;
                }
            }
        })
    };
    let plain = |index: usize| {
        with(case, |case| {
            let table = &mut case.schema.tables[index];
            table.partitioned = false;
            table.trigger = None;
        })
    };
    let tables = &case.schema.tables;
    let removed = (0..tables.len()).filter(|_| tables.len() > 1).map(one);
    let plainer = tables
        .iter()
        .enumerate()
        .filter(|(_, table)| table.partitioned || table.trigger.is_some());
    removed
        .chain(plainer.map(|(index, _)| plain(index)))
        .collect()
}

fn columns(case: &Case) -> Vec<Case> {
    let columns = case.schema.tables.iter().flat_map(|table| {
        let name = |name: &String| (table.name.clone(), name.clone());
        table.columns.iter().map(move |column| name(&column.name))
    });
    let left: Without = columns
        .filter(|column| !case.without.contains(column))
        .collect();
    let one = |column| {
        with(case, |case| {
            case.without.insert(column);
        })
    };
    left.into_iter().map(one).collect()
}
