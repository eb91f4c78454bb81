//! From a row change to what it invalidates.

use std::sync::Arc;

use super::cascade::{BoundCascade, Cascades};
use super::condition::Judgement;
use super::edge::{self, BoundEdge, Fired};
use super::explanation::{Note, Witness};
use super::glob::TableGlob;
use super::guard::BoundGuard;
use super::path::{forbidden_message, forbidden_path, narrowest};
use super::path_class::{Forbidden, PathClasses};
use super::publish::OnChannel;
use super::render::{RenderBuffers, Rendered, Side, differs, push_bytes, render, sides};
use super::rule::{BindError, BoundTemplate, Rule, Slots, path_language};
use super::structures::{self, BoundShapes};
use super::template::Template;
use super::version::{self, VersionStep};
use super::wide::{widen, widen_keys};
use crate::model::invalidation::{Action, PathClass, Plan, Widening};
use crate::model::{Cascade, GuardPattern, RowChange, TableName, TableSchema};

/// All rules of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
    classes: Arc<PathClasses>,
    pub(super) key_prefix: Vec<u8>,
    cascades: Cascades,
    /// Other tables' changes are left out.
    only: Option<TableGlob>,
}

impl Rules {
    /// Takes validated rules. `key_prefix` goes before every rendered key.
    /// Refuses a path template whose every value gives a path that must not be
    /// invalidated; what only some values can give is left to
    /// [`Rules::bind`], which knows the columns' types.
    pub fn new(
        rules: Vec<Rule>,
        classes: PathClasses,
        key_prefix: &str,
    ) -> Result<Self, BindError> {
        for rule in &rules {
            for template in &rule.paths {
                let language = path_language(template, narrowest);
                if let Some(forbidden) = classes.forbidden(&language) {
                    return Err(forbidden_path(rule, template, &forbidden));
                }
            }
            for path in &rule.table_wide.paths {
                if let class @ (PathClass::Strong | PathClass::Immutable) = classes.of(path) {
                    let forbidden = Forbidden {
                        path: path.clone(),
                        class,
                    };
                    return Err(BindError {
                        line: rule.line,
                        message: forbidden_message(&rule.name, path, &forbidden),
                    });
                }
            }
        }
        Ok(Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            classes: Arc::new(classes),
            key_prefix: key_prefix.as_bytes().to_vec(),
            cascades: Cascades::default(),
            only: None,
        })
    }

    /// Leaves out what changes in tables that `glob` does not match. What may
    /// have changed any table still means every rule.
    pub fn set_only(&mut self, glob: TableGlob) {
        self.only = Some(glob);
    }

    /// Adds the foreign keys that change mapped tables unseen.
    pub fn set_cascades(&mut self, cascades: &[Cascade]) {
        self.cascades = Cascades::new(cascades, |table| self.of_table(table).next().is_some());
    }

    /// What the edge does with which paths.
    pub fn classes(&self) -> &PathClasses {
        &self.classes
    }

    /// The rules, in the configuration's order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(AsRef::as_ref)
    }

    /// The names that guards can have: deletions of whole tables spare them.
    pub fn guard_patterns(&self) -> Vec<GuardPattern> {
        let guards = self.rules.iter().filter_map(|rule| rule.guard.as_ref());
        guards
            .map(|guard| guard.pattern(&self.key_prefix))
            .collect()
    }

    /// Whether some rule is about this table, or about one that a cascade
    /// from it changes.
    pub fn wants(&self, table: &TableName) -> bool {
        self.only.as_ref().is_none_or(|glob| glob.matches(table))
            && (self.of_table(table).next().is_some() || self.cascades.start_at(table))
    }

    fn of_table<'a>(&'a self, table: &'a TableName) -> impl Iterator<Item = &'a Arc<Rule>> {
        self.rules.iter().filter(|rule| rule.is_about(table))
    }

    /// Fits the rules about a table to its columns.
    pub fn bind(&self, schema: &TableSchema) -> Result<TablePlanner, BindError> {
        let mut slots = Slots::new(schema);
        for rule in self.of_table(&schema.name) {
            self.check(rule, &mut slots)?;
        }
        let cascades = self
            .cascades
            .bind(&self.rules, &self.key_prefix, &mut slots)?;
        let rules = self
            .of_table(&schema.name)
            .map(|rule| self.bind_rule(rule, &slots, schema))
            .collect();
        Ok(TablePlanner {
            rules,
            cascades: cascades
                .into_iter()
                .map(|cascade| cascade.finish(&slots))
                .collect(),
            classes: Arc::clone(&self.classes),
            projection: slots.into_columns(),
        })
    }

    fn check(&self, rule: &Rule, slots: &mut Slots<'_>) -> Result<(), BindError> {
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
        structures::check(&rule.tag_sets, &rule.hash_fields, slots, &rule.name)?;
        if let Some(guard) = &rule.guard {
            let version = rule.version.as_ref();
            let version = version.and_then(|column| slots.schema().column(&column.name));
            guard.check(version, slots, &rule.name)?;
        }
        edge::check(rule, &self.classes, slots)
    }

    fn bind_rule(&self, rule: &Arc<Rule>, slots: &Slots<'_>, schema: &TableSchema) -> BoundRule {
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
        let templates = |templates: &[Template], prefix: &[u8]| {
            templates
                .iter()
                .map(|template| slots.bind(template, version, prefix))
                .collect()
        };
        BoundRule {
            changed: changed.map(|index| slots.slot(index)).collect(),
            when: when.unwrap_or_default(),
            version: version.map(|index| slots.slot(index)),
            keys: templates(&rule.keys, &self.key_prefix),
            shapes: BoundShapes::new(
                &rule.tag_sets,
                &rule.hash_fields,
                slots,
                version,
                &self.key_prefix,
            ),
            guard: rule
                .guard
                .as_ref()
                .zip(version)
                .map(|(guard, index)| BoundGuard {
                    key: slots.bind(&guard.key, version, &self.key_prefix),
                    version: slots.slot(index),
                    ttl: guard.ttl,
                }),
            edge: BoundEdge::new(rule, slots, version),
            rule: Arc::clone(rule),
        }
    }

    /// What the first rule about `table` calls it: its name, or a glob.
    pub fn glob_of(&self, table: &TableName) -> Option<&TableGlob> {
        let mut globs = self.rules.iter().flat_map(|rule| &rule.tables);
        globs.find(|glob| glob.matches(table))
    }

    /// The names of the rules about `table`.
    pub fn names_of_table(&self, table: &TableName) -> Vec<String> {
        let rules = self.of_table(table);
        rules.map(|rule| rule.name.to_string()).collect()
    }

    /// The names of the rules that `key`, prefix included, can come from.
    /// Slow: for what is reported, not for what is planned.
    pub fn names_of_key(&self, key: &[u8]) -> Vec<String> {
        let rules = self.rules.iter();
        rules
            .filter(|rule| rule.can_render(&self.key_prefix, key))
            .map(|rule| rule.name.to_string())
            .collect()
    }

    /// Invalidates everything that the rules about `table` may have cached.
    pub fn widen_table<P: Plan>(&self, table: &TableName, reason: Widening, plan: &mut P) {
        for rule in self.of_table(table) {
            widen(rule, &self.classes, reason, plan);
        }
        for child in self.cascades.children(table) {
            for rule in self.of_table(child) {
                widen(rule, &self.classes, reason, plan);
            }
        }
    }

    /// Invalidates everything that any rule may have cached.
    pub fn widen_all<P: Plan>(&self, reason: Widening, plan: &mut P) {
        for rule in &self.rules {
            widen(rule, &self.classes, reason, plan);
        }
    }
}

/// The rules about one table, fitted to its columns.
#[derive(Debug)]
pub struct TablePlanner {
    rules: Vec<BoundRule>,
    cascades: Vec<BoundCascade>,
    classes: Arc<PathClasses>,
    projection: Vec<usize>,
}

#[derive(Debug)]
struct BoundRule {
    rule: Arc<Rule>,
    changed: Vec<usize>,
    when: Vec<(Arc<String>, usize)>,
    version: Option<usize>,
    guard: Option<BoundGuard>,
    keys: Vec<BoundTemplate>,
    shapes: BoundShapes,
    edge: BoundEdge,
}

impl TablePlanner {
    /// The columns that the rules read: what a row must be projected to.
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// Plans what `change` invalidates, rule by rule in the configuration's
    /// order.
    pub fn plan<P: Plan>(&self, change: &RowChange<'_>, scratch: &mut RenderBuffers, plan: &mut P) {
        self.plan_before(change, scratch, plan, &mut ());
    }

    /// Plans as [`TablePlanner::plan`] does, and tells `witness` why.
    pub fn plan_before<P: Plan, W: Witness>(
        &self,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
        witness: &mut W,
    ) {
        for bound in &self.rules {
            if !bound.fires(change, witness) {
                continue;
            }
            match &bound.rule.channel {
                None => bound.plan(change, &self.classes, scratch, plan, witness),
                Some(channel) => {
                    let plan = &mut OnChannel { plan, channel };
                    bound.plan(change, &self.classes, scratch, plan, witness);
                }
            }
        }
        for cascade in &self.cascades {
            cascade.plan(change, &self.classes, scratch, plan);
        }
    }
}

impl BoundRule {
    fn fires<W: Witness>(&self, change: &RowChange<'_>, witness: &mut W) -> bool {
        let rule = &*self.rule;
        if !rule.on.contains(&change.op) {
            witness.note(rule, || Note::OtherOperation(&rule.on));
            return false;
        }
        if !self.changed(change, witness) {
            witness.note(rule, || Note::NothingDiffers(&rule.changed));
            return false;
        }
        if let Some((condition, _)) = &rule.when {
            let judgement = condition.judge(change, &self.when);
            if !judgement.holds() {
                witness.note(rule, || Note::ConditionFalse(condition));
                return false;
            }
            if let Judgement::NoTruthValue | Judgement::Failed(_) = judgement {
                witness.note(rule, || {
                    let reason = judgement.failure().unwrap_or_default();
                    Note::ConditionFailed(condition, reason)
                });
            }
        }
        witness.note(rule, || Note::Fires);
        true
    }

    fn changed<W: Witness>(&self, change: &RowChange<'_>, witness: &mut W) -> bool {
        let (Some(before), Some(after)) = (change.before, change.after) else {
            return true;
        };
        if self.changed.is_empty() {
            return true;
        }
        let columns = self.changed.iter().zip(&self.rule.changed);
        for (slot, column) in columns {
            if differs(before.get(*slot), after.get(*slot)) {
                witness.note(&self.rule, || Note::Differs(column));
                return true;
            }
        }
        false
    }

    fn plan<P: Plan, W: Witness>(
        &self,
        change: &RowChange<'_>,
        classes: &PathClasses,
        scratch: &mut RenderBuffers,
        plan: &mut P,
        witness: &mut W,
    ) {
        let rule = &self.rule;
        let step = version::step(self.version, &rule.name, change, scratch, plan);
        let mut unknown_key = false;
        if let Some(guard) = &self.guard {
            unknown_key = guard.plan(&rule.name, change, scratch, plan).is_err();
        }
        for (template, source) in self.keys.iter().zip(&rule.keys) {
            for side in sides(template.renders, change.op) {
                let rendered = self.delete_key(template, *side, step, change, scratch, plan);
                tell(rule, source, &rendered, witness);
                unknown_key |= matches!(rendered, Rendered::Unknown(_));
            }
        }
        if step == VersionStep::Back {
            let versioned = self.keys.iter().filter(|template| template.versioned);
            for template in versioned {
                let rendered = self.delete_key(template, Side::After, step, change, scratch, plan);
                unknown_key |= matches!(rendered, Rendered::Unknown(_));
            }
        }
        if !self.shapes.is_empty() {
            let both = step == VersionStep::Back;
            unknown_key |= !self.shapes.plan(both, &rule.name, change, scratch, plan);
        }
        if unknown_key {
            plan.widen(&rule.name, Widening::MissingColumn);
            widen_keys(rule, plan);
        }
        let fired = Fired {
            rule,
            change,
            step,
            classes,
        };
        self.edge.plan(&fired, scratch, plan, witness);
    }

    /// Renders one key and deletes it.
    fn delete_key<P: Plan>(
        &self,
        template: &BoundTemplate,
        side: Side,
        step: VersionStep,
        change: &RowChange<'_>,
        scratch: &mut RenderBuffers,
        plan: &mut P,
    ) -> Rendered {
        scratch.key.clear();
        let rendered = render(template, change, side, scratch, push_bytes);
        if let Rendered::Done = rendered {
            let key = &scratch.key;
            let settles = step != VersionStep::On || !template.versioned;
            plan.act(&self.rule.name, Action::Delete { key, settles });
        }
        rendered
    }
}

/// Tells why a template of `rule` has no text.
pub(super) fn tell<W: Witness>(
    rule: &Rule,
    source: &Template,
    rendered: &Rendered,
    witness: &mut W,
) {
    let template = source.text.as_str();
    match *rendered {
        Rendered::Done => {}
        Rendered::Nothing(lacks) => witness.note(rule, || Note::NoText { template, lacks }),
        Rendered::Unknown(slot) => witness.note(rule, || Note::Unknown { template, slot }),
    }
}
