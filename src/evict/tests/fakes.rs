//! Fakes that note what they are asked to do, and the stages behind the
//! planner joined with them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::binlog::server::barrier::NotVisible;
use crate::binlog::server::stream_id::StreamId;
use crate::buffer::BufferError;
use crate::cache::{
    Cache, CacheError, FoundKeys, MemberRemoval, Outcome, Refused, ScanPlace, ServerRun, TagKind,
    TagScan, TagStep, Unfinished,
};
use crate::checkpoint::{Checkpoint, CheckpointError, Stored};
use crate::evict::batch::Batch;
use crate::evict::bulk_paths::Paths;
use crate::evict::delete::delete;
use crate::evict::lane;
use crate::evict::marks::Mark;
use crate::evict::path_sink::PathSink;
use crate::evict::send::send;
use crate::evict::settling::{Settling, settle};
use crate::evict::store::store;
use crate::evict::visibility::Visibility;
use crate::model::invalidation::{Action, Plan, Target};
use crate::model::{
    BufferState, CacheRuns, CommitTime, GtidSet, Guards, KeyList, PairSet, Position,
};
use crate::progress::board::Reports;

/// The calls that the fakes took, in their order.
type Journal = Arc<Mutex<Vec<String>>>;

fn note(journal: &Journal, line: String) {
    journal.lock().unwrap().push(line);
}

/// Fails the given number of times, then succeeds.
struct Flaky {
    journal: Journal,
    name: &'static str,
    failures: u32,
    /// When the part of the cache comes back whose keys begin with "away".
    back_at: Instant,
}

/// Bytes of a key that are noted.
const NAME_BYTES: usize = 40;

/// Time for which a part of the cache is away.
pub(super) const AWAY: Duration = Duration::from_secs(60);

impl Flaky {
    fn new(journal: &Journal, name: &'static str, failures: u32) -> Self {
        Self {
            journal: Arc::clone(journal),
            name,
            failures,
            back_at: Instant::now() + AWAY,
        }
    }

    /// Those of `keys` that are away.
    fn away(&self, keys: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
        if Instant::now() >= self.back_at {
            return Vec::new();
        }
        keys.filter(|key| key.starts_with(b"away")).collect()
    }

    fn attempt(&mut self, what: String) -> Result<(), String> {
        if self.failures > 0 {
            self.failures -= 1;
            note(&self.journal, format!("{} fails", self.name));
            return Err("as told".to_owned());
        }
        note(&self.journal, format!("{} {what}", self.name));
        Ok(())
    }
}

fn unfinished(keys: Vec<Vec<u8>>, guards: Vec<Vec<u8>>) -> Unfinished {
    Unfinished {
        keys,
        guards,
        error: CacheError::Unavailable {
            address: "away".to_owned(),
            code: "timeout",
            reason: "as told".to_owned(),
        },
    }
}

impl Cache for Flaky {
    async fn delete(&mut self, keys: &[&KeyList]) -> Result<Outcome, CacheError> {
        let names: Vec<_> = keys
            .iter()
            .flat_map(|keys| keys.iter())
            .map(|key| String::from_utf8_lossy(key.get(..NAME_BYTES).unwrap_or(key)))
            .collect();
        let attempt = self.attempt(names.join(" "));
        // It is done at once, and answered late.
        if names.iter().any(|name| name == "slow") {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let locked = names.iter().filter(|name| name.starts_with("locked"));
        let refused = locked.map(|name| Refused {
            key: name.as_bytes().to_vec(),
            code: "no-permission",
            reason: "NOPERM".to_owned(),
        });
        let all = keys.iter().flat_map(|keys| keys.iter());
        let away = self.away(all.map(<[u8]>::to_vec));
        let outcome = Outcome {
            refused: refused.collect(),
            unfinished: (!away.is_empty()).then(|| unfinished(away, Vec::new())),
            ..Outcome::default()
        };
        attempt
            .map(|()| outcome)
            .map_err(|reason| CacheError::Unavailable {
                address: "redis".to_owned(),
                code: "connection",
                reason,
            })
    }

    async fn delete_matching(&mut self, glob: &[u8]) -> Result<Outcome, CacheError> {
        note(
            &self.journal,
            format!("{} all {}", self.name, String::from_utf8_lossy(glob)),
        );
        if glob.starts_with(b"slow") {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Ok(Outcome::default())
    }

    async fn increment(&mut self, key: &[u8]) -> Result<Outcome, CacheError> {
        let key = String::from_utf8_lossy(key);
        note(&self.journal, format!("{} increments {key}", self.name));
        Ok(Outcome::default())
    }

    async fn delete_guarded(
        &mut self,
        guards: &Guards,
        keys: &[&KeyList],
    ) -> Result<Outcome, CacheError> {
        let away = self.away(guards.iter().map(|(key, ..)| key.to_vec()));
        for (key, version, _) in guards.iter() {
            let key = String::from_utf8_lossy(key);
            let raises = if away.is_empty() {
                "raises"
            } else {
                "cannot raise"
            };
            note(
                &self.journal,
                format!("{} {raises} {key} to {version}", self.name),
            );
        }
        let mut outcome = self.delete(keys).await?;
        if !away.is_empty() {
            let keys = keys.iter().flat_map(|keys| keys.iter());
            outcome.unfinished = Some(unfinished(keys.map(<[u8]>::to_vec).collect(), away));
        }
        Ok(outcome)
    }

    async fn delete_fields(&mut self, fields: &PairSet) -> Result<Outcome, CacheError> {
        for (key, field) in fields.iter() {
            let (key, field) = (String::from_utf8_lossy(key), String::from_utf8_lossy(field));
            note(
                &self.journal,
                format!("{} field {field} of {key}", self.name),
            );
        }
        Ok(Outcome::default())
    }

    async fn find_keys(&mut self, glob: &[u8], _from: ScanPlace) -> Result<FoundKeys, CacheError> {
        let keys = vec![glob.strip_suffix(b"*").unwrap_or(glob).to_vec()];
        Ok(FoundKeys { keys, next: None })
    }

    /// Every set has two members, one after the other.
    async fn scan_tag_sets(&mut self, sets: &[TagScan<'_>]) -> Result<Vec<TagStep>, CacheError> {
        let step = |set: &TagScan<'_>| TagStep::Members {
            kind: TagKind::Set,
            members: vec![format!("m{}", set.cursor).into_bytes()],
            next: 1 - set.cursor,
        };
        Ok(sets.iter().map(step).collect())
    }

    async fn remove_members(
        &mut self,
        leaving: &[MemberRemoval<'_>],
    ) -> Result<Outcome, CacheError> {
        for set in leaving {
            let key = String::from_utf8_lossy(set.key);
            let members = String::from_utf8(set.members.concat()).unwrap();
            note(
                &self.journal,
                format!("{} takes {members} out of {key}", self.name),
            );
        }
        Ok(Outcome::default())
    }

    async fn publish(&mut self, channel: &str, message: &[u8]) -> Result<Outcome, CacheError> {
        let message = String::from_utf8_lossy(message);
        note(
            &self.journal,
            format!("{} tells {channel} {message}", self.name),
        );
        Ok(Outcome::default())
    }

    async fn runs(&mut self) -> Result<Vec<ServerRun>, CacheError> {
        Ok(Vec::new())
    }
}

/// Says nothing of what is visible for a time, and then that all is.
struct Silent {
    journal: Journal,
    name: &'static str,
    until: Instant,
    /// Since when all is visible; otherwise since the question.
    visible_by: Option<Instant>,
}

impl Visibility for Silent {
    async fn wait(
        &mut self,
        gtids: &GtidSet,
        _: &StreamId,
        _: Duration,
    ) -> Result<Instant, NotVisible> {
        if Instant::now() < self.until {
            return Err(NotVisible::Unknown("as told".to_owned()));
        }
        note(&self.journal, format!("{} {gtids}", self.name));
        Ok(self.visible_by.unwrap_or_else(Instant::now))
    }

    fn another(&self) -> Self {
        Self {
            journal: Arc::clone(&self.journal),
            name: "closing",
            ..*self
        }
    }
}

impl PathSink for Flaky {
    type Pending = Vec<String>;

    fn prepare(&mut self, paths: &Paths) -> Vec<String> {
        paths.iter().collect()
    }

    async fn send(&mut self, pending: &mut Vec<String>) -> Result<(), BufferError> {
        let attempt = self.attempt(pending.join(" "));
        attempt
            .map(|()| pending.clear())
            .map_err(|reason| BufferError::Unavailable {
                buffer: "queue".into(),
                operation: "send",
                code: "timeout".to_owned(),
                reason,
            })
    }
}

impl Checkpoint for Flaky {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        Ok(None)
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        let attempt = self.attempt(stored.offset.to_string());
        attempt.map_err(|reason| CheckpointError::Io {
            path: "checkpoint".to_owned(),
            action: "write it",
            reason,
        })
    }
}

/// A batch of one key and one path, up to the position `offset`.
pub(super) fn batch(offset: u64) -> Batch {
    let rule: Arc<str> = "r".into();
    let mut batch = Batch::default();
    batch.act(
        &rule,
        Action::Delete {
            key: format!("k{offset}").as_bytes(),
            settles: true,
        },
    );
    batch.act(
        &rule,
        Action::Invalidate {
            path: &format!("/p{offset}"),
            at: Target::default(),
        },
    );
    batch.mark = Some(mark(offset));
    batch
}

pub(in crate::evict) fn mark(offset: u64) -> Mark {
    let position = Position {
        file: "bin.000001".into(),
        offset,
        gtids: None,
    };
    Mark {
        position,
        server_uuid: "uuid".into(),
        committed_at: CommitTime::from_micros(1_000_000),
        file_begun_s: None,
        columns_of: None,
        cache_runs: CacheRuns::default(),
        losses_mended: 0,
        buffer: None,
    }
}

/// The three stages behind the planner, joined as in [`run`](crate::evict::pipeline::run).
pub(super) struct Stages {
    pub(super) planned: mpsc::Sender<Batch>,
    tasks: JoinSet<()>,
    journal: Journal,
    pub(super) reports: Reports,
}

impl Stages {
    /// Each stage fails as often as `failures` says before its first success.
    pub(super) fn start(failures: [u32; 3]) -> Self {
        Self::settling(failures, Settling::Off)
    }

    pub(super) fn settling(failures: [u32; 3], settling: Settling) -> Self {
        Self::seeing(Duration::ZERO, None, failures, settling)
    }

    /// The source says for so long that it does not know what is visible.
    pub(super) fn unseen(silent: Duration, settling: Settling) -> Self {
        Self::seeing(silent, None, [0, 0, 0], settling)
    }

    /// All is visible since `visible_by`.
    pub(super) fn seen(visible_by: Instant, settling: Settling) -> Self {
        Self::seeing(Duration::ZERO, Some(visible_by), [0, 0, 0], settling)
    }

    fn seeing(
        silent: Duration,
        visible_by: Option<Instant>,
        failures: [u32; 3],
        settling: Settling,
    ) -> Self {
        let journal = Journal::default();
        let visibility = Silent {
            journal: Arc::clone(&journal),
            name: "visibility",
            until: Instant::now() + silent,
            visible_by,
        };
        let closing = visibility.another();
        let [cache, paths, checkpoint] = failures;
        let (planned, to_delete) = mpsc::channel(1);
        let (deleted, to_settle) = mpsc::channel(1);
        let (settled, to_send) = mpsc::channel(1);
        let (accepted, to_store) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let reports = Reports::default();
        tasks.spawn(delete(
            reports.clone(),
            visibility,
            Flaky::new(&journal, "cache", cache),
            settling.clone(),
            to_delete,
            deleted,
        ));
        let second = Flaky::new(&journal, "second", 0);
        let retries = Flaky::new(&journal, "retries", 0);
        let scans = Flaky::new(&journal, "scans", 0);
        let (lanes, retrying, scanning) = lane::open(&reports, retries, scans);
        tasks.spawn(retrying);
        tasks.spawn(scanning);
        tasks.spawn(settle(
            reports.clone(),
            closing,
            second,
            lanes,
            settling,
            to_settle,
            settled,
        ));
        tasks.spawn(send(
            reports.clone(),
            Flaky::new(&journal, "paths", paths),
            watch::channel(BufferState::default()).1,
            to_send,
            accepted,
        ));
        let storing = store(
            reports.clone(),
            Flaky::new(&journal, "checkpoint", checkpoint),
            to_store,
            watch::Sender::default(),
        );
        tasks.spawn(async move { storing.await.unwrap() });
        Self {
            planned,
            tasks,
            journal,
            reports,
        }
    }

    pub(super) fn journal(&self) -> Vec<String> {
        self.journal.lock().unwrap().clone()
    }

    /// Ends the planner, and waits until everything in flight is finished.
    pub(super) async fn end(self) -> Vec<String> {
        drop(self.planned);
        self.tasks.join_all().await;
        self.journal.lock().unwrap().clone()
    }
}

/// Microseconds since the epoch, `ago` before now.
pub(super) fn committed(ago: Duration) -> Option<CommitTime> {
    let ago_us = u64::try_from(ago.as_micros()).unwrap();
    CommitTime::from_micros(CommitTime::now().micros() - ago_us)
}

pub(super) const GTIDS: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7";
