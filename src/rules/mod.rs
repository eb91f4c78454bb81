//! From row changes to invalidations: templates, conditions, path classes, and the
//! one planner. Pure: no I/O, no clock, no async (One planner).
//!
//! A [`Rule`](rule::Rule) is what the configuration says. [`Rules::bind`] fits
//! the rules to a table's columns, and [`TablePlanner::plan`] turns one change
//! into actions. `run`, its dry run and every offline command share it, so that
//! the same changes and rules give byte-identical plans.
//!
//! A rule as configured:
//!
//! - `rule`: a validated rule.
//! - `rule_set`: all rules of a configuration.
//! - `template`: key and path templates.
//! - `filter`: filters of placeholders.
//! - `condition`: `when`, a CEL expression.
//! - `expand`: placeholders that stand for a list of texts.
//! - `glob`: globs over table names and over Redis keys.
//! - `table_wide`: what stands for everything that a rule may have cached.
//! - `suggestion`: suggestions for misspelt names.
//!
//! A rule at work:
//!
//! - `bind`: templates bound to a table's columns.
//! - `planner`: from a row change to what it invalidates.
//! - `render`: from a row's values to the text of a key or a path.
//! - `version`: compares a row's version before and after a change.
//! - `guard`: watermarks that refuse fills of older rows.
//! - `structures`: tag sets and fields of hashes.
//! - `bound_structures`: the same, bound to a table's columns.
//! - `publish`: deletions published to a channel.
//! - `edge`: paths and cache tags, of all copies or of one tenant's.
//! - `path`: paths in the form that the edge compares.
//! - `cascade`: foreign keys that change rows without a row event.
//! - `wide`: invalidations of all that a rule may have cached.
//! - `explanation`: reasons for what a rule does.
//!
//! Questions about rules:
//!
//! - `path_class`: what the edge does with a path, and paths that must never be
//!   invalidated.
//! - `path_language`: the language of paths that a template can produce.
//! - `path_overlap`: which path classes and cache behaviours share paths.
//! - `budget_exempt`: paths that are sent whatever the budget says.
//! - `permission_probe`: examples of the names that the account in Redis must
//!   have permission for.

mod bind;
mod bound_structures;
pub mod budget_exempt;
pub mod cascade;
pub mod condition;
mod edge;
pub mod expand;
pub mod explanation;
pub mod filter;
pub mod glob;
pub mod guard;
mod path;
pub mod path_class;
mod path_language;
pub mod path_overlap;
pub mod permission_probe;
pub mod planner;
mod publish;
mod render;
pub mod rule;
mod rule_set;
pub mod structures;
mod suggestion;
pub mod table_wide;
pub mod template;
mod version;
mod wide;

pub use self::bind::BindError;
pub use self::planner::TablePlanner;
pub use self::render::RenderBuffers;
pub use self::rule_set::Rules;
pub use self::suggestion::suggestion;
