//! The outcomes of connecting to the source, and of losing the connection.

use crate::model::Position;

/// The outcome of an attempt to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connected {
    /// Reading goes on where it was left, or the shutdown came.
    Resumed,
    /// Reading goes on where it was left, on another server. Nobody knows what the
    /// one before had shown its readers and lost: the invalidation of everything
    /// is planned.
    Elsewhere,
    /// Changes are lost. The invalidation of everything is planned, and the
    /// position is the one from which reading goes on: connect again.
    Skipped {
        /// Why changes are lost.
        reason: String,
        /// Where the binlog ended then.
        to: Position,
    },
}

/// The connection is lost, and has to be made anew.
#[derive(Debug)]
pub struct Disconnected;
