//! Paths that the edge refused when it was asked for each of them alone.
//!
//! Only such a refusal is about a path, and only a second one, half a minute later,
//! ends in a dead letter. It is remembered for a while, so that a rule which renders
//! the same path again and again pays for one call in half a minute and not for two a
//! message. A message that came after the last refusal waits for the next: somebody may
//! have mended something in between.
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

/// Time between two refusals of a path after which it is refused for good: the edge
/// may refuse everything for a moment, and no message is to be buried for that.
pub(super) const CONFIRMED_AFTER: Duration = Duration::from_secs(30);

/// Time for which the last refusal of a path counts. Afterwards it only looks like one
/// that was refused.
const COUNTS_FOR: Duration = Duration::from_secs(300);

/// The edge's answer to a path that it was asked for alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// A short name, for metrics.
    pub(super) code: &'static str,
    /// The edge's words.
    pub(super) reason: Arc<str>,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Unknown,
    /// It looks like one that was refused.
    Similar,
    /// It was refused alone, and is to be asked for again then.
    RefusedOnce(Instant),
    /// It was refused alone twice, at least half a minute apart, and last then.
    RefusedForGood(Refusal, Instant),
}

/// What one distribution refused.
#[derive(Debug)]
pub(super) struct RefusedPaths {
    paths: LruCache<Box<str>, RefusedPath>,
    shapes: LruCache<Box<str>, ()>,
}

#[derive(Debug)]
struct RefusedPath {
    first: Instant,
    last: Instant,
    refusal: Refusal,
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
    /// The edge refused the path alone.
    pub(super) fn add(&mut self, path: &str, refusal: Refusal) {
        self.set_apart(path);
        let last = Instant::now();
        let first = self.paths.peek(path).map_or(last, |known| known.first);
        let refused = RefusedPath {
            first,
            last,
            refusal,
        };
        self.paths.put(path.into(), refused);
    }

    /// Paths such as this one are to share no request with others.
    pub(super) fn set_apart(&mut self, path: &str) {
        self.shapes.put(shape(path), ());
    }

    /// The edge accepted these.
    pub(super) fn accepted<S: AsRef<str>>(&mut self, paths: impl IntoIterator<Item = S>) {
        if self.is_empty() {
            return;
        }
        for path in paths {
            let path = path.as_ref();
            self.shapes.pop(&*shape(path));
            self.paths.pop(path);
        }
    }

    /// Refusals of the path up to this long ago say nothing any more: somebody has
    /// mended something since.
    pub(super) fn forget(&mut self, path: &str, age: Duration) {
        let before = |known: &RefusedPath| known.last.elapsed() >= age;
        if self.paths.peek(path).is_some_and(before) {
            self.paths.pop(path);
        }
    }

    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.shapes.is_empty()
    }

    pub(super) fn standing(&mut self, path: &str) -> Standing {
        if self.is_empty() {
            return Standing::Unknown;
        }
        match self.paths.get(path) {
            Some(known) if known.last.elapsed() >= COUNTS_FOR => Standing::Similar,
            Some(known) if known.last - known.first >= CONFIRMED_AFTER => {
                Standing::RefusedForGood(known.refusal.clone(), known.last)
            }
            Some(known) => Standing::RefusedOnce(known.first + CONFIRMED_AFTER),
            None if self.shapes.get(&*shape(path)).is_some() => Standing::Similar,
            None => Standing::Unknown,
        }
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
    async fn a_path_is_refused_for_good_once_it_was_refused_twice_half_a_minute_apart() {
        let mut refused = RefusedPaths::default();
        let begun = Instant::now();
        for _ in 0..3 {
            refused.add("/bad/7", refusal());
            let again = Standing::RefusedOnce(begun + CONFIRMED_AFTER);
            assert_eq!(refused.standing("/bad/7"), again);
            tokio::time::sleep(CONFIRMED_AFTER / 3).await;
        }
        assert_eq!(refused.standing("/bad/8"), Standing::Similar);
        refused.add("/bad/7", refusal());
        let for_good = || Standing::RefusedForGood(refusal(), Instant::now());
        assert_eq!(refused.standing("/bad/7"), for_good());
        tokio::time::sleep(COUNTS_FOR).await;
        assert_eq!(refused.standing("/bad/7"), Standing::Similar, "again");
        refused.add("/bad/7", refusal());
        assert_eq!(refused.standing("/bad/7"), for_good());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_mended_since_is_forgotten() {
        let mut refused = RefusedPaths::default();
        refused.add("/bad/7", refusal());
        tokio::time::sleep(CONFIRMED_AFTER).await;
        refused.add("/bad/7", refusal());
        let for_good = Standing::RefusedForGood(refusal(), Instant::now());
        tokio::time::sleep(CONFIRMED_AFTER).await;
        refused.forget("/bad/7", CONFIRMED_AFTER * 2);
        assert_eq!(refused.standing("/bad/7"), for_good, "refused since");
        refused.forget("/bad/7", CONFIRMED_AFTER / 2);
        assert_eq!(refused.standing("/bad/7"), Standing::Similar);
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_like_a_refused_path_does_so_until_one_is_accepted() {
        let mut refused = RefusedPaths::default();
        assert_eq!(refused.standing("/bad/7"), Standing::Unknown);
        refused.add("/bad/7", refusal());
        for (path, standing) in [
            ("/bad/1234", Standing::Similar),
            ("/bad/x", Standing::Unknown),
            ("/good/7", Standing::Unknown),
        ] {
            assert_eq!(refused.standing(path), standing, "{path}");
        }
        refused.accepted(["/good/7", "/bad/10"]);
        assert_eq!(refused.standing("/bad/8"), Standing::Unknown);
        let its_own = refused.standing("/bad/7");
        assert!(matches!(its_own, Standing::RefusedOnce(_)), "{its_own:?}");
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
