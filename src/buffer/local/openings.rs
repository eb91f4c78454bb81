//! The openings of a file: who wrote which of its messages. Pure.
//!
//! The problem: a file may be set back to an earlier copy of itself. What is
//! written then must not be mistaken for what was written after the copy was
//! made: an invalidation may be on record for that, or CloudFront may know a
//! request by its name.
//!
//! The idea: whoever opens the file draws a random identity before the first
//! message, and the identity is part of every message's id and place. It is kept
//! with the number at which it begins, so that the next one to open the file
//! still knows who wrote a message. And the numbers are those of the clock, in
//! microseconds, or the next ones, whichever are greater: a machine that is
//! resumed from a snapshot goes on under the same identity.

use std::sync::Arc;

use crate::model::BufferMark;

/// Openings that are remembered though none of their messages is left. A position
/// may still have been stored with one of them.
const KEPT_MIN: usize = 64;

/// The openings of a file, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Openings(Vec<Opening>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// The first number that it may have given out.
    pub(super) from: u64,
    pub(super) identity: u128,
}

impl Opening {
    fn name(self) -> String {
        format!("{:032x}", self.identity)
    }
}

impl Openings {
    pub(super) fn new(oldest_first: Vec<Opening>) -> Self {
        Self(oldest_first)
    }

    pub(super) fn extend(&mut self, later: Option<Opening>) {
        self.0.extend(later);
    }

    /// The place that the file at `path` has reached with `next` as its next number;
    /// `None` if it never held a message.
    pub(super) fn mark(&self, next: u64, path: &str) -> Option<BufferMark> {
        self.0.last().map(|newest| BufferMark::File {
            opening: newest.name(),
            next,
            path: Some(path.to_owned()),
        })
    }

    /// The id of the message with this number.
    pub(super) fn id(&self, sequence: u64) -> Arc<str> {
        let later = self.0.partition_point(|opening| opening.from <= sequence);
        let writer = later.checked_sub(1).and_then(|writer| self.0.get(writer));
        let name = writer.copied().map(Opening::name).unwrap_or_default();
        format!("{name}-{sequence}").into()
    }

    /// Why a file whose next number is `next` does not go on from `mark`; `None`
    /// if it does.
    pub(super) fn lacks(&self, next: u64, mark: &BufferMark) -> Option<String> {
        let (opening, reached, path) = match mark {
            BufferMark::Queue(url) => {
                return Some(format!(
                    "paths were sent to the queue {url} before, and not to this file"
                ));
            }
            BufferMark::File {
                opening,
                next,
                path,
            } => (opening, *next, path),
        };
        let known = self.0.iter().position(|known| known.name() == *opening);
        let Some(index) = known else {
            let path = path.as_ref().map(|path| format!(" ({path})"));
            let path = path.unwrap_or_default();
            return Some(if self.0.is_empty() {
                format!(
                    "the file is new: the one that paths were sent to before{path} was removed, emptied or replaced, or buffer.path led to another one"
                )
            } else {
                format!(
                    "the file is not the one that paths were sent to before{path}, or is an earlier copy of it"
                )
            });
        };
        let later = index.checked_add(1).and_then(|later| self.0.get(later));
        let end = later.map_or(next, |later| later.from);
        (end < reached).then(|| {
            format!(
                "the file is an earlier copy of itself: it ends before message {end}, and {reached} was reached"
            )
        })
    }

    /// The openings to forget, by their first numbers, where `oldest` is the
    /// number of the oldest message.
    pub(super) fn to_forget(&self, oldest: Option<u64>) -> Vec<u64> {
        let ends = self.0.iter().skip(1).map(|later| later.from);
        let spare = self.0.len().saturating_sub(KEPT_MIN);
        let mut forgotten = Vec::new();
        for (opening, end) in self.0.iter().zip(ends).take(spare) {
            if oldest.is_some_and(|oldest| oldest < end) {
                break;
            }
            forgotten.push(opening.from);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openings(from: &[u64]) -> Openings {
        let identities = 1..;
        let opening = |(&from, identity)| Opening { from, identity };
        Openings::new(from.iter().zip(identities).map(opening).collect())
    }

    fn mark(identity: u128, next: u64) -> BufferMark {
        BufferMark::File {
            opening: format!("{identity:032x}"),
            next,
            path: None,
        }
    }

    #[test]
    fn a_message_belongs_to_the_opening_that_wrote_it() {
        let openings = openings(&[0, 10, 20]);
        for (sequence, opening) in [(9, 1), (10, 2), (19, 2), (20, 3), (u64::MAX, 3)] {
            let id = openings.id(sequence);
            assert_eq!(*id, format!("{opening:032x}-{sequence}"));
        }
        assert_eq!(*Openings::default().id(3), *"-3");
    }

    #[test]
    fn a_file_goes_on_from_where_it_or_an_earlier_opening_of_it_had_come() {
        let three = openings(&[0, 10, 20]);
        let mark_of = |mark: &BufferMark| three.lacks(25, mark).is_none();
        for (mark, goes_on) in [
            (mark(3, 25), true),
            (mark(3, 21), true),
            (mark(3, 26), false),
            (mark(2, 20), true),
            // Set back, and opened once more by somebody else since.
            (mark(2, 21), false),
            (mark(1, 5), true),
            (mark(4, 1), false),
            (BufferMark::Queue("https://sqs".to_owned()), false),
        ] {
            assert_eq!(mark_of(&mark), goes_on, "{mark:?}");
        }
        let own = three.mark(25, "/queue.redb").unwrap();
        assert_eq!(three.lacks(25, &own), None);
        assert_eq!(Openings::default().mark(0, "/queue.redb"), None);
        let emptied = Openings::default().lacks(0, &mark(1, 0)).unwrap();
        assert!(
            emptied.contains("was removed, emptied or replaced"),
            "{emptied}"
        );
        let other = three.lacks(25, &mark(4, 1)).unwrap();
        assert!(other.contains("an earlier copy"), "{other}");
    }

    #[test]
    fn old_openings_are_forgotten_once_their_messages_are_gone() {
        let numbers: Vec<u64> = (0..70).map(|n| n * 10).collect();
        let many = openings(&numbers);
        assert_eq!(many.to_forget(None), [0, 10, 20, 30, 40, 50]);
        assert_eq!(many.to_forget(Some(25)), [0, 10]);
        assert_eq!(many.to_forget(Some(3)), [0_u64; 0]);
        assert_eq!(openings(&[0, 10]).to_forget(None), [0_u64; 0]);
    }
}
