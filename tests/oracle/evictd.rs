//! What becomes of evictd in a case, and when it is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::failure::{Failure, Kind};
use super::lane::run;
use super::steps::Fate;
use super::world::{POLL_EVERY, World};
use crate::support::Evictd;

/// Far more than anything takes that works: 40 s where nothing else runs. On a busy machine evictd is slower, and so are
/// polls.
const POLLS_MAX: usize = 8_000;

/// The server sends what was committed at once, and the relay passes it on.
const PASSED_ON_WITHIN: Duration = Duration::from_millis(300);

/// A stream that is held may have been held before the place that is waited for.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(3);

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

    pub async fn meet(&mut self, fate: Fate) -> Result<(), Failure> {
        if !matches!(fate, Fate::Start) {
            self.still_runs()?;
        }
        match fate {
            Fate::Stop => {
                self.thaw();
                self.stop().await?;
            }
            Fate::Kill => drop(self.evictd.take()),
            Fate::Start if self.evictd.is_none() => self.start(),
            Fate::Start => {}
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
                    && self.lane.position() < self.held
                    && begun.elapsed() < CAUGHT_UP_WITHIN
                {
                    tokio::time::sleep(POLL_EVERY).await;
                }
            }
        }
        Ok(())
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
        if !ended.success() {
            return Err(self.failure(Kind::Ended, format!("it stopped with {ended}")));
        }
        self.evictd = None;
        Ok(())
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
    async fn end(&mut self) -> (String, u64) {
        let status = self.reader.query_first("SHOW BINARY LOG STATUS").await;
        let status: Option<(String, u64, String, String, String)> = status.expect("it answers");
        let (file, offset, ..) = status.expect("it writes a binlog");
        (file, offset)
    }

    pub async fn quiet(&mut self) -> Result<(), Failure> {
        self.thaw();
        self.lane.relay.release();
        if self.evictd.is_none() {
            self.start();
        }
        static MARKS: AtomicU64 = AtomicU64::new(1);
        let mark = MARKS.fetch_add(1, Ordering::Relaxed);
        run(
            &mut self.reader,
            &format!("REPLACE INTO marks.marks VALUES ({mark})"),
        )
        .await;
        let end = self.end().await;
        let path = format!("/mark/{mark}");
        let mut polls = 0;
        loop {
            polls += 1;
            let stored = self.lane.position();
            let told = self
                .edge
                .as_ref()
                .is_none_or(|edge| edge.has_invalidated(&path));
            if stored.as_ref() == Some(&end) && told {
                break;
            }
            self.still_runs()?;
            if polls > POLLS_MAX {
                let text = format!("the position is {stored:?} and not {end:?}; {path}: {told}");
                return Err(self.failure(Kind::Stuck, text));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        self.look().await;
        self.verify().await?;
        self.begin_anew().await;
        Ok(())
    }
}
