//! What was paid for at CloudFront though nothing asked for it.

use std::collections::HashMap;
use std::time::Instant;

use super::FakeInvalidation;

/// A path that changed once, and when everything before the edge was done with that.
#[derive(Debug)]
pub struct ChangedPath {
    pub path: String,
    pub at: Instant,
}

/// A path or wildcard that was invalidated once more.
#[derive(Debug)]
pub struct PaidTwice {
    pub item: String,
    /// When what it matches last changed.
    pub asked_for: Instant,
    /// The last invalidation before that covers it.
    pub before: Instant,
    pub again: Instant,
    /// Whether it was the same path or wildcard that was invalidated before, and not only a wildcard over it.
    pub is_same: bool,
}

/// What was invalidated though the same distribution had accepted it, or a wildcard over it, after everything that
/// it matches had changed. Paths that are not among `changes` do not count.
pub fn paid_twice(made: &[FakeInvalidation], changes: &[ChangedPath]) -> Vec<PaidTwice> {
    let mut sorted: Vec<&ChangedPath> = changes.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut accepted: HashMap<(&str, &str), Instant> = HashMap::new();
    let mut wildcards: HashMap<(&str, &str), Instant> = HashMap::new();
    let mut twice = Vec::new();
    for invalidation in made {
        let distribution = invalidation.distribution.as_str();
        for item in &invalidation.paths {
            let wildcard = item.strip_suffix('*');
            let from = wildcard.unwrap_or(item);
            let from = sorted.partition_point(|change| change.path.as_str() < from);
            let matches = |change: &&ChangedPath| match wildcard {
                Some(prefix) => change.path.starts_with(prefix),
                None => change.path == *item,
            };
            let length = sorted[from..].partition_point(matches);
            let covering = wildcards
                .iter()
                .filter(|((of, prefix), _)| *of == distribution && item.starts_with(prefix))
                .map(|(_, at)| *at);
            let same = match wildcard {
                Some(prefix) => wildcards.get(&(distribution, prefix)),
                None => accepted.get(&(distribution, item.as_str())),
            };
            let before = covering.chain(same.copied()).max();
            // What changed after this acceptance needs another one.
            let asked_for = sorted[from..from + length].iter().map(|change| change.at);
            let asked_for = asked_for.filter(|at| *at <= invalidation.at).max();
            if let (Some(before), Some(asked_for)) = (before, asked_for)
                && before >= asked_for
            {
                twice.push(PaidTwice {
                    item: item.clone(),
                    asked_for,
                    before,
                    again: invalidation.at,
                    is_same: same.is_some_and(|at| *at >= asked_for),
                });
            }
        }
        for item in &invalidation.paths {
            match item.strip_suffix('*') {
                Some(prefix) => wildcards.insert((distribution, prefix), invalidation.at),
                None => accepted.insert((distribution, item), invalidation.at),
            };
        }
    }
    twice
}

#[test]
fn what_nothing_asked_for_is_paid_twice() {
    use std::time::Duration;

    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let changes = [("/a/1", 1), ("/a/2", 5), ("/b", 1)].map(|(path, at)| ChangedPath {
        path: path.to_owned(),
        at: after(at),
    });
    let made = |items: &[(&[&str], u64)]| {
        let made = items.iter().map(|(paths, at)| {
            let paths = paths.iter().map(|&path| path.to_owned()).collect();
            FakeInvalidation::example(paths, after(*at))
        });
        made.collect::<Vec<_>>()
    };
    let twice = |items| paid_twice(&made(items), &changes).len();
    let changed = "/a/2 changed in between";
    assert_eq!(twice(&[(&["/a*", "/b"], 2), (&["/a*"], 6)]), 0, "{changed}");
    assert_eq!(twice(&[(&["/a*", "/b"], 6), (&["/a*", "/b"], 7)]), 2);
    assert_eq!(twice(&[(&["/a*"], 2), (&["/a*"], 3)]), 1);
    assert_eq!(twice(&[(&["/a*"], 2), (&["/a/1"], 3), (&["/a/2"], 6)]), 1);
    assert_eq!(
        twice(&[(&["/a/1", "/a*"], 2), (&["/c"], 3), (&["/c"], 4)]),
        0
    );
    let mut elsewhere = made(&[(&["/b"], 2), (&["/b"], 3)]);
    elsewhere[1].distribution = "E2".to_owned();
    assert_eq!(paid_twice(&elsewhere, &changes).len(), 0);
}
