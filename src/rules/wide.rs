//! Invalidations of everything that a rule may have cached (Over, never under).

use super::path_class::PathClasses;
use super::publish::OnChannel;
use super::rule::Rule;
use super::structures::TagSet;
use super::template::Template;
use crate::model::invalidation::{Action, PathClass, Plan, Target, Widening};

/// Invalidates everything that `rule` may have cached.
pub(super) fn widen<P: Plan>(rule: &Rule, classes: &PathClasses, reason: Widening, plan: &mut P) {
    plan.widen(&rule.name, reason);
    match &rule.channel {
        None => widen_keys(rule, plan),
        Some(channel) => widen_keys(rule, &mut OnChannel { plan, channel }),
    }
    send_wide(rule, classes, rule.everywhere(), plan);
}

/// Invalidates everything that `rule` may have in Redis.
pub(super) fn widen_keys<P: Plan>(rule: &Rule, plan: &mut P) {
    if let Some(key) = &rule.table_wide.generation {
        plan.act(&rule.name, Action::Increment { key });
    }
    for glob in &rule.table_wide.keys {
        plan.act(&rule.name, Action::DeleteMatching { glob });
    }
    for sets in &rule.table_wide.tag_sets {
        plan.act(&rule.name, sets.deletion());
    }
}

/// Invalidates every key that one template of `rule` can have rendered, or else
/// everything that the rule may have in Redis.
pub(super) fn widen_template<P: Plan>(
    rule: &Rule,
    template: &Template,
    reason: Widening,
    plan: &mut P,
) {
    plan.widen(&rule.name, reason);
    match rule.table_wide.glob_of_key(template) {
        Some(glob) => plan.act(&rule.name, Action::DeleteMatching { glob }),
        None => widen_keys(rule, plan),
    }
}

/// Invalidates every tag set that one template of `rule` can have rendered.
pub(super) fn widen_tag_set<P: Plan>(rule: &Rule, set: &TagSet, reason: Widening, plan: &mut P) {
    plan.widen(&rule.name, reason);
    match rule.table_wide.glob_of_tag_set(set) {
        Some(sets) => plan.act(&rule.name, sets.deletion()),
        None => widen_keys(rule, plan),
    }
}

/// Invalidates everything that `rule` may have at the edge.
pub(super) fn send_wide<P: Plan>(rule: &Rule, classes: &PathClasses, at: Target<'_>, plan: &mut P) {
    for path in &rule.table_wide.paths {
        send_path(rule, classes, path, at, plan);
    }
    for path in &rule.table_wide.edge_tags {
        plan.act(&rule.name, Action::Invalidate { path, at });
    }
}

/// Invalidates one path, unless its class needs no invalidation.
pub(super) fn send_path<P: Plan>(
    rule: &Rule,
    classes: &PathClasses,
    path: &str,
    at: Target<'_>,
    plan: &mut P,
) {
    let action = match classes.of(path) {
        PathClass::Cached => Action::Invalidate { path, at },
        class => Action::Skip { path, class },
    };
    plan.act(&rule.name, action);
}
