//! Gaps and cuts, which a plan cannot show.

/// Something about the files that the plan cannot show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// Changes between two files are in neither of them.
    #[error(
        "{file} does not follow {after}{expected}: changes between the two are in neither file, and are not planned"
    )]
    Gap {
        /// The first of the two files.
        after: String,
        /// The second.
        file: String,
        /// The file that should have come, as it is to be printed.
        expected: String,
    },
    /// The file ends inside an event, or goes on with bytes that are not one.
    #[error("{file} is cut at offset {offset}: {reason}; what follows is not planned")]
    Cut {
        file: String,
        /// Where the last whole event ends.
        offset: u64,
        /// The fault found there.
        reason: String,
    },
    /// The last transaction has no end.
    #[error(
        "{file} ends inside a transaction: what was read of it is planned, though it may not be committed"
    )]
    Unfinished { file: String },
}
