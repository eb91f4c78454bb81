//! The paths and cache tags that a rule sends to the edge, for all copies or
//! for those of one tenant.

use super::bind::{BindError, BoundTemplate, Slots};
use super::explanation::{Explanation, explain};
use super::path::{BoundPath, forbidden_path};
use super::path_class::PathClasses;
use super::render::{
    RenderBuffers, Rendered, Side, push_bytes, push_encoded, render, sides, together,
};
use super::rule::Rule;
use super::version::VersionStep;
use super::wide::{send_path, send_wide};
use crate::model::RowChange;
use crate::model::edge_item::{is_tenant, push_tag};
use crate::model::invalidation::{Action, Plan, Target, Widening};

/// A rule's paths, tags and tenant, bound to a table's columns.
#[derive(Debug, Default)]
pub(super) struct BoundEdge {
    paths: Vec<BoundPath>,
    tags: Vec<BoundTemplate>,
    tenant: Option<BoundTemplate>,
}

/// The owner of the copies that an item invalidates.
enum Whose {
    /// All copies: the rule names no tenant, or the tenant cannot be known (Over,
    /// never under).
    All,
    /// The copies of the tenant in the scratch.
    Tenant,
    /// No copies: the row has no tenant.
    Nobody,
}

/// A change that a rule applies to.
pub(super) struct Fired<'a> {
    pub(super) rule: &'a Rule,
    pub(super) change: &'a RowChange<'a>,
    pub(super) step: VersionStep,
    pub(super) classes: &'a PathClasses,
}

/// Checks the columns that `rule` names, and adds them.
pub(super) fn check(
    rule: &Rule,
    classes: &PathClasses,
    slots: &mut Slots<'_>,
) -> Result<(), BindError> {
    let place = |field: &str| format!("rule \"{}\": {field}", rule.name);
    for name in rule.expand.names() {
        if slots.schema().column(name).is_some() {
            return Err(BindError {
                line: rule.expand.line,
                message: format!(
                    "{}: table {} has a column `{name}` too; give the variable another name",
                    place("expand"),
                    slots.schema().name
                ),
            });
        }
    }
    for template in &rule.paths {
        slots.add_template(template, &place("path"))?;
        if let Some(forbidden) = classes.forbidden(&slots.path_language(template)) {
            return Err(forbidden_path(rule, template, &forbidden));
        }
    }
    for template in &rule.edge_tags {
        slots.add_template(template, &place("edge tag"))?;
    }
    if let Some(template) = &rule.tenant {
        slots.add_template(template, &place("tenant"))?;
    }
    Ok(())
}

impl BoundEdge {
    /// Binds what [`check`] has added.
    pub(super) fn new(rule: &Rule, slots: &Slots<'_>, version: Option<usize>) -> Self {
        let bind = |template| slots.bind(template, version, b"");
        Self {
            paths: rule
                .paths
                .iter()
                .map(|template| BoundPath::new(bind(template), template))
                .collect(),
            tags: rule.edge_tags.iter().map(bind).collect(),
            tenant: rule.tenant.as_ref().map(bind),
        }
    }

    /// Plans paths and tags, rendered from the images that their templates ask
    /// for.
    pub(super) fn plan<P: Plan, E: Explanation>(
        &self,
        fired: &Fired<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
        explanation: &mut E,
    ) {
        let Fired {
            rule,
            change,
            classes,
            ..
        } = *fired;
        for (bound, source) in self.paths.iter().zip(&rule.paths) {
            for side in self.images(&bound.template, fired) {
                let whose = self.whose(fired, *side, scratch, plan, explanation);
                if let Whose::Nobody = whose {
                    continue;
                }
                scratch.key.clear();
                let rendered = render(&bound.template, change, *side, scratch, push_encoded);
                explain(rule, source, &rendered, explanation);
                let reason = bound.finish(&rendered, scratch);
                let at = target(rule, &whose, scratch);
                if let Some(reason) = reason {
                    plan.widen(&rule.name, reason);
                    for path in &bound.wildcard.paths {
                        send_path(rule, classes, path, at, plan);
                    }
                } else if matches!(rendered, Rendered::Done) {
                    send_path(rule, classes, &scratch.path, at, plan);
                }
            }
        }
        for (template, source) in self.tags.iter().zip(&rule.edge_tags) {
            for side in self.images(template, fired) {
                let whose = self.whose(fired, *side, scratch, plan, explanation);
                if let Whose::Nobody = whose {
                    continue;
                }
                scratch.key.clear();
                let rendered = render(template, change, *side, scratch, push_bytes);
                explain(rule, source, &rendered, explanation);
                let unknown = match rendered {
                    Rendered::Nothing(_) => continue,
                    Rendered::Unknown(unknown) => Some(unknown.reason),
                    Rendered::Done => {
                        scratch.path.clear();
                        let pushed = push_tag(&scratch.key, &mut scratch.path);
                        pushed.is_err().then_some(Widening::TagInvalid)
                    }
                };
                let at = target(rule, &whose, scratch);
                if let Some(reason) = unknown {
                    // A tag has no wildcard: the rule's `table_wide` goes in its place.
                    plan.widen(&rule.name, reason);
                    send_wide(rule, classes, at, plan);
                } else {
                    let path = &scratch.path;
                    plan.act(&rule.name, Action::Invalidate { path, at });
                }
            }
        }
    }

    fn images(&self, template: &BoundTemplate, fired: &Fired<'_>) -> &'static [Side] {
        let renders = match &self.tenant {
            None => template.renders,
            // A row that moves to another tenant has had its pages with both.
            Some(tenant) => together(template, tenant),
        };
        let reused = || {
            let templates = [template].into_iter().chain(&self.tenant);
            fired.step.reuses(templates, fired.change)
        };
        sides(renders, fired.change.op, reused)
    }

    /// Renders the tenant of one image into the scratch.
    fn whose<P: Plan, E: Explanation>(
        &self,
        fired: &Fired<'_>,
        side: Side,
        scratch: &mut RenderBuffers,
        plan: &mut P,
        explanation: &mut E,
    ) -> Whose {
        let rule = fired.rule;
        let (Some(template), Some(source)) = (&self.tenant, &rule.tenant) else {
            return Whose::All;
        };
        scratch.key.clear();
        let rendered = render(template, fired.change, side, scratch, push_bytes);
        explain(rule, source, &rendered, explanation);
        let reason = match rendered {
            Rendered::Nothing(_) => return Whose::Nobody,
            Rendered::Unknown(unknown) => unknown.reason,
            Rendered::Done if is_tenant(&scratch.key) => {
                scratch.tenant.clear();
                scratch
                    .tenant
                    .extend(scratch.key.iter().copied().map(char::from));
                return Whose::Tenant;
            }
            Rendered::Done => Widening::TenantInvalid,
        };
        plan.widen(&rule.name, reason);
        Whose::All
    }
}

fn target<'a>(rule: &'a Rule, whose: &Whose, scratch: &'a RenderBuffers) -> Target<'a> {
    let at = rule.everywhere();
    match whose {
        Whose::Tenant => Target {
            tenant: Some(&scratch.tenant),
            ..at
        },
        Whose::All | Whose::Nobody => at,
    }
}
