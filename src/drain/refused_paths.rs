//! Paths that the edge refused when it was asked for each of them alone.
//!
//! Only such a refusal is about a path, and only it may end in a dead letter. It is
//! remembered for a while, so that a rule which renders the same path again and
//! again pays for one call and not for one a message.
//!
//! A rule that renders refused paths renders more that look like them. So their
//! *shapes* are remembered too: the path without the values of its numbers. A
//! shape proves nothing and condemns nobody. It only keeps a path from sharing a
//! request with others until the edge has accepted one of its shape.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// Paths that are remembered (Bounded). One that is forgotten is asked for again.
const PATHS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
const SHAPES_MAX: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Time for which the first refusal of a path counts, and each later one. Afterwards
/// the edge is asked again: it may have refused everything for a moment, and no
/// message is to be buried for that.
const FIRST_COUNTS_FOR: Duration = Duration::from_secs(30);
const COUNTS_FOR: Duration = Duration::from_secs(300);

/// The edge's answer to a path that it was asked for alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// A short name, for metrics.
    pub(super) code: &'static str,
    /// The edge's words.
    pub(super) reason: Arc<str>,
}

/// What one distribution refused.
#[derive(Debug)]
pub(super) struct RefusedPaths {
    /// Each with its last refusal, and how long that counts.
    paths: LruCache<Box<str>, (Instant, Duration, Refusal)>,
    shapes: LruCache<Box<str>, ()>,
}

impl Default for RefusedPaths {
    fn default() -> Self {
        Self {
            paths: LruCache::new(PATHS_MAX),
            shapes: LruCache::new(SHAPES_MAX),
        }
    }
}

impl RefusedPaths {
    pub(super) fn add(&mut self, path: &str, refusal: Refusal) {
        self.shapes.put(shape(path), ());
        let counts_for = match self.paths.peek(path) {
            Some(_) => COUNTS_FOR,
            None => FIRST_COUNTS_FOR,
        };
        let refused = (Instant::now(), counts_for, refusal);
        self.paths.put(path.into(), refused);
    }

    /// The edge accepted these.
    pub(super) fn accepted<S: AsRef<str>>(&mut self, paths: impl IntoIterator<Item = S>) {
        if self.shapes.is_empty() {
            return;
        }
        for path in paths {
            let path = path.as_ref();
            self.shapes.pop(&*shape(path));
            self.paths.pop(path);
        }
    }

    /// The refusal of the path, if it still counts.
    pub(super) fn refusal(&mut self, path: &str) -> Option<Refusal> {
        let (at, counts_for, refusal) = self.paths.get(path)?;
        (at.elapsed() < *counts_for).then(|| refusal.clone())
    }

    /// Whether the path looks like one that was refused.
    pub(super) fn resembles(&mut self, path: &str) -> bool {
        !self.shapes.is_empty() && self.shapes.get(&*shape(path)).is_some()
    }
}

/// The path with one `0` for each number in it.
fn shape(path: &str) -> Box<str> {
    let mut shape = String::with_capacity(path.len());
    for character in path.chars() {
        if !character.is_ascii_digit() {
            shape.push(character);
        } else if !shape.ends_with('0') {
            shape.push('0');
        }
    }
    shape.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            code: "invalid-path",
            reason: "on purpose".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_about_its_path_and_counts_for_a_while() {
        let mut refused = RefusedPaths::default();
        refused.add("/bad/7", refusal());
        assert_eq!(refused.refusal("/bad/7"), Some(refusal()));
        assert_eq!(refused.refusal("/bad/8"), None);
        tokio::time::sleep(FIRST_COUNTS_FOR).await;
        assert_eq!(refused.refusal("/bad/7"), None);
        refused.add("/bad/7", refusal());
        tokio::time::sleep(FIRST_COUNTS_FOR).await;
        assert_eq!(refused.refusal("/bad/7"), Some(refusal()));
        tokio::time::sleep(COUNTS_FOR).await;
        assert_eq!(refused.refusal("/bad/7"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_like_a_refused_path_does_so_until_one_is_accepted() {
        let mut refused = RefusedPaths::default();
        assert!(!refused.resembles("/bad/7"));
        refused.add("/bad/7", refusal());
        for (path, resembles) in [("/bad/1234", true), ("/bad/x", false), ("/good/7", false)] {
            assert_eq!(refused.resembles(path), resembles, "{path}");
        }
        refused.accepted(["/good/7", "/bad/10"]);
        assert!(!refused.resembles("/bad/8"));
        assert_eq!(refused.refusal("/bad/7"), Some(refusal()), "its own");
    }

    #[tokio::test(start_paused = true)]
    async fn it_remembers_a_bounded_number() {
        let mut refused = RefusedPaths::default();
        for n in 0..PATHS_MAX.get() + 10 {
            let letters: String = n
                .to_string()
                .bytes()
                .map(|digit| char::from(digit + 49))
                .collect();
            refused.add(&format!("/{letters}"), refusal());
        }
        assert_eq!(refused.paths.len(), PATHS_MAX.get());
        assert_eq!(refused.shapes.len(), SHAPES_MAX.get());
    }
}
