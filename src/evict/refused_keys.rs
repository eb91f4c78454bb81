//! Keys that the cache refuses for good (Retried or reported).

use std::time::Duration;

use tokio::time::Instant;

use super::marks::Mark;
use crate::cache::Refused;
use crate::ledger::{BinlogPlace, DeadLetter};
use crate::progress::board::Reports;
use crate::telemetry::metric;

/// Shortest time between two log lines: with a wrong account every key is
/// refused.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts refused keys, and logs the first of them every [`LOG_INTERVAL`].
#[derive(Debug)]
pub(super) struct RefusedKeys<'a> {
    reports: &'a Reports,
    logged_at: Option<Instant>,
    /// Keys refused since the last log line.
    unlogged: usize,
}

/// Most keys of a batch that are put on record one by one. If there are more,
/// the account lacks a right, and single keys say nothing.
const LETTERS_MAX: usize = 1_000;

const REMEDY: &str = "the entry stays as it was: let evictd's account change it, or correct what it holds, then delete the key by hand";

impl<'a> RefusedKeys<'a> {
    pub(super) fn new(reports: &'a Reports) -> Self {
        Self {
            reports,
            logged_at: None,
            unlogged: 0,
        }
    }

    /// Puts keys on record that are not deleted again. `mark` is the end of
    /// their batch.
    pub(super) fn give_up<'k>(
        &self,
        refused: impl Iterator<Item = &'k Refused>,
        mark: Option<&Mark>,
    ) {
        let mut refused = refused.peekable();
        if refused.peek().is_none() {
            return;
        }
        let position = mark.map(|mark| BinlogPlace::from(&mark.position));
        let letter = |refused: &Refused, detail: String| {
            let mut letter = DeadLetter::new(refused.code, detail, REMEDY).of_key(&refused.key);
            letter.position.clone_from(&position);
            letter.rules = self.reports.rules.names_of_key(&refused.key);
            letter
        };
        let mut letters: Vec<DeadLetter> = refused
            .by_ref()
            .take(LETTERS_MAX)
            .map(|refused| letter(refused, refused.reason.clone()))
            .collect();
        if let Some(next) = refused.next() {
            let more = refused.count();
            let detail = format!("{}; and {more} more keys of the same batch", next.reason);
            letters.push(letter(next, detail));
        }
        self.reports.ledger.dead_letters(letters);
    }

    /// Counts keys that were refused, and logs the first of them.
    pub(super) fn report(&mut self, refused: &[Refused]) {
        for key in refused {
            metrics::counter!(metric::CACHE_KEYS_REFUSED, "error" => key.code).increment(1);
        }
        self.unlogged += refused.len();
        let Some(first) = refused.first().filter(|_| self.is_due()) else {
            return;
        };
        // Outside of the macro, which evaluates nothing where the level is off.
        let keys = std::mem::take(&mut self.unlogged);
        tracing::error!(
            key = %String::from_utf8_lossy(&first.key),
            error = first.code,
            reason = first.reason,
            keys,
            "the cache refuses keys for good: they stay as they are, and everything else goes on"
        );
        self.logged_at = Some(Instant::now());
    }

    fn is_due(&self) -> bool {
        self.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(count: usize) -> Vec<Refused> {
        let one = Refused {
            key: b"user:1".to_vec(),
            code: "no-permission",
            reason: "NOPERM".to_owned(),
        };
        vec![one; count]
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_line_every_ten_seconds_with_the_number_of_keys() {
        let reports = Reports::default();
        let mut refused_keys = RefusedKeys::new(&reports);
        refused_keys.report(&[]);
        assert_eq!(refused_keys.logged_at, None, "nothing happened");
        refused_keys.report(&refused(3));
        assert!(refused_keys.logged_at.is_some());
        assert_eq!(refused_keys.unlogged, 0, "the first is logged at once");
        for _ in 0..100 {
            refused_keys.report(&refused(2));
        }
        assert_eq!(refused_keys.unlogged, 200);
        tokio::time::advance(LOG_INTERVAL).await;
        refused_keys.report(&refused(1));
        assert_eq!(refused_keys.unlogged, 0);
    }

    #[test]
    fn of_a_flood_a_thousand_keys_are_listed_and_the_rest_is_counted() {
        let reports = Reports::default();
        let refused_keys = RefusedKeys::new(&reports);
        refused_keys.give_up(refused(0).iter(), None);
        assert_eq!(reports.ledger.summary().dead_letters, 0);
        refused_keys.give_up(refused(LETTERS_MAX + 8).iter(), None);
        let book = reports.ledger.summary();
        assert_eq!(book.dead_letters, 1_001);
        let last = book.recent_dead_letters.back().unwrap();
        assert_eq!(last.detail, "NOPERM; and 7 more keys of the same batch");
    }
}
