//! The next request for a set of messages, and the messages that it completes.
//!
//! Pure, and deterministic: the same messages in any order give the same
//! request under the same name.
//!
//! - `gathering`: messages whose paths gather, and the requests made of them.
//! - `parting`: a set of messages as two, to find paths that the edge refuses.
//! - `next_request`: one request, and what it stands for.
//! - `fit`: what fits into one request.
//! - `budget_mode`: what the budget lets a request cost.
//! - `tests`: cases and laws of all of them.

mod budget_mode;
mod fit;
mod gathering;
mod next_request;
mod parting;

pub use self::budget_mode::BudgetMode;
pub use self::gathering::{Gathering, MessageInfo};
pub use self::next_request::NextRequest;

#[cfg(test)]
mod tests;
