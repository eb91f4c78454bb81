//! The number of records, and the newest of them.

use std::collections::VecDeque;

use super::record::{DeadLetter, Gap, GapEvent, LetterEvent, Redrive};

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

    /// Returns whether it concerns a letter among the newest.
    pub(super) fn redrive(&mut self, redrive: &Redrive) -> bool {
        let mut concerns = false;
        for letter in &mut self.recent_dead_letters {
            if redrive.covers(letter) {
                letter.redriven_at = Some(redrive.redriven_at);
                concerns = true;
            }
        }
        concerns
    }

    pub(super) fn add_dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters += 1;
        keep_recent(&mut self.recent_dead_letters, letter);
    }
}

fn keep_recent<T>(recent: &mut VecDeque<T>, newest: T) {
    recent.push_back(newest);
    if recent.len() > RECENT_MAX {
        recent.pop_front();
    }
}
