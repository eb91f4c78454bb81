//! The cost of a month's invalidations, in paths.
//!
//! CloudFront bills every path of an invalidation, wildcards as one. A path is
//! counted on disk *before* the call, so that none is paid for unseen; what was
//! certainly not made is given back. A count that a crash left open is settled
//! at the next start, by looking at what the edge has made. What others
//! invalidate is on the account's bill, and not counted here.
//!
//! - `count`: counts the paths that are sent, and knows the budgets.
//! - `status`: what a distribution has cost, and how much a request may cost.
//! - `account`: the counts as they stand in the file.
//! - `file`: the counts in a file, replaced as a whole.
//! - `month`: a month and its forecast.
//! - `error`: why the counts could not be read or written.
//! - `tests`: counts in files that are shared, old, broken, or gone.

mod account;
mod count;
mod error;
mod file;
mod month;
mod status;

use self::account::Accounts;
pub use self::account::GRANT_EVERY;
pub use self::count::{Budget, Limits};
pub use self::error::BudgetError;
pub use self::status::BudgetStatus;

#[cfg(test)]
mod tests;
