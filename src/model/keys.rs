//! A set of keys in one allocation.

use hashbrown::HashTable;

/// Distinct byte strings in the order in which they came. Adding one that is
/// there already costs a look-up and nothing else.
#[derive(Debug, Default)]
pub struct KeySet {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    table: HashTable<usize>,
    hasher: foldhash::fast::RandomState,
}

impl KeySet {
    /// Adds `key`; `false` if it was there.
    pub fn insert(&mut self, key: &[u8]) -> bool {
        self.place(key).1
    }

    /// Adds `key`, and says where it stands and whether it is new.
    pub fn place(&mut self, key: &[u8]) -> (usize, bool) {
        use std::hash::BuildHasher;
        let Self {
            bytes,
            ends,
            table,
            hasher,
        } = self;
        let hash = hasher.hash_one(key);
        if let Some(index) = table.find(hash, |index| key_at(bytes, ends, *index) == key) {
            return (*index, false);
        }
        bytes.extend_from_slice(key);
        ends.push(bytes.len());
        let rehash = |index: &usize| hasher.hash_one(key_at(bytes, ends, *index));
        let index = ends.len() - 1;
        table.insert_unique(hash, index, rehash);
        (index, true)
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(key);
        let same = |index: &usize| key_at(&self.bytes, &self.ends, *index) == key;
        self.table.find(hash, same).is_some()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The memory that the keys and their index take, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * (size_of::<usize>() * 2 + 1)
    }

    /// The keys in the order in which they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| key_at(&self.bytes, &self.ends, index))
    }
}

fn key_at<'k>(bytes: &'k [u8], ends: &[usize], index: usize) -> &'k [u8] {
    let start = index
        .checked_sub(1)
        .and_then(|before| ends.get(before))
        .copied();
    let end = ends.get(index).copied();
    bytes
        .get(start.unwrap_or(0)..end.unwrap_or(0))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_each_key_once_in_the_order_of_arrival(
            keys in prop::collection::vec(prop::collection::vec(0_u8..3, 0..3), 0..60),
        ) {
            let mut set = KeySet::default();
            let mut expected: Vec<&[u8]> = Vec::new();
            for key in &keys {
                prop_assert_eq!(set.contains(key), expected.contains(&key.as_slice()));
                prop_assert_eq!(set.insert(key), !expected.contains(&key.as_slice()));
                if !expected.contains(&key.as_slice()) {
                    expected.push(key);
                }
            }
            for key in [&b""[..], b"\0", b"\x01\x02", b"\x03"] {
                prop_assert_eq!(set.contains(key), expected.contains(&key));
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        }
    }
}
