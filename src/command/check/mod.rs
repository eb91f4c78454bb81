//! `evictd check`: everything that can be wrong, looked at before it is.
//!
//! - `examination`: what is looked at, in which order.
//! - `report`: what was found, printed and summed up.
//! - `cache`: the account in Redis, and the memory of Redis.
//! - `directories`: the directories that hold files.
//! - `queue`: the queue between the cache and the edge.
//! - `distributions`: the distributions that paths are sent to.
//! - `paths`: the path classes against a live distribution.

mod cache;
mod directories;
mod distributions;
mod examination;
mod paths;
mod queue;
mod report;

pub use self::examination::run;
