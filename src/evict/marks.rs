//! Positions of batches that are done in any order.
//!
//! A position says that everything before it is done (Nothing lost). So the end
//! of a batch that is done waits for those before it that are not.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ledger::GapId;
use crate::model::{BufferMark, CacheRuns, CommitTime, Position};

/// Memory that a batch takes besides its content, in bytes: many small batches
/// may wait to settle, each with a position and a GTID set.
pub(super) const MARK_BYTES: usize = 1_024;

/// The end of a batch in the binlog: once the batch is done, so is everything
/// before this position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub position: Position,
    /// The server whose binlog the position is in.
    pub server_uuid: Arc<str>,
    /// When the last transaction before it was committed; `None` if none was
    /// read yet.
    pub committed_at: Option<CommitTime>,
    /// Rows before it were read with the columns of this place, which is ahead.
    pub columns_of: Option<Position>,
    /// When its file was begun, in seconds since the epoch, if that is known.
    pub file_begun_s: Option<u32>,
    /// The processes whose cache has everything before it done.
    pub cache_runs: CacheRuns,
    /// The buffer's losses that batches up to this one make up for.
    pub losses_mended: u64,
    /// How far the buffer has come that has accepted all paths of before, once it
    /// has.
    pub buffer: Option<BufferMark>,
}

/// How far the binlog is done.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) mark: Option<Mark>,
    /// The gaps before the mark.
    pub(super) gaps: Vec<GapId>,
}

impl Reached {
    /// Adds what lies behind it.
    pub(super) fn add(&mut self, later: Reached) {
        self.gaps.extend(later.gaps);
        self.mark = later.mark.or_else(|| self.mark.take());
    }
}

/// The batches that are not done.
#[derive(Debug, Default)]
pub(super) struct Marks {
    next: u64,
    /// Their numbers in the binlog's order, each with the end of those right
    /// behind it that are done.
    unfinished: VecDeque<(u64, Reached)>,
}

impl Marks {
    /// The number of the next batch in the binlog's order.
    pub(super) fn begin(&mut self) -> u64 {
        self.next += 1;
        self.unfinished.push_back((self.next, Reached::default()));
        self.next
    }

    /// The batch `number`, which ends at `end`, is done. Returns how far
    /// everything is done that was not before.
    pub(super) fn done(&mut self, number: u64, mut end: Reached) -> Reached {
        let Ok(index) = self
            .unfinished
            .binary_search_by_key(&number, |(number, _)| *number)
        else {
            return Reached::default();
        };
        if let Some((_, behind)) = self.unfinished.remove(index) {
            end.add(behind);
        }
        let before = index.checked_sub(1);
        match before.and_then(|before| self.unfinished.get_mut(before)) {
            Some((_, behind)) => {
                behind.add(end);
                Reached::default()
            }
            None => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::tests::mark;

    fn reached(offset: u64) -> Reached {
        Reached {
            mark: Some(mark(offset)),
            gaps: Vec::new(),
        }
    }

    #[test]
    fn a_position_is_reached_once_every_batch_before_it_is_done() {
        // Every order of four batches.
        for order in 0..256_u64 {
            let order = [order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6];
            if (0..4).any(|number| !order.contains(&number)) {
                continue;
            }
            let mut marks = Marks::default();
            let numbers: Vec<u64> = (0..4).map(|_| marks.begin()).collect();
            let mut done = [false; 4];
            let mut stored = 0;
            for index in order.map(|index| usize::try_from(index).unwrap()) {
                done[index] = true;
                let end = reached(10 + u64::try_from(index).unwrap());
                if let Some(mark) = marks.done(numbers[index], end).mark {
                    stored = mark.position.offset;
                }
                let whole = done.iter().take_while(|done| **done).count();
                let expected = match whole {
                    0 => 0,
                    whole => 9 + u64::try_from(whole).unwrap(),
                };
                assert_eq!(stored, expected, "{order:?}");
            }
        }
    }
}
