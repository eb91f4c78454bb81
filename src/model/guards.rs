//! Guards: version watermarks, and the names of the keys that hold them.

use std::time::Duration;

use super::keys::KeySet;

/// Most digits of a version: `u128` in decimal.
pub const VERSION_DIGITS_MAX: usize = 39;

/// Guards to raise, each once, to the highest version that was asked for.
#[derive(Debug, Default)]
pub struct Guards {
    keys: KeySet,
    /// In the order of the keys, each with the offset at which its key begins.
    raises: Vec<(usize, Raise)>,
}

#[derive(Clone, Copy, Debug)]
struct Raise {
    version: u128,
    ttl: Duration,
}

impl Guards {
    /// Asks for `key` to be raised to `version` and kept for `ttl`.
    pub fn raise(&mut self, key: &[u8], version: u128, ttl: Duration) {
        let (start, new) = self.keys.place(key);
        if new {
            self.raises.push((start, Raise { version, ttl }));
            return;
        }
        let there = self
            .raises
            .binary_search_by_key(&start, |(start, _)| *start);
        if let Some((_, raise)) = there.ok().and_then(|index| self.raises.get_mut(index)) {
            raise.version = raise.version.max(version);
            raise.ttl = raise.ttl.max(ttl);
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The memory that the guards take, in bytes.
    pub fn size(&self) -> usize {
        self.keys.size() + self.raises.len() * size_of::<(usize, Raise)>()
    }

    /// Key, version and time to live of each guard, in the order in which they
    /// came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u128, Duration)> {
        self.keys
            .iter()
            .zip(&self.raises)
            .map(|(key, (_, raise))| (key, raise.version, raise.ttl))
    }
}

/// The names that a rule's guards can have: fixed texts, with anything between
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardPattern {
    /// The fixed texts in order; the first begins the name, the last ends it.
    texts: Vec<Vec<u8>>,
}

impl GuardPattern {
    /// The names that begin with the first of `texts`, end with the last, and
    /// hold the others in between. One text alone is the name itself.
    pub fn new(texts: Vec<Vec<u8>>) -> Self {
        Self { texts }
    }

    /// Whether `key` is such a name.
    pub fn matches(&self, key: &[u8]) -> bool {
        let Some((first, rest)) = self.texts.split_first() else {
            return false;
        };
        let Some((last, between)) = rest.split_last() else {
            return first == key;
        };
        let Some(middle) = key
            .strip_prefix(first.as_slice())
            .and_then(|rest| rest.strip_suffix(last.as_slice()))
        else {
            return false;
        };
        let mut left = Some(middle);
        for text in between {
            left = left.and_then(|left| after(left, text));
        }
        left.is_some()
    }
}

/// The part of `key` after the first `text` in it.
fn after<'k>(key: &'k [u8], text: &[u8]) -> Option<&'k [u8]> {
    if text.is_empty() {
        return Some(key);
    }
    let at = key.windows(text.len()).position(|window| window == text)?;
    key.get(at + text.len()..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equal_guards_collapse_to_the_highest_version(
            asked in prop::collection::vec(("[ab]{0,2}", any::<u128>(), 0_u64..9), 0..40),
        ) {
            let mut guards = Guards::default();
            let mut expected: Vec<(&[u8], u128, Duration)> = Vec::new();
            for (key, version, seconds) in &asked {
                let (key, ttl) = (key.as_bytes(), Duration::from_secs(*seconds));
                guards.raise(key, *version, ttl);
                match expected.iter_mut().find(|(other, ..)| *other == key) {
                    Some(there) => *there = (key, there.1.max(*version), there.2.max(ttl)),
                    None => expected.push((key, *version, ttl)),
                }
            }
            prop_assert_eq!(guards.len(), expected.len());
            prop_assert_eq!(guards.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = |texts: &[&str]| {
            GuardPattern::new(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
        };
        let cases: [(&[&str], &str, bool); 10] = [
            (&["user:{", "}:guard"], "user:{7}:guard", true),
            (&["user:{", "}:guard"], "user:{7}:guards", false),
            (&["user:{", "}:guard"], "xuser:{7}:guard", false),
            (&["a", "a"], "a", false),
            (&["a", "b", "c"], "axbxc", true),
            (&["a", "b", "c"], "axc", false),
            (&["", "", ""], "anything", true),
            (&["whole"], "whole", true),
            (&["whole"], "wholes", false),
            (&[], "", false),
        ];
        for (texts, key, expected) in cases {
            assert_eq!(pattern(texts).matches(key.as_bytes()), expected, "{key}");
        }
    }
}
