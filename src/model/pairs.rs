//! Pairs of byte strings in one allocation.

use super::cast::{to_u64, to_usize};
use super::keys::KeySet;

/// Distinct pairs of byte strings in the order in which they came: a hash and
/// its field, or a tag set and the prefix of its members.
#[derive(Clone, Debug, Default)]
pub struct PairSet {
    /// Each pair as the length of the first, the first, and the second.
    pairs: KeySet,
    /// A buffer for the pair that is added.
    pair: Vec<u8>,
}

/// Size of the first's length, in bytes.
const LENGTH_BYTES: usize = size_of::<u64>();

impl PairSet {
    /// Adds a pair; `false` if it was there.
    pub fn insert(&mut self, first: &[u8], second: &[u8]) -> bool {
        let length = to_u64(first.len());
        self.pair.clear();
        self.pair.extend_from_slice(&length.to_be_bytes());
        self.pair.extend_from_slice(first);
        self.pair.extend_from_slice(second);
        self.pairs.insert(&self.pair)
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The memory that the pairs and their index take, in bytes.
    pub fn size(&self) -> usize {
        self.pairs.size()
    }

    /// The pairs in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|pair| {
            let (length, both) = pair.split_at_checked(LENGTH_BYTES).unwrap_or_default();
            let length = length.try_into().map_or(0, u64::from_be_bytes);
            let length = to_usize(length);
            both.split_at_checked(length).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_that_differ_stay_apart(
            pairs in prop::collection::vec(("[ab]{0,3}", "[ab]{0,3}"), 0..60),
        ) {
            let mut set = PairSet::default();
            let mut expected: Vec<(&[u8], &[u8])> = Vec::new();
            for (first, second) in &pairs {
                let pair = (first.as_bytes(), second.as_bytes());
                prop_assert_eq!(set.insert(pair.0, pair.1), !expected.contains(&pair));
                if !expected.contains(&pair) {
                    expected.push(pair);
                }
            }
            prop_assert_eq!(set.len(), expected.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        }
    }
}
