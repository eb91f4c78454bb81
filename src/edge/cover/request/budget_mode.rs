//! What the budget lets a request cost.

/// How much a request may cost, apart from what is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetMode {
    /// Whatever the quota allows.
    Free,
    /// At most this many paths; more are covered by wildcards.
    AtMost(usize),
    /// One path at a time: the budget is spent.
    Spent,
}
