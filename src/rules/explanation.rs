//! Reasons for what a rule does, from the planner itself (One planner).

use super::condition::Condition;
pub use super::render::Lacks;
use super::render::{Rendered, Unknown};
use super::rule::{ColumnRef, Rule};
use super::template::Template;
use crate::model::Op;

/// A reason.
#[derive(Debug)]
pub enum Note<'a> {
    /// The rule applies to the change.
    Fires,
    /// This column of the rule's `changed` differs.
    Differs(&'a ColumnRef),
    /// The operation is not among these.
    OtherOperation(&'a [Op]),
    /// None of these columns differs.
    NothingDiffers(&'a [ColumnRef]),
    /// The condition is not met.
    ConditionFalse(&'a Condition),
    /// The condition cannot be evaluated, for this reason, and counts as met.
    ConditionFailed(&'a Condition, String),
    /// The template renders nothing.
    NoText {
        /// As it stands in the configuration.
        template: &'a str,
        lacks: Lacks,
    },
    /// It cannot be known what the template renders: the whole table is
    /// invalidated.
    Unknown {
        /// As it stands in the configuration.
        template: &'a str,
        /// The slot whose value is missing or cannot pass a filter.
        slot: usize,
    },
}

/// Takes the planner's reasons.
pub trait Explanation {
    /// Takes a reason of `rule`; `note` is called only if somebody listens.
    fn note<'a>(&mut self, rule: &'a Rule, note: impl FnOnce() -> Note<'a>);
}

/// Nobody listens, and no reason is made.
impl Explanation for () {
    #[inline]
    fn note<'a>(&mut self, _rule: &'a Rule, _note: impl FnOnce() -> Note<'a>) {}
}

/// Explains why a template of `rule` renders nothing, if it does.
pub(super) fn explain<E: Explanation>(
    rule: &Rule,
    source: &Template,
    rendered: &Rendered,
    explanation: &mut E,
) {
    let template = source.text.as_str();
    match *rendered {
        Rendered::Done => {}
        Rendered::Nothing(lacks) => explanation.note(rule, || Note::NoText { template, lacks }),
        Rendered::Unknown(Unknown { slot, .. }) => {
            explanation.note(rule, || Note::Unknown { template, slot });
        }
    }
}
