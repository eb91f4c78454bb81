//! The position up to which everything is invalidated.
//!
//! An epoch is the time during which one process leads. A store takes nothing
//! from an epoch that another one has followed, so that a leader that was replaced
//! without noticing cannot move the position.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{BufferMark, CommitTime, GtidSet, Position};

/// A position, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// The version of the format.
    pub version: u32,
    /// The server that the position belongs to: on another server, the same file
    /// holds other data.
    pub server_uuid: String,
    /// The binlog file.
    pub file: String,
    /// The offset of the next event in the file.
    pub offset: u64,
    /// The GTIDs of all transactions up to here, if the server has GTIDs.
    pub gtid_set: Option<GtidSet>,
    /// Time at which the last transaction was committed, RFC 3339 in UTC.
    pub committed_at: Option<jiff::Timestamp>,
    /// Time at which the file was begun, in seconds since 1970, if it is known:
    /// another file of the same name has another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_begun_s: Option<u32>,
    /// Rows before the position were read with the columns of this place, which
    /// lies after it: a statement in between may show that they had others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns_of: Option<ColumnsOf>,
    /// The processes whose cache has everything before the position done: another
    /// one may have begun with older entries. Empty if they are not known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cache_runs: BTreeSet<String>,
    /// The buffer that accepted the paths of everything before the position, and
    /// how far it had come. `None` if there were none, or if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferMark>,
    /// The epoch of the leader that stored the position, greater than all epochs
    /// before. The store sets it.
    #[serde(default)]
    pub epoch: u64,
    /// The evictd that stored it. The store sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<StoredBy>,
}

/// The evictd that stored a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBy {
    /// Its `name`: a position belongs to the evictds of one name.
    pub name: String,
    /// Host and port of its `source.url`.
    pub source: String,
    /// The beginning of its configuration's SHA-256.
    pub config_sha256: String,
}

/// The end of the server's binlog when columns were looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnsOf {
    /// The binlog file.
    pub file: String,
    /// The offset of its end.
    pub offset: u64,
}

/// A position of any version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The version of the format that this evictd writes.
pub const FORMAT_VERSION: u32 = 1;

impl Stored {
    /// The `position` on the server with `server_uuid`, of the epoch 0.
    pub fn new(position: &Position, server_uuid: &str, committed_at: Option<CommitTime>) -> Self {
        Self {
            version: FORMAT_VERSION,
            server_uuid: server_uuid.to_owned(),
            file: position.file.to_string(),
            offset: position.offset,
            gtid_set: position.gtids.clone(),
            committed_at: committed_at.and_then(CommitTime::timestamp),
            file_begun_s: None,
            columns_of: None,
            cache_runs: BTreeSet::new(),
            buffer: None,
            epoch: 0,
            by: None,
        }
    }

    /// Reads what the store at `place` holds. `otherwise` is the error for what is not
    /// a checkpoint of any version.
    pub(super) fn parse(
        bytes: &[u8],
        place: impl FnOnce() -> String,
        otherwise: impl FnOnce(String) -> CheckpointError,
    ) -> Result<Self, CheckpointError> {
        let version = serde_json::from_slice(bytes).map(|Versioned { version }| version);
        let later = |reason| CheckpointError::Later {
            place: place(),
            reason,
        };
        match (version, serde_json::from_slice::<Self>(bytes)) {
            (Ok(FORMAT_VERSION), Ok(stored)) => Ok(stored),
            (Ok(version), _) if version > FORMAT_VERSION => Err(later(format!(
                "its format is version {version}, and this evictd reads {FORMAT_VERSION}"
            ))),
            // A later version may say more without another format.
            (Ok(FORMAT_VERSION), Err(error)) if error.to_string().starts_with("unknown ") => {
                Err(later(error.to_string()))
            }
            (_, Err(error)) => Err(otherwise(error.to_string())),
            (_, Ok(stored)) => Err(otherwise(format!(
                "its format is version {}",
                stored.version
            ))),
        }
    }

    /// Adds the time at which the file was begun, if it is known.
    pub fn begun_at(mut self, file_begun_s: Option<u32>) -> Self {
        self.file_begun_s = file_begun_s;
        self
    }

    /// Adds the place whose columns rows were read with, if it is ahead.
    pub fn with_columns_of(mut self, place: Option<&Position>) -> Self {
        self.columns_of = place.map(|place| ColumnsOf {
            file: place.file.to_string(),
            offset: place.offset,
        });
        self
    }

    /// The place whose columns rows were read with, if it is ahead.
    pub fn columns_of(&self) -> Option<Position> {
        self.columns_of.as_ref().map(|place| Position {
            file: Arc::from(place.file.as_str()),
            offset: place.offset,
            gtids: None,
        })
    }

    /// Adds the processes whose cache has everything before it done.
    pub fn done_in(mut self, cache_runs: &BTreeSet<String>) -> Self {
        self.cache_runs.clone_from(cache_runs);
        self
    }

    /// Adds the buffer that has accepted all paths of before.
    pub fn accepted_by(mut self, buffer: Option<&BufferMark>) -> Self {
        self.buffer = buffer.cloned();
        self
    }

    /// The position at which reading resumes.
    pub fn position(&self) -> Position {
        Position {
            file: Arc::from(self.file.as_str()),
            offset: self.offset,
            gtids: self.gtid_set.clone(),
        }
    }
}

/// Keeps one position.
///
/// `store` returns once the position survives a crash of the machine, as far as
/// the store can promise that. A failed or cancelled `store` leaves the old or
/// the new position, never a mixture. The caller retries, and may go on to a later
/// position. [`CheckpointError::Superseded`] does not pass: another process leads.
pub trait Checkpoint: Send + 'static {
    /// The stored position; `None` if there is none.
    fn load(&mut self) -> impl Future<Output = Result<Option<Stored>, CheckpointError>> + Send;

    /// Replaces the stored position.
    fn store(
        &mut self,
        stored: &Stored,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;
}

/// Why the checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Reading or writing failed.
    #[error(
        "checkpoint {path}: cannot {action}: {reason}; check that the directory exists and can be written"
    )]
    Io {
        /// The file.
        path: String,
        /// The action that failed.
        action: &'static str,
        /// The reason in the system's words.
        reason: String,
    },
    /// The disk is full.
    #[error("checkpoint {path}: cannot {action}: {reason}; make room on its disk")]
    Full {
        /// The file.
        path: String,
        /// The action that failed.
        action: &'static str,
        /// The reason in the system's words.
        reason: String,
    },
    /// Another process uses the checkpoint.
    #[error(
        "checkpoint {path} is in use by {}; it is free once that evictd ends or stands by: stop it if it does neither by itself",
        match holder { Some(pid) => format!("process {pid}"), None => "another process".to_owned() }
    )]
    Held {
        /// The file.
        path: String,
        /// The id of the process, if it is known.
        holder: Option<u32>,
    },
    /// The store does not answer as it should.
    #[error("checkpoint {place} cannot be used now: {reason}")]
    Unavailable {
        /// Where it is.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
    /// An operator has to change something first.
    #[error("checkpoint {place} cannot be used: {reason}")]
    Refused {
        /// Where it is.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Another evictd leads, or has led since.
    #[error(
        "checkpoint {place} was taken over in epoch {by}, and this is epoch {epoch}: nothing was stored"
    )]
    Superseded {
        /// Where it is.
        place: String,
        /// The epoch of this process.
        epoch: u64,
        /// The epoch that is stored.
        by: u64,
    },
    /// A later version of evictd stored it.
    #[error(
        "checkpoint {place} is of a later version of evictd: {reason}; start that version, or a later one, or name where \
         this one is to begin with `evictd checkpoint set P`: what was committed before P is not looked at again"
    )]
    Later {
        /// Where it is.
        place: String,
        /// The difference.
        reason: String,
    },
    /// The file was not written by evictd.
    #[error(
        "checkpoint {path} cannot be understood: {reason}; move it away to begin at source.start, which skips the changes since"
    )]
    Malformed {
        /// The file.
        path: String,
        /// The fault found in it.
        reason: String,
    },
}

impl CheckpointError {
    /// Whether something else than a position of an evictd is there, from which
    /// nobody goes on.
    pub fn is_of_something_else(&self) -> bool {
        match self {
            CheckpointError::Malformed { .. }
            | CheckpointError::Later { .. }
            | CheckpointError::Refused { .. } => true,
            CheckpointError::Unavailable { .. }
            | CheckpointError::Io { .. }
            | CheckpointError::Full { .. }
            | CheckpointError::Held { .. }
            | CheckpointError::Superseded { .. } => false,
        }
    }
}
