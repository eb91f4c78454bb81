//! What can happen.

use std::fmt;

use super::state::Transaction;

/// One thing that one of the parties does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Commit(Transaction),
    BecomeVisible(u8),
    /// To a server that lacks the last so many transactions.
    FailOver(usize),
    Reset,
    Freeze,
    Thaw,
    Connect,
    ReadEvent(u8),
    Delete(Of),
    DeleteAgain(Of),
    Close(Of),
    StorePosition,
    Crash,
    ReadRow,
    Fill,
}

/// A change on its way: its place among them, and its write, or else everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of {
    pub index: usize,
    pub write: Option<u8>,
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.write {
            Some(write) => write!(f, "write {write}"),
            None => write!(f, "everything"),
        }
    }
}

impl Step {
    pub fn is_evictds(&self) -> bool {
        matches!(
            self,
            Step::Connect
                | Step::ReadEvent(_)
                | Step::Delete(_)
                | Step::DeleteAgain(_)
                | Step::Close(_)
                | Step::StorePosition
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Commit(Transaction { write, gtid }) => match gtid {
                Some((server, number)) => {
                    write!(f, "write {write} is in the binlog as {server}:{number}")
                }
                None => write!(f, "write {write} is in the binlog without a GTID"),
            },
            Step::BecomeVisible(write) => write!(f, "write {write} is visible"),
            Step::FailOver(0) => write!(f, "another server takes over"),
            Step::FailOver(lacks) => write!(f, "another server takes over and lacks {lacks}"),
            Step::Reset => write!(f, "binlog and GTIDs are reset"),
            Step::Freeze => write!(f, "the server freezes"),
            Step::Thaw => write!(f, "the server goes on"),
            Step::Connect => write!(f, "evictd connects"),
            Step::ReadEvent(write) => write!(f, "evictd reads the event of write {write}"),
            Step::Delete(of) => write!(f, "evictd deletes for {of}"),
            Step::DeleteAgain(of) => write!(f, "evictd deletes again for {of}"),
            Step::Close(of) => write!(f, "evictd hears that {of} is visible, and deletes"),
            Step::StorePosition => write!(f, "evictd stores its position"),
            Step::Crash => write!(f, "evictd crashes and starts again"),
            Step::ReadRow => write!(f, "a reader reads the row"),
            Step::Fill => write!(f, "a reader fills"),
        }
    }
}
