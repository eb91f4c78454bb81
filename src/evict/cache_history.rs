//! What was done when, and which of it a cache that went back has undone. Pure.
//!
//! Problem: a server that begins from its last snapshot, or a replica that takes
//! over before it has everything, has entries again that were deleted.
//!
//! Idea: the binlog says what was deleted. Reading goes back to a position before
//! which everything had been done when the snapshot was begun, and all that follows
//! is done again: keys, guards, tag sets and paths.
//!
//! What could go wrong: clocks of other machines. Only moments of this process
//! count: a snapshot that was saved between two looks began no earlier than the
//! first of them, less the time that saving took. Without a moment, or without a
//! position from before it, nothing is known, and everything is invalidated (Over,
//! never under).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cache_loss::CacheLoss;
use super::marks::Mark;
use crate::cache::ServerRun;
use crate::model::CacheRuns;

/// Longest time by which a replica may be behind when it takes over, and for which
/// a change that is appended to a file may not be on the disk yet.
const BEHIND_MAX: Duration = Duration::from_secs(60);

/// Seconds are rounded down in what servers say.
const ROUNDING: Duration = Duration::from_secs(1);

/// Moments that are remembered (Bounded). When there are more, every other one is
/// forgotten: reading then goes back further than it has to.
const MOMENTS_MAX: usize = 256;

/// What the cache's servers were when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct CacheHistory {
    runs: CacheRuns,
    looked_at: Option<Instant>,
    /// Each server, and a moment from which its last snapshot has everything.
    servers: HashMap<String, (ServerRun, Option<Instant>)>,
    /// Moments at which everything before a position was done.
    done: Vec<(Instant, Mark)>,
}

/// What a look at the cache's servers brought to light.
#[derive(Debug)]
pub(super) struct CacheNews {
    /// The servers from now on.
    pub(super) runs: CacheRuns,
    pub(super) loss: Option<CacheLoss>,
}

impl CacheHistory {
    /// Before it, the servers were `runs`; empty if that is not known.
    pub(super) fn new(runs: CacheRuns) -> Self {
        Self {
            runs,
            ..Self::default()
        }
    }

    /// Everything before `mark` was done by `at`.
    pub(super) fn done(&mut self, at: Instant, mark: &Mark) {
        let last = self.done.last().map(|(_, mark)| mark);
        // What was done before a loss may be undone.
        if mark.cache_runs != self.runs || last == Some(mark) {
            return;
        }
        if self.done.len() >= MOMENTS_MAX {
            let mut keep = false;
            self.done.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.done.push((at, mark.clone()));
    }

    /// Compares the servers, asked after `at`, with what they were before. `None`
    /// if they are the same.
    pub(super) fn look(&mut self, at: Instant, servers: Vec<ServerRun>) -> Option<CacheNews> {
        let runs: CacheRuns = Arc::new(servers.iter().map(|run| run.id.clone()).collect());
        let lost = self.lost(at, &servers, &runs);
        let since = lost.as_ref().and_then(|(since, _)| *since);
        if lost.is_some() {
            self.done.retain(|(at, _)| Some(*at) <= since);
        }
        let loss = lost.map(|(_, reason)| CacheLoss {
            from: self.done.last().map(|(_, mark)| mark.clone()),
            reason,
        });
        let before = std::mem::take(&mut self.servers);
        let looked_at = self.looked_at.replace(at);
        for run in servers {
            let saved = match before.get(&run.id) {
                Some((known, saved)) if known.saved_at == run.saved_at => *saved,
                Some(_) => looked_at
                    .and_then(|looked_at| looked_at.checked_sub(run.saving_took + ROUNDING)),
                // It loaded the snapshot of the one before, which it still has.
                None => since.filter(|_| began_since(looked_at, at, &run)),
            };
            let saved = match &loss {
                Some(_) => saved.min(since),
                None => saved,
            };
            self.servers.insert(run.id.clone(), (run, saved));
        }
        let news = runs != self.runs;
        self.runs = Arc::clone(&runs);
        news.then_some(CacheNews { runs, loss })
    }

    /// A moment from which deletions may be lost, and why; no moment if all may be.
    fn lost(
        &self,
        at: Instant,
        servers: &[ServerRun],
        runs: &BTreeSet<String>,
    ) -> Option<(Option<Instant>, &'static str)> {
        // Primaries that were added to others have what was moved to them.
        if self.runs.is_subset(runs) {
            return None;
        }
        let is_new = |run: &&ServerRun| !self.runs.contains(&run.id);
        let since = |run: &ServerRun| {
            if began_since(self.looked_at, at, run) {
                if run.began_empty {
                    // It may be another one, which was filled before this process
                    // came to it. What was done by the time it began is not in it.
                    let began = at.checked_sub(run.up + ROUNDING);
                    return Some((began, "a server began anew, and empty"));
                }
                let reason = match self.looked_at {
                    Some(_) => "a server began anew with what it had saved before",
                    None => "other servers are there than when this evictd last ran",
                };
                return Some((self.kept(run, runs), reason));
            }
            if !self.knew_primary_of(run) {
                // It may have been filled for as long as it runs.
                return Some((
                    None,
                    "another server is there, which was not a replica of the one before",
                ));
            }
            let reason = "another server took over, which may have been behind";
            (!run.replicated).then(|| (self.behind(), reason))
        };
        servers.iter().filter(is_new).filter_map(since).min()
    }

    fn knew_primary_of(&self, run: &ServerRun) -> bool {
        let replication_id = |id: &str| id.rsplit('/').next().map(str::to_owned);
        run.succeeds.is_some()
            && self
                .runs
                .iter()
                .any(|id| replication_id(id) == run.succeeds)
    }

    /// The moment from which a server that began anew has lost deletions.
    fn kept(&self, run: &ServerRun, runs: &BTreeSet<String>) -> Option<Instant> {
        let before = |(known, _): &&(ServerRun, _)| {
            known.address == run.address && !runs.contains(&known.id)
        };
        let (known, saved) = self.servers.values().find(before)?;
        if known.appends { self.behind() } else { *saved }
    }

    fn behind(&self) -> Option<Instant> {
        self.looked_at?.checked_sub(BEHIND_MAX)
    }
}

/// Whether a server that answered at `at` or later began after the last look. It
/// counts as such if there was none.
fn began_since(looked_at: Option<Instant>, at: Instant, run: &ServerRun) -> bool {
    let unseen = looked_at.map(|looked_at| at.saturating_duration_since(looked_at));
    unseen.is_none_or(|unseen| run.up <= unseen + ROUNDING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

    /// A history that is looked at every two seconds, and its clock.
    struct Watched {
        history: CacheHistory,
        now: Instant,
    }

    fn at(offset: u64, runs: &[&str]) -> Mark {
        Mark {
            position: Position {
                file: "bin.000001".into(),
                offset,
                gtids: None,
            },
            server_uuid: "uuid".into(),
            committed_at: None,
            file_begun_s: None,
            columns_of: None,
            cache_runs: Arc::new(runs.iter().map(ToString::to_string).collect()),
            losses_mended: 0,
            buffer: None,
        }
    }

    /// A server on the address that its id begins with.
    fn server(id: &str, up_s: u64, saved_at: &str) -> ServerRun {
        ServerRun {
            address: id.split('/').next().unwrap().to_owned(),
            id: id.to_owned(),
            succeeds: None,
            up: Duration::from_secs(up_s),
            began_empty: false,
            replicated: false,
            appends: false,
            saved_at: saved_at.to_owned(),
            saving_took: Duration::from_secs(3),
        }
    }

    impl Watched {
        fn new() -> Self {
            Self {
                history: CacheHistory::new(CacheRuns::default()),
                now: Instant::now() + Duration::from_secs(3_600),
            }
        }

        fn look(&mut self, servers: Vec<ServerRun>) -> Option<CacheNews> {
            self.now += Duration::from_secs(2);
            self.history.look(self.now, servers)
        }

        /// Looks at one server for a while, which the position goes on by a byte a second.
        fn run(&mut self, looks: u64, from: u64, id: &str, saved_at: &str) {
            for look in 0..looks {
                self.look(vec![server(id, 1_000, saved_at)]);
                self.history.done(self.now, &at(from + 2 * look, &[id]));
            }
        }

        /// The offset from which is read again; 0 for everything.
        fn lost(&mut self, servers: Vec<ServerRun>) -> Option<u64> {
            let loss = self.look(servers).unwrap().loss?;
            Some(loss.from.map_or(0, |mark| mark.position.offset))
        }
    }

    #[test]
    fn a_server_that_begins_anew_has_what_was_done_when_its_snapshot_was_begun() {
        let mut cache = Watched::new();
        cache.run(10, 100, "a/1", "first");
        // Saved after the look at 118, in three seconds, rounded down.
        cache.run(50, 120, "a/1", "second");
        assert_eq!(cache.lost(vec![server("a/2", 1, "third")]), Some(114));
        // It has no other snapshot yet.
        cache.history.done(cache.now, &at(300, &["a/1"]));
        cache.run(5, 115, "a/2", "third");
        assert_eq!(cache.lost(vec![server("a/3", 0, "fourth")]), Some(114));
    }

    #[test]
    fn without_a_known_snapshot_everything_may_be_back() {
        let mut cache = Watched::new();
        cache.run(50, 100, "a/1", "first");
        assert_eq!(cache.lost(vec![server("a/2", 1, "second")]), Some(0));
        // And if it began while nobody looked.
        let mut history = CacheHistory::new(at(0, &["a/1"]).cache_runs);
        let news = history.look(Instant::now(), vec![server("a/2", 9, "second")]);
        assert!(news.unwrap().loss.unwrap().from.is_none());
    }

    #[test]
    fn a_server_that_takes_over_or_appends_is_not_far_behind() {
        let mut cache = Watched::new();
        cache.run(50, 100, "a/1", "first");
        // The last look was at 198.
        let replica = ServerRun {
            succeeds: Some("1".to_owned()),
            ..server("b/2", 9_000, "other")
        };
        assert_eq!(cache.lost(vec![replica]), Some(138));
        let appending = |id, up_s| ServerRun {
            appends: true,
            ..server(id, up_s, "first")
        };
        let mut cache = Watched::new();
        cache.run(49, 100, "a/1", "first");
        cache.look(vec![appending("a/1", 9_000)]);
        assert_eq!(cache.lost(vec![appending("a/2", 0)]), Some(138));
    }

    #[test]
    fn servers_that_are_new_bring_nothing_back_and_empty_ones_what_was_just_done() {
        let mut cache = Watched::new();
        cache.run(5, 100, "a/1", "first");
        let both = || vec![server("a/1", 9_000, "first"), server("b/1", 1, "first")];
        let news = cache.look(both()).unwrap();
        assert!(news.loss.is_none());
        assert!(cache.look(both()).is_none(), "they are known now");
        let empty = ServerRun {
            began_empty: true,
            ..server("a/2", 1, "second")
        };
        let news = cache.look(vec![empty, server("b/1", 3, "first")]).unwrap();
        let from = news.loss.unwrap().from.unwrap();
        assert_eq!(
            from.position.offset, 108,
            "the last look that was before it"
        );
        assert_eq!(news.runs.len(), 2);
        let replica = ServerRun {
            replicated: true,
            succeeds: Some("1".to_owned()),
            ..server("c/1", 9_000, "other")
        };
        assert!(cache.look(vec![replica]).unwrap().loss.is_none());
    }

    #[test]
    fn a_server_that_was_there_all_along_and_is_no_replica_may_hold_anything() {
        for (began_empty, replicated) in [(false, false), (true, false), (true, true)] {
            let mut cache = Watched::new();
            cache.run(50, 100, "a/1", "first");
            let other = ServerRun {
                began_empty,
                replicated,
                ..server("b/2", 9_000, "other")
            };
            assert_eq!(cache.lost(vec![other.clone()]), Some(0));
            // While nobody looked.
            let mut history = CacheHistory::new(at(0, &["a/1"]).cache_runs);
            let news = history.look(Instant::now(), vec![other]);
            assert!(news.unwrap().loss.unwrap().from.is_none());
        }
    }

    #[test]
    fn the_moments_that_are_remembered_are_bounded_and_the_first_stays() {
        let mut cache = Watched::new();
        cache.run(10_000, 100, "a/1", "first");
        assert!(cache.history.done.len() <= MOMENTS_MAX);
        assert_eq!(cache.history.done[0].1.position.offset, 100);
    }
}
