//! The cost that the budget allows a request.

/// The cost that a request may have, apart from what is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetMode {
    /// Whatever the quota allows.
    Free,
    /// At most this many paths; more are covered by wildcards.
    AtMost(usize),
    /// One path at a time: the budget is spent.
    Spent,
    /// The same, and that path is not due yet: nothing but what is always sent.
    Saving,
}
