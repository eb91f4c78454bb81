//! Questions to the server.
//!
//! - `questions`: a connection for questions, and what the server says of itself.
//! - `positions`: where to begin, and whether the server has what comes next.
//! - `catalog`: tables, their columns, foreign keys.
//! - `reach`: how far a statement's changes reach.
//! - `since`: which binlog file a time lies in.
//! - `end`: how much of the binlog is left to read.
//! - `barrier`: whether a transaction's rows are visible to other sessions yet.
//! - `replica_lag`: how far the readers of an Aurora cluster are behind.
//! - `leader`: which of several evictds leads.

pub mod barrier;
pub mod catalog;
pub mod end;
pub mod leader;
mod positions;
mod questions;
pub mod reach;
pub mod replica_lag;
pub mod since;

pub use questions::{Server, ServerFacts};
