//! Foreign keys that change rows of a mapped table without a row event.
//!
//! Before MySQL 9.6 the child rows that a cascade deletes or rewrites are not in
//! the binlog. The parent's change is, so the child's rules act on it: they
//! delete the keys that `cascade_from` renders from the parent's row, or else
//! the whole table (Over, never under).

use std::sync::Arc;

use super::bind::{BindError, BoundTemplate, Slots};
use super::path_class::PathClasses;
use super::publish::OnChannel;
use super::render::{RenderBuffers, Rendered, differs, push_bytes, render_from};
use super::rule::Rule;
use super::wide::widen;
use crate::model::invalidation::{Action, Plan, Widening};
use crate::model::{Cascade, Op, RowChange, TableName};

/// The cascades that end at mapped tables, from each of their ancestors.
#[derive(Clone, Debug, Default)]
pub struct Cascades {
    reaching: Vec<CascadePath>,
}

/// A table whose changes reach a mapped table, directly or through others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CascadePath {
    ancestor: TableName,
    child: TableName,
    columns: Vec<Arc<str>>,
    on_delete: bool,
    on_update: bool,
}

impl Cascades {
    /// Follows `cascades` from every table that `mapped` knows up to its
    /// ancestors.
    pub fn new(cascades: &[Cascade], mapped: impl Fn(&TableName) -> bool) -> Self {
        let mut reaching: Vec<CascadePath> = cascades
            .iter()
            .filter(|cascade| mapped(&cascade.child))
            .map(|cascade| CascadePath {
                ancestor: cascade.parent.clone(),
                child: cascade.child.clone(),
                columns: cascade.columns.clone(),
                on_delete: cascade.on_delete,
                on_update: cascade.on_update,
            })
            .collect();
        let mut next = 0;
        while let Some(reach) = reaching.get(next).cloned() {
            next += 1;
            for cascade in cascades
                .iter()
                .filter(|cascade| cascade.child == reach.ancestor)
            {
                let further = CascadePath {
                    ancestor: cascade.parent.clone(),
                    child: reach.child.clone(),
                    columns: cascade.columns.clone(),
                    on_delete: cascade.on_delete,
                    on_update: cascade.on_update,
                };
                // A table may refer to itself, and cycles are allowed.
                if !reaching.contains(&further) {
                    reaching.push(further);
                }
            }
        }
        Self { reaching }
    }

    /// Whether a change of `table` reaches a mapped table.
    pub fn start_at(&self, table: &TableName) -> bool {
        self.reaching.iter().any(|reach| reach.ancestor == *table)
    }

    /// The mapped tables that changes of `table` reach.
    pub fn children(&self, table: &TableName) -> impl Iterator<Item = &TableName> {
        let from = |reach: &&CascadePath| reach.ancestor == *table;
        self.reaching.iter().filter(from).map(|reach| &reach.child)
    }

    /// The mapped tables that changes of tables of the database `name` reach.
    pub fn children_of_database(&self, name: &str) -> impl Iterator<Item = &TableName> {
        let from = |reach: &&CascadePath| *reach.ancestor.schema == *name;
        self.reaching.iter().filter(from).map(|reach| &reach.child)
    }

    /// Binds the rules that changes of the slots' table reach to its columns.
    pub(super) fn bind(
        &self,
        rules: &[Arc<Rule>],
        key_prefix: &[u8],
        slots: &mut Slots<'_>,
    ) -> Result<Vec<UnboundCascade>, BindError> {
        let table = &slots.schema().name;
        let mut out = Vec::new();
        for reach in self
            .reaching
            .iter()
            .filter(|reach| reach.ancestor == *table)
        {
            let columns: Vec<usize> = reach
                .columns
                .iter()
                .filter_map(|name| slots.schema().column(name))
                .collect();
            columns.iter().for_each(|index| slots.add(*index));
            for rule in rules.iter().filter(|rule| rule.is_about(&reach.child)) {
                let declared = rule
                    .cascade_from
                    .iter()
                    .find(|from| from.table.matches(table));
                for template in declared.iter().flat_map(|from| &from.keys) {
                    slots.add_template(
                        template,
                        &format!("rule \"{}\": cascade_from key", rule.name),
                    )?;
                }
                out.push(UnboundCascade {
                    rule: Arc::clone(rule),
                    reach: reach.clone(),
                    columns: columns.clone(),
                    key_prefix: key_prefix.to_vec(),
                });
            }
        }
        Ok(out)
    }
}

/// A cascade whose columns are known, and their slots are not yet.
#[derive(Debug)]
pub(super) struct UnboundCascade {
    rule: Arc<Rule>,
    reach: CascadePath,
    columns: Vec<usize>,
    key_prefix: Vec<u8>,
}

/// A child's rule, bound to the columns of a parent.
#[derive(Debug)]
pub(super) struct BoundCascade {
    rule: Arc<Rule>,
    /// `None` for the whole table.
    keys: Option<Vec<BoundTemplate>>,
    columns: Vec<usize>,
    on_delete: bool,
    on_update: bool,
}

impl UnboundCascade {
    /// Gives each column its slot, after all columns were added.
    pub(super) fn finish(self, slots: &Slots<'_>) -> BoundCascade {
        let table = &slots.schema().name;
        let declared = self
            .rule
            .cascade_from
            .iter()
            .find(|from| from.table.matches(table));
        let bind = |template| slots.bind(template, None, &self.key_prefix);
        BoundCascade {
            keys: declared.map(|from| from.keys.iter().map(bind).collect()),
            columns: self
                .columns
                .iter()
                .map(|index| slots.slot(*index))
                .collect(),
            on_delete: self.reach.on_delete,
            on_update: self.reach.on_update,
            rule: self.rule,
        }
    }
}

impl BoundCascade {
    pub(super) fn plan<P: Plan>(
        &self,
        change: &RowChange<'_>,
        classes: &PathClasses,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) {
        let fires = match (change.op, change.before, change.after) {
            (Op::Delete, ..) => self.on_delete,
            (Op::Update, Some(before), Some(after)) if self.on_update => self
                .columns
                .iter()
                .any(|slot| differs(before.get(*slot), after.get(*slot))),
            _ => false,
        };
        if !fires {
            return;
        }
        let Some(keys) = &self.keys else {
            return widen(&self.rule, classes, Widening::Cascade, plan);
        };
        for template in keys {
            match render_from(template, change, scratch, push_bytes) {
                Rendered::Done => {
                    let key = scratch.key();
                    let action = Action::Delete { key, settles: true };
                    match &self.rule.channel {
                        None => plan.act(&self.rule.name, action),
                        Some(channel) => OnChannel { plan, channel }.act(&self.rule.name, action),
                    }
                }
                Rendered::Nothing(_) => {}
                Rendered::Unknown(_) => {
                    return widen(&self.rule, classes, Widening::Cascade, plan);
                }
            }
        }
    }
}
