//! Errors of the server that changes come from.

use crate::model::Position;

/// The binlog cannot be read. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no connection, or it broke.
    #[error("MySQL at {address} cannot be reached: {reason}")]
    Unreachable {
        address: String,
        /// Why, and what to do.
        reason: String,
    },
    /// TLS failed: a certificate, or the file of its authority, is not right.
    #[error("MySQL at {address} cannot be reached: {reason}")]
    Untrusted {
        address: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The server, the account or its settings do not fit.
    #[error("MySQL at {address}: {reason}")]
    Unfit {
        address: String,
        /// The part that does not fit, and what to do.
        reason: String,
    },
    /// The server writes no binlog.
    #[error(
        "MySQL at {address}: log_bin is OFF; start the server with --log-bin, on Aurora set binlog_format = ROW in the cluster parameter group and restart the writer"
    )]
    NoBinlog { address: String },
    /// The address leads to another server by now.
    #[error("MySQL at {address} is another server by now: {reason}")]
    Moved { address: String, reason: String },
    /// Changes after the position cannot be read any more.
    #[error(
        "the binlog cannot be resumed at {position}: {reason}; what changed since then is unknown"
    )]
    Gap { position: String, reason: String },
    /// Nothing came for three heartbeats.
    #[error(
        "MySQL at {address} sent nothing for {seconds:.1} s, three heartbeats: the connection is dead"
    )]
    Silent { address: String, seconds: f64 },
    /// It does not send what it has written.
    #[error(
        "MySQL at {address} {reason}: its disk is slow, or its binlog was reset; connecting anew to find out"
    )]
    Stalled { address: String, reason: String },
    /// The stream ended in an orderly way.
    #[error("MySQL at {address} ended the binlog stream: it shuts down")]
    Ended { address: String },
    /// A transaction without a GTID comes next.
    #[error(
        "MySQL at {address} sends no transaction without a GTID to a reader that asked by GTIDs: asking by file and offset"
    )]
    Anonymous { address: String },
    /// The server let in another replica with the same id instead.
    #[error(
        "MySQL at {address} ended the binlog stream: another replica has the same server_id, {server_id}"
    )]
    Replaced { address: String, server_id: u32 },
}

impl SourceError {
    /// A short name for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            SourceError::Unreachable { .. } => "unreachable",
            SourceError::Untrusted { .. } => "tls",
            SourceError::Unfit { .. } => "unfit",
            SourceError::NoBinlog { .. } => "no-binlog",
            SourceError::Moved { .. } => "moved",
            SourceError::Gap { .. } => "gap",
            SourceError::Silent { .. } => "silent",
            SourceError::Stalled { .. } => "stalled",
            SourceError::Ended { .. } => "ended",
            SourceError::Anonymous { .. } => "anonymous",
            SourceError::Replaced { .. } => "replaced",
        }
    }

    /// A gap after `position`.
    pub(in crate::binlog) fn gap(position: &Position, reason: impl Into<String>) -> Self {
        let position = match &position.gtids {
            Some(gtids) => gtids.to_string(),
            None => position.to_string(),
        };
        SourceError::Gap {
            position,
            reason: reason.into(),
        }
    }
}
