//! What was paid for, and what of it nothing asked for.

use std::time::{Duration, Instant};

use super::probes::{PREFIX, Probes};
use super::shapes::now_us;
use super::world::World;
use crate::support::{FakeInvalidation, PaidTwice, paid_twice};

/// Of all probes: each of them changes once, so that one invalidation of its path will do.
#[derive(Debug)]
pub struct Bill {
    /// How many of their paths were accepted, each as often as it was.
    pub paid: usize,
    /// Those that were accepted though an earlier invalidation of the distribution had come after the path's key
    /// had settled, and no fault in between is an excuse.
    pub twice: Vec<String>,
    /// And those with an excuse.
    pub excused: usize,
}

impl Bill {
    /// `excuses` are times in µs since the epoch.
    pub fn new(world: &World, probes: &Probes, excuses: &[(u64, u64)]) -> Self {
        let made = world.cloudfront.made();
        let all = paid_twice(&made, &probes.settled(world.settles()));
        let (now, now_us) = (Instant::now(), now_us());
        let ago = |us: u64| now - Duration::from_micros(now_us.saturating_sub(us));
        let excuses = excuses.iter().map(|&(from, to)| (ago(from), ago(to)));
        let excuses: Vec<(Instant, Instant)> = excuses.collect();
        let (excused, twice): (Vec<_>, Vec<_>) = all.into_iter().partition(|twice| {
            let mut excuses = excuses.iter();
            excuses.any(|(from, to)| twice.asked_for < *to && *from < twice.again)
        });
        let paths = made.iter().flat_map(|made| &made.paths);
        Self {
            paid: paths.filter(|path| path.starts_with(PREFIX)).count(),
            twice: twice.iter().map(|twice| told(twice, &made)).collect(),
            excused: excused.len(),
        }
    }

    /// Under one in a hundred: the binlog is read again after some faults.
    pub fn good_enough(&self) -> bool {
        self.twice.len() * 100 <= self.paid
    }
}

fn told(twice: &PaidTwice, made: &[FakeInvalidation]) -> String {
    let ago = |at: Instant| twice.again.duration_since(at).as_secs_f64();
    let before = made.iter().find(|made| made.at == twice.before);
    let paths = before.map_or(0, |made| made.paths.len());
    format!(
        "{}, {:.1} s after it had settled and {:.1} s after {} in a request of {paths}",
        twice.item,
        ago(twice.asked_for),
        ago(twice.before),
        if twice.is_same {
            "it went"
        } else {
            "a wildcard over it went"
        },
    )
}
