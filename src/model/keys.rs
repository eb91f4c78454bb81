//! Keys in one allocation: a list, and a set.

use hashbrown::HashTable;

/// Byte strings in the order in which they came, each after its length: a byte
/// or two more than the keys themselves.
#[derive(Clone, Debug, Default)]
pub struct KeyList {
    bytes: Vec<u8>,
    len: usize,
}

/// Bits of a length in each of its bytes; the highest bit says that more follow.
const LENGTH_BITS: u32 = 7;
const MORE: u8 = 1 << LENGTH_BITS;

impl KeyList {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that the keys take, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The keys in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (key, left) = first_key(rest)?;
            rest = left;
            Some(key)
        })
    }

    /// Adds a key, and returns the offset at which it begins.
    fn push(&mut self, key: &[u8]) -> usize {
        let start = self.bytes.len();
        let mut length = key.len();
        while let Some(more @ 1..) = length.checked_shr(LENGTH_BITS) {
            self.bytes.push(low_bits(length) | MORE);
            length = more;
        }
        self.bytes.push(low_bits(length));
        self.bytes.extend_from_slice(key);
        self.len += 1;
        start
    }

    /// The key that begins at `start`.
    fn at(&self, start: usize) -> &[u8] {
        let rest = self.bytes.get(start..).unwrap_or_default();
        first_key(rest).map_or(&[], |(key, _)| key)
    }
}

fn low_bits(length: usize) -> u8 {
    u8::try_from(length & usize::from(MORE - 1)).unwrap_or_default()
}

/// The first key, and the bytes after it.
fn first_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    let mut shift = 0;
    let mut rest = bytes;
    loop {
        let (byte, left) = rest.split_first()?;
        rest = left;
        length |= usize::from(byte & (MORE - 1)) << shift;
        shift += LENGTH_BITS;
        if byte & MORE == 0 {
            return rest.split_at_checked(length);
        }
    }
}

/// Distinct keys in the order in which they came. Adding a key that is there
/// already costs one look-up.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: KeyList,
    /// The offset at which each key begins.
    table: HashTable<usize>,
    hasher: foldhash::fast::RandomState,
}

impl KeySet {
    /// An empty set with room for the keys of `other`, unless they take more than
    /// `at_most` bytes: a batch that gathers under load is about as large as the
    /// one before.
    pub fn like(other: &KeySet, at_most: usize) -> Self {
        if other.size() > at_most {
            return Self::default();
        }
        Self {
            keys: KeyList {
                bytes: Vec::with_capacity(other.keys.bytes.len()),
                len: 0,
            },
            table: HashTable::with_capacity(other.len()),
            hasher: other.hasher.clone(),
        }
    }

    /// Adds `key`; `false` if it was there.
    pub fn insert(&mut self, key: &[u8]) -> bool {
        self.place(key).1
    }

    /// Adds `key`, and returns the offset at which it begins, which grows with
    /// every new key, and whether it is new.
    pub(super) fn place(&mut self, key: &[u8]) -> (usize, bool) {
        use std::hash::BuildHasher;
        let Self {
            keys,
            table,
            hasher,
        } = self;
        let hash = hasher.hash_one(key);
        if let Some(start) = table.find(hash, |start| keys.at(*start) == key) {
            return (*start, false);
        }
        let start = keys.push(key);
        let rehash = |start: &usize| hasher.hash_one(keys.at(*start));
        table.insert_unique(hash, start, rehash);
        (start, true)
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(key);
        let same = |start: &usize| self.keys.at(*start) == key;
        self.table.find(hash, same).is_some()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The memory that the keys and their index take, in bytes.
    pub fn size(&self) -> usize {
        self.keys.size() + self.len() * (size_of::<usize>() + 1)
    }

    /// The keys in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter()
    }

    pub fn keys(&self) -> &KeyList {
        &self.keys
    }

    /// The keys alone, in half the memory.
    pub fn into_keys(self) -> KeyList {
        let mut keys = self.keys;
        keys.bytes.shrink_to_fit();
        keys
    }
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
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected.clone());
            let keys = set.into_keys();
            prop_assert_eq!(keys.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_key_can_be_of_any_length() {
        let lengths = [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_152];
        let mut set = KeySet::default();
        for length in lengths {
            assert!(set.insert(&vec![b'k'; length]));
            assert!(!set.insert(&vec![b'k'; length]));
        }
        assert_eq!(set.len(), lengths.len());
        let keys = set.into_keys();
        let held: Vec<usize> = keys.iter().map(<[u8]>::len).collect();
        assert_eq!(held, lengths);
    }
}
