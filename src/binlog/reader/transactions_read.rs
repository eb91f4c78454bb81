//! The transactions that items belong to, by which their visibility is asked
//! for.

use crate::model::GtidSet;
use crate::model::gtid::Gtid;

/// The transactions that changes belong to.
#[derive(Clone, Debug, Default)]
pub struct TransactionsRead {
    /// Those that have a GTID.
    pub gtids: GtidSet,
    /// There are others: anonymous ones, and changes of which it is not known
    /// what transaction they belong to.
    pub unnamed: bool,
}

impl TransactionsRead {
    pub(super) fn add(&mut self, gtid: Option<&Gtid>) {
        match gtid {
            Some(gtid) => self.gtids.insert(gtid),
            None => self.unnamed = true,
        }
    }
}
