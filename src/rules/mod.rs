//! What a row change invalidates: templates, conditions, path classes, and the
//! one planner. Pure: no I/O, no clock, no async (One planner).
//!
//! A [`Rule`](rule::Rule) is what the configuration says. [`Rules::bind`] fits
//! the rules to a table's columns, and [`TablePlanner::plan`] turns one change
//! into actions. `run`, its dry run and every offline command share it, so that
//! the same changes and rules give byte-identical plans.

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
pub mod path_overlap;
pub mod permission_probe;
pub mod planner;
mod publish;
mod render;
pub mod rule;
pub mod structures;
pub mod table_wide;
pub mod template;
mod version;
mod wide;

pub use planner::{Rules, TablePlanner};
pub use render::RenderBuffers;

/// `; did you mean …?` if one of `known` is close to `name`, else nothing.
pub fn suggestion<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}
