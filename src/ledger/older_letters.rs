//! Dead letters that are in the buffer and not among the newest, in a few bytes each:
//! enough to know which of them are put back.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use super::record::{DeadLetter, Redrive};
use crate::model::cast::to_u64;

/// Letters, and paths of them, that are remembered (Bounded). The oldest ones beyond
/// that count as dead letters for good.
const LETTERS_MAX: usize = 10_000;
const PATHS_MAX: usize = 100_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct OlderLetters {
    letters: VecDeque<OlderLetter>,
    paths: usize,
}

#[derive(Clone, Debug)]
struct OlderLetter {
    at: Timestamp,
    /// The hash of the distribution's name; none where the letter has none.
    distribution: Option<u64>,
    /// The hashes of its paths.
    paths: Box<[u64]>,
}

impl OlderLetters {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn add(&mut self, letter: &DeadLetter) {
        let older = OlderLetter {
            at: letter.at,
            distribution: letter.distribution.as_ref().map(hash),
            paths: letter.paths.iter().map(hash).collect(),
        };
        self.paths += older.paths.len();
        self.letters.push_back(older);
        while self.letters.len() > LETTERS_MAX || self.paths > PATHS_MAX {
            let Some(oldest) = self.letters.pop_front() else {
                break;
            };
            self.paths -= oldest.paths.len();
        }
    }

    pub(super) fn is_concerned(&self, redrive: &Redrive) -> bool {
        let meant = Meant::by(redrive);
        self.letters.iter().any(|letter| meant.covers(letter))
    }

    /// Takes out what an operator put back. Returns how many.
    pub(super) fn take(&mut self, redrive: &Redrive) -> u64 {
        let (meant, before) = (Meant::by(redrive), self.letters.len());
        self.letters.retain(|letter| !meant.covers(letter));
        self.paths = self.letters.iter().map(|letter| letter.paths.len()).sum();
        to_u64(before - self.letters.len())
    }
}

/// The letters that a redrive is about, as [`Redrive::covers`] has it.
struct Meant {
    until: Timestamp,
    of: Option<(u64, HashSet<u64>)>,
}

impl Meant {
    fn by(redrive: &Redrive) -> Self {
        let of = redrive.of.as_ref();
        Self {
            until: redrive.redriven_at,
            of: of.map(|(distribution, paths)| {
                (hash(distribution), paths.iter().map(hash).collect())
            }),
        }
    }

    fn covers(&self, letter: &OlderLetter) -> bool {
        let is_meant = self.of.as_ref().is_none_or(|(distribution, paths)| {
            letter.distribution == Some(*distribution)
                && letter.paths.iter().all(|path| paths.contains(path))
        });
        is_meant && letter.at <= self.until
    }
}

fn hash(text: impl AsRef<str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.as_ref().hash(&mut hasher);
    hasher.finish()
}
