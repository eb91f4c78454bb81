//! All rules of a configuration.

use std::sync::Arc;

use super::bind::{BindError, Slots};
use super::cascade::Cascades;
use super::glob::TableGlob;
use super::path::{forbidden_message, forbidden_path};
use super::path_class::{Forbidden, PathClasses};
use super::path_language::{narrowest, path_language};
use super::planner::{self, BoundRule, TablePlanner};
use super::rule::Rule;
use super::wide::{send_wide, widen};
use crate::model::invalidation::{PathClass, Plan, Target, Widening};
use crate::model::{Cascade, GuardPattern, TableName, TableSchema};

/// All rules of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
    classes: Arc<PathClasses>,
    pub(super) key_prefix: Vec<u8>,
    cascades: Cascades,
    /// Tables whose changes are planned; `None` for all.
    only: Option<TableGlob>,
}

impl Rules {
    /// Takes validated rules. `key_prefix` goes before every rendered key.
    ///
    /// # Errors
    ///
    /// A path template that gives a path that must not be invalidated, whatever
    /// the columns' types. Templates of which only some types are to blame are
    /// left to [`Rules::bind`], which knows the types.
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

    /// Plans only changes of tables that `glob` matches. A change that may have
    /// been of any table still invalidates for every rule.
    pub fn set_only(&mut self, glob: TableGlob) {
        self.only = Some(glob);
    }

    /// Sets the foreign keys that change mapped tables without a row event.
    pub fn set_cascades(&mut self, cascades: &[Cascade]) {
        self.cascades = Cascades::new(cascades, |table| self.of_table(table).next().is_some());
    }

    pub fn classes(&self) -> &PathClasses {
        &self.classes
    }

    /// The rules, in the configuration's order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(AsRef::as_ref)
    }

    /// The names that guards can have, which deletions by glob spare.
    pub fn guard_patterns(&self) -> Vec<GuardPattern> {
        self.rules
            .iter()
            .filter_map(|rule| rule.guard.as_ref())
            .map(|guard| guard.pattern(&self.key_prefix))
            .collect()
    }

    /// Whether a rule is about `table`, or about one that a cascade from it
    /// changes.
    pub fn wants(&self, table: &TableName) -> bool {
        self.only.as_ref().is_none_or(|glob| glob.matches(table))
            && (self.of_table(table).next().is_some() || self.cascades.start_at(table))
    }

    /// Whether a rule about `table`, or about one that a cascade from it changes,
    /// reads its column of this name.
    pub fn reads(&self, table: &TableName, column: &str) -> bool {
        let is_it = |name: &str| name.eq_ignore_ascii_case(column);
        let by_cascade = || {
            let children = self.cascades.children(table);
            let rules = children.flat_map(|child| self.of_table(child));
            let mut from = rules.flat_map(|rule| rule.columns_of_parent(table));
            from.any(is_it)
        };
        self.wants(table)
            && (self
                .of_table(table)
                .flat_map(|rule| rule.columns())
                .any(is_it)
                || by_cascade())
    }

    /// Whether rules can be about tables of the database `name`, or about those
    /// that cascades from them change.
    pub fn wants_database(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|glob| glob.matches_database(name))
            && self.of_database(name).next().is_some()
    }

    fn of_database<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Rule>> {
        let children = self.cascades.children_of_database(name);
        self.rules
            .iter()
            .filter(|rule| rule.is_about_database(name))
            .chain(children.flat_map(|child| self.of_table(child)))
    }

    fn of_table<'a>(&'a self, table: &'a TableName) -> impl Iterator<Item = &'a Arc<Rule>> {
        self.rules.iter().filter(|rule| rule.is_about(table))
    }

    /// Binds the rules about a table to its columns.
    pub fn bind(&self, schema: &TableSchema) -> Result<TablePlanner, BindError> {
        let mut slots = Slots::new(schema);
        for rule in self.of_table(&schema.name) {
            planner::check(rule, &self.classes, &mut slots)?;
        }
        let cascades = self
            .cascades
            .bind(&self.rules, &self.key_prefix, &mut slots)?;
        let rules = self
            .of_table(&schema.name)
            .map(|rule| BoundRule::new(rule, &self.key_prefix, &slots))
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

    /// The name or glob under which the first rule about `table` has it.
    pub fn glob_of(&self, table: &TableName) -> Option<&TableGlob> {
        let mut globs = self.rules.iter().flat_map(|rule| &rule.tables);
        globs.find(|glob| glob.matches(table))
    }

    /// The names of the rules about `table`.
    pub fn names_of_table(&self, table: &TableName) -> Vec<String> {
        self.of_table(table)
            .map(|rule| rule.name.to_string())
            .collect()
    }

    /// The names of the rules that `key`, prefix included, can come from. Slow:
    /// for reports, not for planning.
    pub fn names_of_key(&self, key: &[u8]) -> Vec<String> {
        self.rules
            .iter()
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

    /// Invalidates everything that the rules about tables of the database `name`
    /// may have cached.
    pub fn widen_database<P: Plan>(&self, name: &str, reason: Widening, plan: &mut P) {
        for rule in self.of_database(name) {
            widen(rule, &self.classes, reason, plan);
        }
    }

    /// Invalidates everything that any rule may have at the edge, at every
    /// distribution: a rule may have had others when its paths were planned.
    pub fn widen_paths<P: Plan>(&self, reason: Widening, plan: &mut P) {
        let wide = |rule: &&Arc<Rule>| {
            !rule.table_wide.paths.is_empty() || !rule.table_wide.edge_tags.is_empty()
        };
        for rule in self.rules.iter().filter(wide) {
            plan.widen(&rule.name, reason);
            send_wide(rule, &self.classes, Target::default(), plan);
        }
    }

    /// Invalidates everything that any rule may have cached.
    pub fn widen_all<P: Plan>(&self, reason: Widening, plan: &mut P) {
        for rule in &self.rules {
            widen(rule, &self.classes, reason, plan);
        }
    }
}
