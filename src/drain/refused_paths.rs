//! Paths that the edge refused when it was asked for each of them alone.
//!
//! Only such a refusal is about a path, and only while others are accepted: an edge
//! that refuses everything says nothing about any of it. A second one, half a minute
//! later, ends in a dead letter. Each is remembered for a while, so that a rule which
//! renders the same path again and again pays for one call in half a minute and not for
//! two a message. A message that came after the last refusal waits for the next:
//! somebody may have mended something in between.
//!
//! A rule that renders refused paths renders more that look like them. So their
//! *shapes* are remembered too: the path without the values of its numbers. A
//! shape proves nothing and condemns nobody. It only keeps a path from sharing a
//! request with others until the edge has accepted one of its shape.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lru::LruCache;
use tokio::time::Instant;

/// Paths that are remembered (Bounded). One that is forgotten is asked for again.
const PATHS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
const SHAPES_MAX: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Time between two refusals of a path after which it is refused for good, and from one
/// attempt to the next.
pub(super) const CONFIRMED_AFTER: Duration = Duration::from_secs(30);

/// Time for which the last refusal of a path counts, which is longer than any pause.
/// Afterwards it only looks like one that was refused.
const COUNTS_FOR: Duration = Duration::from_secs(600);

/// Pauses between attempts at a path that is refused for a reason which nobody knows:
/// the first, and the longest. While nothing is accepted, it is the first.
const APART: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Refusals of a path that is held after which that is trouble: while others are accepted,
/// it is not held any longer after two.
const REFUSALS_MAX: u32 = 3;

/// The edge's answer to a path that it was asked for alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// A short name, for metrics.
    pub(super) code: &'static str,
    /// The edge's words.
    pub(super) reason: Arc<str>,
}

/// What a refusal says about its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nothing: the edge accepts no others.
    None,
    /// That the edge does not take it, as it takes others.
    Counts,
    /// The same, for a reason that nobody knows.
    Unclear,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Unknown,
    /// It looks like one that was refused.
    Similar,
    /// It was refused alone.
    Refused(RefusedPath),
}

/// A path that was refused alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedPath {
    pub(super) refusal: Refusal,
    pub(super) since: Timestamp,
    pub(super) times: u32,
    /// When it may be asked for again.
    pub(super) again: Instant,
    /// When it was last refused.
    last: Instant,
    /// What the last refusal says.
    weight: Weight,
    /// The first refusal that counts.
    counts_since: Option<Instant>,
}

/// What one distribution refused.
#[derive(Debug)]
pub(super) struct RefusedPaths {
    paths: LruCache<Box<str>, RefusedPath>,
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

impl RefusedPath {
    fn new(refusal: Refusal) -> Self {
        Self {
            refusal,
            since: Timestamp::now(),
            times: 0,
            again: Instant::now(),
            last: Instant::now(),
            weight: Weight::None,
            counts_since: None,
        }
    }

    /// Whether somebody has to look at it: it is refused for a reason that nobody knows,
    /// or too often.
    pub(super) fn is_trouble(&self) -> bool {
        self.weight == Weight::Unclear || self.times >= REFUSALS_MAX
    }

    /// Whether it is refused for good, for messages that came until `arrived`.
    pub(super) fn is_final(&self, arrived: Instant) -> bool {
        let first = self.counts_since.filter(|_| self.weight == Weight::Counts);
        first.is_some_and(|first| self.last - first >= CONFIRMED_AFTER) && self.last >= arrived
    }
}

impl RefusedPaths {
    /// The edge refused the path alone.
    pub(super) fn add(&mut self, path: &str, refusal: Refusal, weight: Weight) {
        self.shapes.put(shape(path), ());
        let now = Instant::now();
        let known = self
            .paths
            .get_or_insert_mut(path.into(), || RefusedPath::new(refusal.clone()));
        let mut pause = CONFIRMED_AFTER;
        match weight {
            Weight::None => pause = APART.0,
            Weight::Counts => {
                known.counts_since.get_or_insert(now);
            }
            Weight::Unclear => {
                let factor = 2_u32.checked_pow(known.times).unwrap_or(u32::MAX);
                pause = APART.0.saturating_mul(factor).min(APART.1);
            }
        }
        known.refusal = refusal;
        known.times += 1;
        (known.last, known.again) = (now, now + pause);
        known.weight = weight;
    }

    /// The edge accepted these. Returns whether one of them was refused before: what it
    /// was refused for may be mended for the others.
    pub(super) fn accepted<S: AsRef<str>>(&mut self, paths: impl IntoIterator<Item = S>) -> bool {
        let mut mended = false;
        if self.is_empty() {
            return mended;
        }
        for path in paths {
            let path = path.as_ref();
            self.shapes.pop(&*shape(path));
            mended |= self.paths.pop(path).is_some();
        }
        mended
    }

    /// Lets paths be asked for now whose last refusal says nothing.
    pub(super) fn again(&mut self) {
        for (_, known) in &mut self.paths {
            if known.weight == Weight::None {
                known.again = Instant::now();
            }
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
            Some(known) if known.last.elapsed() < COUNTS_FOR => Standing::Refused(known.clone()),
            Some(_) => Standing::Similar,
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

    fn counts(refused: &mut RefusedPaths, path: &str) {
        refused.add(path, refusal(), Weight::Counts);
    }

    /// Whether the path is refused for good; when it is asked for again otherwise.
    fn known(refused: &mut RefusedPaths, path: &str) -> Result<(), Duration> {
        match refused.standing(path) {
            Standing::Refused(known) if known.is_final(known.last) => Ok(()),
            Standing::Refused(known) => Err(known.again - Instant::now()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_refused_for_good_once_it_was_refused_twice_half_a_minute_apart() {
        let mut refused = RefusedPaths::default();
        for _ in 0..3 {
            counts(&mut refused, "/bad/7");
            assert_eq!(known(&mut refused, "/bad/7"), Err(CONFIRMED_AFTER));
            tokio::time::sleep(CONFIRMED_AFTER / 3).await;
        }
        assert_eq!(refused.standing("/bad/8"), Standing::Similar);
        counts(&mut refused, "/bad/7");
        assert_eq!(known(&mut refused, "/bad/7"), Ok(()));
        tokio::time::sleep(COUNTS_FOR).await;
        assert_eq!(refused.standing("/bad/7"), Standing::Similar, "again");
        counts(&mut refused, "/bad/7");
        assert_eq!(known(&mut refused, "/bad/7"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_while_nothing_is_accepted_says_nothing_about_its_path() {
        let mut refused = RefusedPaths::default();
        for weight in [Weight::None, Weight::None, Weight::Counts, Weight::None] {
            refused.add("/a", refusal(), weight);
            let pause = match weight {
                Weight::None => APART.0,
                _ => CONFIRMED_AFTER,
            };
            assert_eq!(known(&mut refused, "/a"), Err(pause));
            tokio::time::sleep(CONFIRMED_AFTER).await;
        }
        refused.add("/b", refusal(), Weight::Counts);
        refused.again();
        assert_eq!(known(&mut refused, "/a"), Err(Duration::ZERO));
        assert_eq!(known(&mut refused, "/b"), Err(CONFIRMED_AFTER));
        assert!(!refused.accepted(["/c"]));
        assert!(refused.accepted(["/b"]));
        counts(&mut refused, "/a");
        assert_eq!(known(&mut refused, "/a"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_for_an_unknown_reason_is_never_final_and_tried_later_and_later() {
        let mut refused = RefusedPaths::default();
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            refused.add("/odd", refusal(), Weight::Unclear);
            let pause = Duration::from_secs(seconds);
            assert_eq!(known(&mut refused, "/odd"), Err(pause));
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_mended_since_is_forgotten() {
        let mut refused = RefusedPaths::default();
        counts(&mut refused, "/bad/7");
        tokio::time::sleep(CONFIRMED_AFTER).await;
        counts(&mut refused, "/bad/7");
        tokio::time::sleep(CONFIRMED_AFTER).await;
        refused.forget("/bad/7", CONFIRMED_AFTER * 2);
        assert_eq!(known(&mut refused, "/bad/7"), Ok(()), "refused since");
        refused.forget("/bad/7", CONFIRMED_AFTER / 2);
        assert_eq!(refused.standing("/bad/7"), Standing::Similar);
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_like_a_refused_path_does_so_until_one_is_accepted() {
        let mut refused = RefusedPaths::default();
        assert_eq!(refused.standing("/bad/7"), Standing::Unknown);
        counts(&mut refused, "/bad/7");
        for (path, standing) in [
            ("/bad/1234", Standing::Similar),
            ("/bad/x", Standing::Unknown),
            ("/good/7", Standing::Unknown),
        ] {
            assert_eq!(refused.standing(path), standing, "{path}");
        }
        refused.accepted(["/good/7", "/bad/10"]);
        assert_eq!(refused.standing("/bad/8"), Standing::Unknown);
        assert_eq!(known(&mut refused, "/bad/7"), Err(CONFIRMED_AFTER));
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
            counts(&mut refused, &format!("/{letters}"));
        }
        assert_eq!(refused.paths.len(), PATHS_MAX.get());
        assert_eq!(refused.shapes.len(), SHAPES_MAX.get());
    }
}
