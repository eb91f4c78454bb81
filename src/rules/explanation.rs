//! Why a rule does what it does, as the planner itself says it (One planner).

use super::condition::Condition;
pub use super::render::Lacks;
use super::render::Rendered;
use super::rule::{ColumnRef, Rule};
use super::template::Template;
use crate::model::Op;

/// One reason.
#[derive(Debug)]
pub enum Note<'a> {
    /// The rule applies to the change.
    Fires,
    /// This column of `changed` differs.
    Differs(&'a ColumnRef),
    /// The operation is not among these.
    OtherOperation(&'a [Op]),
    /// None of these columns differs.
    NothingDiffers(&'a [ColumnRef]),
    /// The condition is not met.
    ConditionFalse(&'a Condition),
    /// The condition cannot be evaluated and counts as met, for this reason.
    ConditionFailed(&'a Condition, String),
    /// The template renders nothing.
    NoText {
        /// As it stands in the configuration.
        template: &'a str,
        /// What it lacks.
        lacks: Lacks,
    },
    /// What the template renders cannot be known: the whole table is meant.
    Unknown {
        /// As it stands in the configuration.
        template: &'a str,
        /// The slot whose value is missing or cannot pass its filter.
        slot: usize,
    },
}

/// Hears the planner's reasons.
pub trait Explanation {
    /// Takes one reason of `rule`.
    fn note<'a>(&mut self, rule: &'a Rule, note: impl FnOnce() -> Note<'a>);
}

/// Nobody listens: no reason is made up, and none costs anything.
impl Explanation for () {
    #[inline]
    fn note<'a>(&mut self, _rule: &'a Rule, _note: impl FnOnce() -> Note<'a>) {}
}

/// Tells why a template of `rule` has no text.
pub(super) fn tell<W: Explanation>(
    rule: &Rule,
    source: &Template,
    rendered: &Rendered,
    explanation: &mut W,
) {
    let template = source.text.as_str();
    match *rendered {
        Rendered::Done => {}
        Rendered::Nothing(lacks) => explanation.note(rule, || Note::NoText { template, lacks }),
        Rendered::Unknown(slot) => explanation.note(rule, || Note::Unknown { template, slot }),
    }
}
