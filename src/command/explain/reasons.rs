//! Why each rule fires or does not fire.

use std::sync::Arc;

use crate::rules::explanation::{Explanation, Lacks, Note};
use crate::rules::rule::Rule;

/// The planner's reasons, as sentences.
pub(super) struct Reasons<'c> {
    /// The name of the column in a slot of the projection.
    pub(super) column: &'c dyn Fn(usize) -> String,
    /// The rule, the reason, and whether the rule fires.
    pub(super) heard: Vec<(Arc<str>, String, bool)>,
}

impl Explanation for Reasons<'_> {
    fn note<'a>(&mut self, rule: &'a Rule, note: impl FnOnce() -> Note<'a>) {
        let note = note();
        let fires = matches!(note, Note::Fires);
        let reason = self.sentence(&note);
        self.heard.push((Arc::clone(&rule.name), reason, fires));
    }
}

impl Reasons<'_> {
    fn sentence(&self, note: &Note<'_>) -> String {
        match note {
            Note::Fires => String::new(),
            Note::Differs(column) => format!("`{}` differs", column.name),
            Note::OtherOperation(on) => {
                let on: Vec<&str> = on.iter().map(|op| op.as_str()).collect();
                format!("`on` is {} only", on.join(", "))
            }
            Note::NothingDiffers(columns) => {
                let columns: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                format!("none of `changed` differs: {}", columns.join(", "))
            }
            Note::ConditionFalse(condition) => format!("`when` is false: {}", condition.text()),
            Note::ConditionFailed(condition, reason) => format!(
                "`when` cannot be evaluated and counts as true: {}: {reason}",
                condition.text()
            ),
            Note::NoText { template, lacks } => match lacks {
                Lacks::Value(slot) => format!(
                    "\"{template}\" renders nothing: `{}` is NULL",
                    (self.column)(*slot)
                ),
                Lacks::Image => {
                    format!("\"{template}\" renders nothing: the change has no such row image")
                }
            },
            Note::Unknown { template, slot } => format!(
                "\"{template}\" cannot be rendered: `{}` is not given, or its filter cannot convert the value",
                (self.column)(*slot)
            ),
        }
    }
}
