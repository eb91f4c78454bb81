//! What becomes of evictd in a case, and when it is done.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::edge::{Edge, Told};
use super::failure::{Failure, Kind};
use super::fates::{EdgeFate, Fate, MysqlFate, QueueFate, RedisFate, Reload};
use super::held::said;
use super::lane::run;
use super::topology;
use super::world::{POLL_EVERY, World};
use crate::support::Evictd;

/// Far more than anything takes that works: 40 s where nothing else runs. On a busy machine evictd is slower, and so are
/// polls.
const POLLS_MAX: usize = 8_000;

/// The server sends what was committed at once, and the relay passes it on.
const PASSED_ON_WITHIN: Duration = Duration::from_millis(300);

/// A stream that is held may have been held before the place that is waited for.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(3);

/// What was just changed settles, and its position is stored, unless something is in trouble.
const STORED_WITHIN: Duration = Duration::from_millis(1_500);

/// 20 s where nothing else runs: a distribution that is stuck may hold up the receiving for five seconds.
const PROGRESS_POLLS_MAX: usize = 4_000;

/// Where nothing else runs, a leader is back at its lock eleven seconds after a switch-over.
const LOCKED_WITHIN: Duration = Duration::from_secs(20);

/// How often one is waited for that looks at Redis every two seconds, which a busy machine makes more.
const LOOKS_MAX: usize = 60;
const LOOKS_AFTER: Duration = Duration::from_millis(250);

/// What was committed before is in a batch of its own.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// More messages than a drain has in hand.
const FLOOD: u64 = 2_500;

const SIGTERM: i32 = 15;

const LOADED: &str = "loaded again and is in use";
const NOT_LOADED: &str = "was not loaded again";

static MARKS: AtomicU64 = AtomicU64::new(1);

/// A row whose key and path tell how far evictd has come.
#[derive(Clone, Copy)]
struct Mark {
    number: u64,
    /// How much CloudFront had made before.
    made: usize,
}

impl World<'_> {
    /// Starts it for the first time.
    pub async fn begin_to_read(&mut self) -> Result<(), Failure> {
        self.start();
        let mut polls = 0;
        loop {
            polls += 1;
            let lines = self.evictd.as_ref().map(Evictd::lines).unwrap_or_default();
            if lines.iter().any(|line| line.contains("reading the binlog")) {
                break;
            }
            self.still_runs()?;
            if polls > POLLS_MAX {
                return Err(self.failure(Kind::Stuck, "it does not begin to read".to_owned()));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        // Without a position the next start is a first one.
        while self.stored().await.is_none() && polls < POLLS_MAX {
            polls += 1;
            self.still_runs()?;
            tokio::time::sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// It has not ended by itself.
    fn still_runs(&mut self) -> Result<(), Failure> {
        let ended = self.evictd.as_mut().and_then(Evictd::exited);
        match ended {
            Some(status) => Err(self.failure(Kind::Ended, format!("evictd ended: {status}"))),
            None => Ok(()),
        }
    }

    fn start(&mut self) {
        self.frozen = false;
        self.evictd = Some(Evictd::start(&self.options));
    }

    /// Whoever stands by leads from now on.
    fn succeed(&mut self) {
        self.frozen = false;
        self.evictd = self.standby.take();
    }

    pub fn said(&self, words: &str) -> usize {
        let evictd = self.evictd.as_ref();
        evictd.map_or(0, |evictd| said(evictd, words))
    }

    pub async fn meet(&mut self, fate: Fate) -> Result<(), Failure> {
        if !matches!(fate, Fate::Start | Fate::Reload(_)) {
            self.still_runs()?;
        }
        match fate {
            Fate::Stop => {
                self.thaw();
                self.stop().await?;
            }
            Fate::Kill => {
                self.pays_twice = true;
                drop(self.evictd.take());
                self.succeed();
            }
            Fate::Start if self.evictd.is_none() => self.start(),
            Fate::Start => {}
            Fate::StandBy => {
                if self.evictd.is_some() && self.standby.is_none() {
                    self.lock_is_there().await;
                    self.standby = Some(Evictd::start(&self.options));
                }
            }
            Fate::Store => self.store().await,
            Fate::Reload(reload) => self.reload(reload).await?,
            Fate::Freeze => {
                if let Some(evictd) = &mut self.evictd {
                    evictd.signal("STOP");
                    self.frozen = true;
                }
            }
            Fate::Thaw => self.thaw(),
            Fate::Hold => {
                tokio::time::sleep(PASSED_ON_WITHIN).await;
                self.held = Some(self.end().await);
                self.lane.relay.hold_dumps();
            }
            Fate::Release => {
                self.held = None;
                self.lane.relay.release();
            }
            Fate::Catch => {
                let begun = Instant::now();
                while self.evictd.is_some()
                    && self.held.is_some()
                    && self.position().await < self.held
                    && begun.elapsed() < CAUGHT_UP_WITHIN
                {
                    tokio::time::sleep(POLL_EVERY).await;
                }
            }
        }
        Ok(())
    }

    /// The leader has its lock at the server that is there now: it looks every ten seconds.
    async fn lock_is_there(&mut self) {
        let lock = format!("SELECT IS_USED_LOCK('evictd:{}')", self.lane.name());
        let begun = Instant::now();
        while !self.frozen && begun.elapsed() < LOCKED_WITHIN {
            let holder: Option<Option<u64>> =
                self.reader.query_first(&lock).await.expect("it answers");
            if holder.flatten().is_some() {
                return;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Ends it in order.
    async fn stop(&mut self) -> Result<(), Failure> {
        let Some(evictd) = &mut self.evictd else {
            return Ok(());
        };
        evictd.terminate();
        let mut polls = 0;
        let ended = loop {
            polls += 1;
            match evictd.exited() {
                Some(status) => break status,
                None if polls > POLLS_MAX => {
                    return Err(self.failure(Kind::Stuck, "it does not stop".to_owned()));
                }
                None => tokio::time::sleep(POLL_EVERY).await,
            }
        };
        // One that had just begun has no handler yet.
        if !ended.success() && ended.signal() != Some(SIGTERM) {
            return Err(self.failure(Kind::Ended, format!("it stopped with {ended}")));
        }
        self.succeed();
        Ok(())
    }

    /// Gets another configuration. Where it is not taken, the former one stays.
    async fn reload(&mut self, reload: Reload) -> Result<(), Failure> {
        let (before, text) = (self.config.clone(), self.options.config.clone());
        self.configure(before.reloaded(reload));
        if self.options.config == text {
            return Ok(());
        }
        self.pays_twice = true;
        if self.evictd.is_some() {
            self.thaw();
            self.held = None;
            self.lane.relay.release();
            self.still_runs()?;
            let config = self.options.config.clone();
            for evictd in self.evictd.iter().chain(&self.standby) {
                evictd.rewrite(&config);
            }
            let (loaded, not_loaded) = (self.said(LOADED), self.said(NOT_LOADED));
            if let Some(evictd) = &mut self.evictd {
                evictd.signal("HUP");
            }
            let mut polls = 0;
            while self.said(LOADED) == loaded {
                polls += 1;
                self.still_runs()?;
                if self.said(NOT_LOADED) > not_loaded {
                    self.configure(before);
                    for evictd in self.evictd.iter().chain(&self.standby) {
                        evictd.rewrite(&text);
                    }
                    return Ok(());
                }
                if polls > POLLS_MAX {
                    return Err(self.failure(Kind::Stuck, "it does not load the file".to_owned()));
                }
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
        if let Some(edge) = &self.edge {
            edge.moves(&before, &self.config).await;
            self.ask().await;
        }
        Ok(())
    }

    /// Until what was changed so far is in the buffer.
    async fn store(&mut self) {
        let end = self.end().await;
        let begun = Instant::now();
        while self.evictd.is_some()
            && !self.frozen
            && self.position().await.as_ref() != Some(&end)
            && begun.elapsed() < STORED_WITHIN
        {
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// What is stored.
    pub async fn stored(&mut self) -> Option<serde_json::Value> {
        let bytes = match self.case.topology.checkpoint {
            topology::Place::File => std::fs::read(self.lane.checkpoint_file()).ok()?,
            topology::Place::Redis => {
                let mut get = redis::cmd("HGET");
                get.arg(format!("evictd:{}:checkpoint", self.lane.name()))
                    .arg("value");
                let value = get.query_async(&mut self.cache.conn).await;
                let value: Option<Vec<u8>> = value.expect("Redis runs");
                value?
            }
        };
        serde_json::from_slice(&bytes).ok()
    }

    /// Whether the position was stored by one who has seen which Redis runs.
    async fn knows_redis(&mut self) -> bool {
        let stored = self.stored().await.unwrap_or_default();
        let run = &self.redis_run;
        let mut runs = stored["cache_runs"].as_array().into_iter().flatten();
        runs.any(|id| id.as_str().is_some_and(|id| id.contains(run)))
    }

    /// The stored position's file and offset.
    pub async fn position(&mut self) -> Option<(String, u64)> {
        let stored = self.stored().await?;
        let file = stored["file"].as_str()?.to_owned();
        Some((file, stored["offset"].as_u64()?))
    }

    /// Stores the key of the next mark, and returns its number.
    pub async fn announce_mark(&mut self) -> u64 {
        if let Some(mark) = self.mark_ahead {
            return mark;
        }
        let mark = MARKS.fetch_add(1, Ordering::Relaxed);
        let mut set = redis::cmd("SET");
        set.arg(format!("mark:{mark}")).arg("1");
        let () = set
            .query_async(&mut self.cache.conn)
            .await
            .expect("Redis runs");
        self.mark_ahead = Some(mark);
        mark
    }

    async fn mark(&mut self) -> Mark {
        let number = self.announce_mark().await;
        self.mark_ahead = None;
        let made = self.edge.as_ref().map_or(0, |edge| edge.fake.made().len());
        let sql = format!("REPLACE INTO marks.marks VALUES ({number})");
        run(&mut self.reader, &sql).await;
        Mark { number, made }
    }

    async fn has_key(&mut self, mark: Mark) -> bool {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(format!("mark:{}", mark.number));
        let exists = exists.query_async(&mut self.cache.conn).await;
        exists.expect("Redis runs")
    }

    /// What the one of these distributions that knows least has heard of the mark.
    fn told(&self, ids: &[String], mark: Mark) -> Told {
        let path = format!("/mark/{}", mark.number);
        let told = |edge: &Edge| {
            let told = ids.iter().map(|id| edge.told(mark.made, id, &path));
            told.min()
        };
        let told = self.edge.as_ref().and_then(told);
        told.unwrap_or(Told::ByName)
    }

    /// Commits a thousand changes and more, each of its own.
    pub async fn flood(&mut self) {
        let first = MARKS.fetch_add(FLOOD, Ordering::Relaxed);
        for mark in first..first + FLOOD {
            run(
                &mut self.reader,
                &format!("REPLACE INTO marks.marks VALUES ({mark})"),
            )
            .await;
        }
        self.pays_twice = true;
    }

    /// What is changed now is deleted, and invalidated wherever that can be, though something else is in trouble.
    pub async fn progress(&mut self) -> Result<(), Failure> {
        let blind = self.cache.full && self.mark_ahead.is_none();
        if self.evictd.is_none() || self.frozen || self.held.is_some() || blind {
            return Ok(());
        }
        let mut ids = self.config.ids();
        match self.edge_fate {
            EdgeFate::Well | EdgeFate::Late | EdgeFate::LosesSome | EdgeFate::Refuses(_) => {}
            EdgeFate::FullAtOne => ids.truncate(1),
            _ => ids.clear(),
        }
        // In one batch with rows whose guards cannot be raised its path would wait with theirs.
        tokio::time::sleep(READ_WITHIN).await;
        let mark = self.mark().await;
        let mut polls = 0;
        loop {
            polls += 1;
            let (there, told) = (self.has_key(mark).await, self.told(&ids, mark));
            if !there && told > Told::Not {
                return Ok(());
            }
            self.still_runs()?;
            if polls > PROGRESS_POLLS_MAX {
                let text = format!("the mark's key is there: {there}; {ids:?} were told: {told:?}");
                return Err(self.failure(Kind::Starved, text));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Everything is well again.
    async fn mend(&mut self) {
        self.thaw();
        self.held = None;
        self.lane.relay.release();
        if let Some(edge) = &self.edge
            && self.edge_fate != EdgeFate::Well
        {
            edge.meet(EdgeFate::Well, &self.config, &self.now.pages);
            self.edge_fate = EdgeFate::Well;
        }
        if self.cache.full {
            self.redis_meets(RedisFate::Well).await;
        }
        if self.left_out {
            self.mysql_meets(MysqlFate::Restart).await;
        }
        if self.sqs.is_some() {
            self.queue_meets(QueueFate::Well).await;
        }
        if self.evictd.is_none() {
            self.start();
        }
    }

    fn thaw(&mut self) {
        if let Some(evictd) = &mut self.evictd
            && self.frozen
        {
            evictd.signal("CONT");
        }
        self.frozen = false;
    }

    /// Where the server's binlog ends.
    pub async fn end(&mut self) -> (String, u64) {
        let status = self.reader.query_first("SHOW BINARY LOG STATUS").await;
        let status: Option<(String, u64, String, String, String)> = status.expect("it answers");
        let (file, offset, ..) = status.expect("it writes a binlog");
        (file, offset)
    }

    pub async fn quiet(&mut self) -> Result<(), Failure> {
        self.mend().await;
        let mut told = self.come_to_rest().await?;
        for _ in 0..LOOKS_MAX {
            if self.knows_redis().await {
                break;
            }
            // It looks every two seconds, and stores what it has seen with the next position.
            tokio::time::sleep(LOOKS_AFTER).await;
            told = self.come_to_rest().await?;
        }
        if told < Told::ByName {
            // What waited behind the wildcard may not have been sent yet.
            self.come_to_rest().await?;
        }
        self.look().await;
        self.verify().await?;
        self.begin_anew().await;
        Ok(())
    }

    /// A mark has passed, after all that came before it.
    async fn come_to_rest(&mut self) -> Result<Told, Failure> {
        let mark = self.mark().await;
        let end = self.end().await;
        let ids = self.config.ids();
        let mut polls = 0;
        loop {
            polls += 1;
            let stored = self.position().await;
            let (there, told) = (self.has_key(mark).await, self.told(&ids, mark));
            if stored.as_ref() == Some(&end) && !there && told > Told::Not {
                return Ok(told);
            }
            self.still_runs()?;
            if polls > POLLS_MAX {
                let text = format!(
                    "the position is {stored:?} and not {end:?}; the key of mark {} is there: {there}; {ids:?} were told: {told:?}",
                    mark.number
                );
                return Err(self.failure(Kind::Stuck, text));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}
