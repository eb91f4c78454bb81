//! The cost of a distribution, and how much a request may cost because of it.

use serde::{Deserialize, Serialize};

use crate::edge::cover::request::BudgetMode;

/// From this part of the budget on, requests may cost only a part of what is
/// left.
const LOW_FROM_PERCENT: u64 = 80;

/// A request then costs at most this part of what is left: a bulk change becomes
/// wildcards, and single edits stay as they are for a long time.
const LOW_PART: u64 = 50;

/// The cost of a distribution this month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// The distribution's name.
    pub distribution: String,
    /// The month, in UTC: `2026-11`.
    pub month: String,
    /// Paths that this machine's drains have sent in it.
    pub spent: u64,
    pub limit: Option<u64>,
    /// The paths that are left of it.
    pub left: Option<u64>,
    /// The month's cost at its end, at the pace so far.
    pub forecast: u64,
}

impl BudgetStatus {
    /// The thrift that the next request has to show.
    pub fn mode(&self) -> BudgetMode {
        let (Some(limit), Some(left)) = (self.limit, self.left) else {
            return BudgetMode::Free;
        };
        if left == 0 {
            return BudgetMode::Spent;
        }
        let is_low = self.spent.saturating_mul(100) >= limit.saturating_mul(LOW_FROM_PERCENT);
        let most = if is_low {
            left.div_ceil(LOW_PART)
        } else {
            left
        };
        BudgetMode::AtMost(usize::try_from(most).unwrap_or(usize::MAX))
    }
}
