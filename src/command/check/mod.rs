//! `evictd check`: finds what is wrong before it does harm.
//!
//! - `examination`: one part after the other.
//! - `report`: the findings, printed and summed up.
//! - `cache`: the permissions of the account in Redis, and what Redis evicts.
//! - `directories`: the directories that hold files.
//! - `queue`: the queue between the cache and the edge.
//! - `distributions`: the distributions that paths are sent to.
//! - `paths`: the path classes, compared with a live distribution.

mod cache;
mod directories;
mod distributions;
mod examination;
mod paths;
mod queue;
mod report;

pub use self::cache::log_permissions;
pub use self::examination::run;
pub use self::queue::dead_letters;
