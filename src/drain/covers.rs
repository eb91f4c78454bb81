//! That paths go under wildcards, since a request with them is refused and it is not
//! known for which of them: on the board for as long as it goes on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Time after the last one for which it counts as going on.
const GOES_ON_FOR: Duration = Duration::from_secs(60);

/// Paths that are named, of those of which one is bad.
const NAMED_MAX: usize = 3;

/// Locked for moments, never across an await.
#[derive(Debug, Default)]
pub(super) struct Covers {
    state: Mutex<Option<Covered>>,
}

#[derive(Debug)]
struct Covered {
    since: Timestamp,
    last: Instant,
    paths: usize,
    among: String,
}

impl Covers {
    /// Takes in that so many paths went under wildcards. One of `among` is bad.
    pub(super) fn add(&self, paths: usize, among: &[String]) {
        let mut state = self.lock();
        let covered = state.get_or_insert_with(|| Covered {
            since: Timestamp::now(),
            last: Instant::now(),
            paths: 0,
            among: String::new(),
        });
        covered.last = Instant::now();
        covered.paths += paths;
        let named: Vec<&str> = among.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = among.len() - named.len();
        covered.among = match more {
            0 => named.join(", "),
            _ => format!("{} and {more} more", named.join(", ")),
        };
    }

    /// Since when that goes on, and what there is to say.
    pub(super) fn trouble(&self) -> Option<(Timestamp, String)> {
        let state = self.lock();
        let covered = state.as_ref()?;
        let text = format!(
            "{} paths went under wildcards, which empty other pages too: CloudFront refuses requests with them, and it is not known for which path; correct the rule that makes it, or what CloudFront's answer names: it is one of {}",
            covered.paths, covered.among
        );
        Some((covered.since, text))
    }

    /// Whether it is over, once.
    pub(super) fn end(&self) -> bool {
        let is_over = |covered: &mut Covered| covered.last.elapsed() >= GOES_ON_FOR;
        self.lock().take_if(is_over).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Covered>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
