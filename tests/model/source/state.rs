//! What there is: a server with its binlog, a cache with one key, a reader, and evictd.

/// A server's number and a transaction's.
pub type Gtid = (u8, u8);

/// A transaction in the binlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    pub write: u8,
    pub gtid: Option<Gtid>,
}

/// How far the reading is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub read: Vec<Transaction>,
    pub stream: u8,
    pub resets: bool,
}

/// What a reader read and has not stored yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    pub row: u8,
    pub began: u8,
}

/// When a change is deleted for the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Due {
    /// `settle_after` after this moment.
    pub after: u8,
    pub open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Read,
    Deleted(Due),
    /// Deleted twice, and not known to be visible.
    Open,
    Done,
}

/// A change on its way, or the deletion of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// `None`: everything.
    pub transaction: Option<Transaction>,
    /// Everything, because changes are lost, and not only because another server is read.
    pub gap: bool,
    pub stream: u8,
    pub stage: Stage,
    pub end: Place,
}

/// What the barrier remembers: what was visible, by when, and where it learnt it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub executed: Vec<Gtid>,
    pub by: u8,
    pub stream: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    // MySQL
    /// Changes with the server and with a reset.
    pub stream: u8,
    pub server: u8,
    pub written: u8,
    pub log: Vec<Transaction>,
    /// How many of the log are visible.
    pub visible: usize,
    /// The row before the log.
    pub base: u8,
    pub moment: u8,
    pub frozen: bool,
    pub failed_over: bool,
    pub reset: bool,
    pub froze: bool,
    // Redis
    pub entry: Option<u8>,
    // evictd
    pub place: Place,
    pub stored: Place,
    pub changes: Vec<Change>,
    pub memory: Option<Memory>,
    pub crashed: bool,
    // The reader
    pub held: Option<Held>,
}

impl State {
    pub fn row(&self) -> u8 {
        let last = self.visible.checked_sub(1);
        last.map_or(self.base, |last| self.log[last].write)
    }

    pub fn executed(&self) -> Vec<Gtid> {
        let visible = self.log[..self.visible].iter();
        visible.filter_map(|transaction| transaction.gtid).collect()
    }

    pub fn is_pending(&self, transaction: Transaction) -> bool {
        self.log[self.visible..].contains(&transaction)
    }

    pub fn is_connected(&self) -> bool {
        self.place.stream == self.stream
    }
}
