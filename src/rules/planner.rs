//! From a row change to what it invalidates.

use std::sync::Arc;

use super::bind::{BindError, BoundTemplate, Slots};
use super::bound_structures::{self, BoundStructures};
use super::cascade::BoundCascade;
use super::condition::Judgement;
use super::edge::{self, BoundEdge, Fired};
use super::explanation::{Explanation, Note, explain};
use super::guard::{BoundGuard, NotKnown};
use super::path_class::PathClasses;
use super::publish::OnChannel;
use super::render::{RenderBuffers, Rendered, differs, push_bytes, render, sides};
use super::rule::Rule;
use super::version;
use super::wide::{widen_keys, widen_template};
use crate::model::RowChange;
use crate::model::invalidation::{Action, Plan};

/// The rules about one table, fitted to its columns.
#[derive(Debug)]
pub struct TablePlanner {
    pub(super) rules: Vec<BoundRule>,
    pub(super) cascades: Vec<BoundCascade>,
    pub(super) classes: Arc<PathClasses>,
    pub(super) projection: Vec<usize>,
}

/// One rule, fitted to a table's columns.
#[derive(Debug)]
pub(super) struct BoundRule {
    rule: Arc<Rule>,
    changed: Vec<usize>,
    when: Vec<(Arc<String>, usize)>,
    version: Option<usize>,
    guard: Option<BoundGuard>,
    keys: Vec<BoundTemplate>,
    structures: BoundStructures,
    edge: BoundEdge,
}

impl TablePlanner {
    /// Indices of the columns that the rules read: rows are projected to them.
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// Plans what `change` invalidates, rule by rule in the configuration's
    /// order.
    pub fn plan<P: Plan>(&self, change: &RowChange<'_>, scratch: &mut RenderBuffers, plan: &mut P) {
        self.plan_explained(change, scratch, plan, &mut ());
    }

    /// Plans as [`TablePlanner::plan`] does, and gives `explanation` the reasons.
    pub fn plan_explained<P: Plan, E: Explanation>(
        &self,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
        explanation: &mut E,
    ) {
        for bound in &self.rules {
            if !bound.fires(change, explanation) {
                continue;
            }
            match &bound.rule.channel {
                None => bound.plan(change, &self.classes, scratch, plan, explanation),
                Some(channel) => {
                    let plan = &mut OnChannel { plan, channel };
                    bound.plan(change, &self.classes, scratch, plan, explanation);
                }
            }
        }
        for cascade in &self.cascades {
            cascade.plan(change, &self.classes, scratch, plan);
        }
    }
}

/// Checks the columns that `rule` names, and adds them.
pub(super) fn check(
    rule: &Rule,
    classes: &PathClasses,
    slots: &mut Slots<'_>,
) -> Result<(), BindError> {
    let place = |field: &str| format!("rule \"{}\": {field}", rule.name);
    for (field, columns) in [
        ("changed", rule.changed.as_slice()),
        ("version", rule.version.as_slice()),
    ] {
        for column in columns {
            let index = slots.find(&column.name, column.line, &place(field))?;
            slots.add(index);
        }
    }
    if let Some((condition, line)) = &rule.when {
        let columns = condition
            .resolve(slots.schema())
            .map_err(|name| slots.find(&name, *line, &place("when")).err())
            .map_err(|error| {
                error.unwrap_or_else(|| BindError {
                    line: *line,
                    message: place("when"),
                })
            })?;
        columns.iter().for_each(|(_, index)| slots.add(*index));
    }
    for template in &rule.keys {
        slots.add_template(template, &place("key"))?;
    }
    bound_structures::check(&rule.tag_sets, &rule.hash_fields, slots, &rule.name)?;
    if let Some(guard) = &rule.guard {
        let version = rule
            .version
            .as_ref()
            .and_then(|column| slots.schema().column(&column.name));
        guard.check(version, slots, &rule.name)?;
    }
    edge::check(rule, classes, slots)
}

impl BoundRule {
    /// Binds what [`check`] has added. `key_prefix` goes before every key.
    pub(super) fn new(rule: &Arc<Rule>, key_prefix: &[u8], slots: &Slots<'_>) -> Self {
        let schema = slots.schema();
        let index = |name: &str| schema.column(name);
        let version = rule.version.as_ref().and_then(|column| index(&column.name));
        let changed = rule.changed.iter().filter_map(|column| index(&column.name));
        let when = rule.when.as_ref().map(|(condition, _)| {
            let columns = condition.resolve(schema).unwrap_or_default();
            columns
                .into_iter()
                .map(|(name, index)| (name, slots.slot(index)))
                .collect()
        });
        let key = |template| slots.bind(template, version, key_prefix);
        Self {
            changed: changed.map(|index| slots.slot(index)).collect(),
            when: when.unwrap_or_default(),
            version: version.map(|index| slots.slot(index)),
            keys: rule.keys.iter().map(key).collect(),
            structures: BoundStructures::new(rule, slots, version, key_prefix),
            guard: rule
                .guard
                .as_ref()
                .zip(version)
                .map(|(guard, index)| BoundGuard {
                    key: slots.bind(&guard.key, version, key_prefix),
                    version: slots.slot(index),
                    ttl: guard.ttl,
                }),
            edge: BoundEdge::new(rule, slots, version),
            rule: Arc::clone(rule),
        }
    }

    fn fires<E: Explanation>(&self, change: &RowChange<'_>, explanation: &mut E) -> bool {
        let rule = &*self.rule;
        if !rule.on.contains(&change.op) {
            explanation.note(rule, || Note::OtherOperation(&rule.on));
            return false;
        }
        if !self.changed(change, explanation) {
            explanation.note(rule, || Note::NothingDiffers(&rule.changed));
            return false;
        }
        if let Some((condition, _)) = &rule.when {
            let judgement = condition.judge(change, &self.when);
            if !judgement.holds() {
                explanation.note(rule, || Note::ConditionFalse(condition));
                return false;
            }
            if let Judgement::NoTruthValue | Judgement::Failed(_) = judgement {
                explanation.note(rule, || {
                    let reason = judgement.failure().unwrap_or_default();
                    Note::ConditionFailed(condition, reason)
                });
            }
        }
        explanation.note(rule, || Note::Fires);
        true
    }

    fn changed<E: Explanation>(&self, change: &RowChange<'_>, explanation: &mut E) -> bool {
        let (Some(before), Some(after)) = (change.before, change.after) else {
            return true;
        };
        if self.changed.is_empty() {
            return true;
        }
        let columns = self.changed.iter().zip(&self.rule.changed);
        for (slot, column) in columns {
            if differs(before.get(*slot), after.get(*slot)) {
                explanation.note(&self.rule, || Note::Differs(column));
                return true;
            }
        }
        false
    }

    fn plan<P: Plan, E: Explanation>(
        &self,
        change: &RowChange<'_>,
        classes: &PathClasses,
        scratch: &mut RenderBuffers,
        plan: &mut P,
        explanation: &mut E,
    ) {
        let rule = &self.rule;
        let step = version::step(self.version, &rule.name, change, scratch, plan);
        let guarded = match &self.guard {
            Some(guard) => guard.plan(&rule.name, change, scratch, plan),
            None => Ok(()),
        };
        for (template, source) in self.keys.iter().zip(&rule.keys) {
            let reused = || step.reuses([template].into_iter(), change);
            let settles = !step.ends(template, change);
            for side in sides(template.renders, change.op, reused) {
                scratch.key.clear();
                let rendered = render(template, change, *side, scratch, push_bytes);
                match &rendered {
                    Rendered::Done => {
                        let key = &scratch.key;
                        plan.act(&rule.name, Action::Delete { key, settles });
                    }
                    Rendered::Nothing(_) => {}
                    Rendered::Unknown(unknown) => {
                        widen_template(rule, source, unknown.reason, plan);
                    }
                }
                explain(rule, source, &rendered, explanation);
            }
        }
        if !self.structures.is_empty() {
            self.structures.plan(step, rule, change, scratch, plan);
        }
        if let Err(NotKnown(reason)) = guarded {
            plan.widen(&rule.name, reason);
            widen_keys(rule, plan);
        }
        let fired = Fired {
            rule,
            change,
            step,
            classes,
        };
        self.edge.plan(&fired, scratch, plan, explanation);
    }
}
