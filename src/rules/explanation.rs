//! Why a rule does what it does, as the planner itself says it (One planner).

use super::condition::Condition;
use super::rule::{ColumnRef, Rule};
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

/// Why a template renders nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// The value in this slot is NULL.
    Value(usize),
    /// The operation has no such image.
    Image,
}

/// Hears the planner's reasons.
pub trait Witness {
    /// Takes one reason of `rule`.
    fn note<'a>(&mut self, rule: &'a Rule, note: impl FnOnce() -> Note<'a>);
}

/// Nobody listens: no reason is made up, and none costs anything.
impl Witness for () {
    #[inline]
    fn note<'a>(&mut self, _rule: &'a Rule, _note: impl FnOnce() -> Note<'a>) {}
}
