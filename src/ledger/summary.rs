//! The number of records, and the newest of them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::older_letters::OlderLetters;
use super::record::{DeadLetter, Gap, GapEvent, LetterEvent, Redrive};
use crate::model::cast::to_u64;

/// Most of the newest records that are kept in memory, for the status.
const RECENT_MAX: usize = 20;

/// The number of records, and the newest of them.
#[derive(Clone, Debug, Default)]
pub struct LedgerSummary {
    /// The number of gaps.
    pub gaps: u64,
    /// The newest gaps, oldest first.
    pub recent_gaps: VecDeque<Gap>,
    /// The number of dead letters.
    pub dead_letters: u64,
    /// The newest dead letters, oldest first.
    pub recent_dead_letters: VecDeque<DeadLetter>,
    /// The number of dead letters that were made messages again.
    pub put_back: u64,
    /// The number of those that were to be, and were not in the buffer any more.
    pub missed: u64,
    /// What is known of those that are not among the newest.
    pub(crate) older: Arc<OlderLetters>,
    /// The number of lines that are not records.
    pub unreadable: u64,
}

impl LedgerSummary {
    pub(super) fn add_gap(&mut self, event: GapEvent) {
        match event {
            GapEvent::Begun(gap) => {
                // The position did not pass the gap, so that it was met again.
                for before in &mut self.recent_gaps {
                    before.repeated |= before.is_open() && before.from == gap.from;
                }
                self.gaps += 1;
                keep_recent(&mut self.recent_gaps, gap);
            }
            GapEvent::Halted(mut gap) => {
                gap.halted = true;
                self.gaps += 1;
                keep_recent(&mut self.recent_gaps, gap);
            }
            GapEvent::Done { id, at } => {
                if let Some(gap) = self.recent_gaps.iter_mut().find(|gap| gap.id == id) {
                    gap.done_at = Some(at);
                }
            }
        }
    }

    pub(super) fn add_letter_event(&mut self, event: LetterEvent) {
        match event {
            LetterEvent::Buried(letter) => self.add_dead_letter(*letter),
            LetterEvent::Redriven(redrive) => {
                self.redrive(&redrive);
            }
        }
    }

    /// Returns whether it concerns a letter that is on record.
    pub(super) fn redrive(&mut self, redrive: &Redrive) -> bool {
        let mut concerned = 0;
        for letter in &mut self.recent_dead_letters {
            if redrive.covers(letter) {
                let at = Some(redrive.redriven_at);
                if redrive.missed {
                    letter.missed_at = at;
                } else {
                    letter.redriven_at = at;
                }
                concerned += 1;
            }
        }
        if self.older.is_concerned(redrive) {
            concerned += Arc::make_mut(&mut self.older).take(redrive);
        }
        if redrive.missed {
            self.missed += concerned;
        } else {
            self.put_back += concerned;
        }
        concerned > 0
    }

    pub(super) fn add_dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters += 1;
        let older = keep_recent(&mut self.recent_dead_letters, letter);
        if let Some(older) = older.filter(DeadLetter::is_in_the_buffer) {
            Arc::make_mut(&mut self.older).add(&older);
        }
    }

    /// The number of dead letters that are in the buffer, as far as is known.
    pub fn in_the_buffer(&self) -> u64 {
        let recent = self.recent_dead_letters.iter();
        let recent = recent.filter(|letter| letter.is_in_the_buffer()).count();
        to_u64(recent + self.older.len())
    }
}

/// Returns the one that makes room for the newest.
fn keep_recent<T>(recent: &mut VecDeque<T>, newest: T) -> Option<T> {
    recent.push_back(newest);
    if recent.len() > RECENT_MAX {
        recent.pop_front()
    } else {
        None
    }
}
