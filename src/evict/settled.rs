//! The last stages of a batch: settled, and accepted by the buffer.

use super::bulk_paths::Paths;
use super::marks::{MARK_BYTES, Mark, Reached};
use crate::ledger::GapId;
use crate::model::BufferState;

/// A batch that has settled: nothing that was read before its changes can be in
/// the cache any more.
#[derive(Debug)]
pub struct Settled {
    pub(super) paths: Paths,
    /// How far everything is done with it.
    pub(super) reached: Reached,
}

/// A batch whose paths the buffer has accepted too.
#[derive(Debug)]
pub struct Accepted {
    pub(super) mark: Option<Mark>,
    pub(super) gaps: Vec<GapId>,
}

impl Settled {
    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.paths.size() + MARK_BYTES
    }

    /// Adds a later batch, whose position then stands for both.
    pub(super) fn add(&mut self, later: Settled) {
        self.paths.add(later.paths);
        self.reached.add(later.reached);
    }

    /// The batch once the buffer has accepted its paths. Its position goes no
    /// further than what makes up for the buffer's losses (Nothing lost).
    pub(super) fn accepted(self, buffer: &BufferState) -> Accepted {
        let mark = self.reached.mark;
        let mark = mark.filter(|mark| mark.losses_mended == buffer.losses);
        Accepted {
            mark: mark.map(|mark| Mark {
                buffer: buffer.mark.clone(),
                ..mark
            }),
            gaps: self.reached.gaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::tests::mark;
    use crate::model::BufferMark;

    #[test]
    fn a_position_waits_for_what_makes_up_for_the_buffers_loss_and_names_the_buffer() {
        let buffer = BufferMark::Queue("https://sqs".to_owned());
        for (mended, losses, goes_on) in [(0, 0, true), (0, 1, false), (1, 1, true), (1, 2, false)]
        {
            let settled = Settled {
                paths: Paths::default(),
                reached: Reached {
                    mark: Some(Mark {
                        losses_mended: mended,
                        ..mark(7)
                    }),
                    gaps: vec![3],
                },
            };
            let accepted = settled.accepted(&BufferState {
                mark: Some(buffer.clone()),
                losses,
                reason: None,
            });
            let expected = goes_on.then(|| buffer.clone());
            let position = accepted.mark.map(|mark| mark.buffer);
            assert_eq!(position, expected.map(Some), "{mended} of {losses}");
            assert_eq!(accepted.gaps, [3]);
        }
    }
}
