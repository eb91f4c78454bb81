//! Commits that are in the binlog before anybody sees their rows.
//!
//! The source waits for a semi-synchronous replica that does not exist. Meanwhile readers read the old rows, and store
//! them wherever an entry is gone.

use std::time::{Duration, Instant, SystemTime};

use mysql_async::prelude::Queryable;

use super::cache::Entries;
use super::lane::{FILL_WITHIN, run};
use super::snapshot::{Name, Place, Snapshot};
use super::steps::{Change, Held};
use super::world::{POLL_EVERY, World, execute};
use crate::support::Evictd;

/// How long readers go on. What was deleted settles meanwhile, unless it is known to wait.
const SEEN_OLD: Duration = Duration::from_millis(900);

/// evictd has read what is in the binlog.
const READ_WITHIN: Duration = Duration::from_millis(300);

/// Evictd asks a server that does not answer for ten seconds, and then for as long as the last question takes.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(30);

const GIVEN_UP: &str = "deleted without waiting";

const INSTALL: &str = "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'";

const HOLD: &str = "SET GLOBAL rpl_semi_sync_source_timeout = 600000; \
     SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'; \
     SET GLOBAL rpl_semi_sync_source_enabled = ON";

const RELEASE: &str = "SET GLOBAL rpl_semi_sync_source_enabled = OFF";

impl World<'_> {
    /// Whether a commit can be held so that evictd sees that it is.
    async fn can_hold(&mut self) -> bool {
        let query = "SELECT @@GLOBAL.gtid_mode = 'ON'";
        let is_on: Option<bool> = self.reader.query_first(query).await.expect("it answers");
        is_on == Some(true)
    }

    /// Runs statements of which the first commit is held. `old` is what readers store meanwhile. Returns whether a
    /// statement was refused, and until when readers may store what they read before.
    pub async fn execute_held(
        &mut self,
        change: &Change,
        held: Held,
        (old, before): (&Entries, &Snapshot),
    ) -> (bool, SystemTime) {
        if !self.can_hold().await {
            let refused = execute(&mut self.writer, self.case, change).await;
            return (refused, SystemTime::now());
        }
        // It may be there already.
        self.reader.query_drop(INSTALL).await.ok();
        run(&mut self.reader, HOLD).await;
        let given_up = self.said(GIVEN_UP);
        let freezes = held == Held::ThroughAFreeze && self.evictd.is_some() && !self.frozen;
        let (mysql, cache, reader) = (&mut self.lane.mysql, &mut self.cache, &mut self.reader);
        let evictd = self.evictd.as_ref();
        let names: Vec<(Place, Name)> = old.keys().cloned().collect();
        let meanwhile = async {
            if freezes {
                tokio::time::sleep(READ_WITHIN).await;
                mysql.signal("STOP");
                let said = || evictd.map_or(0, |evictd| said(evictd, GIVEN_UP));
                let begun = Instant::now();
                while said() == given_up && begun.elapsed() < GIVEN_UP_WITHIN {
                    tokio::time::sleep(POLL_EVERY).await;
                }
                mysql.signal("CONT");
            }
            let begun = Instant::now();
            while begun.elapsed() < SEEN_OLD {
                let there = cache.read(&names).await;
                let mut gone = old.clone();
                gone.retain(|name, _| !there.contains_key(name));
                cache.fill(&gone, before, None).await;
                tokio::time::sleep(POLL_EVERY).await;
            }
            let until = SystemTime::now() + FILL_WITHIN;
            run(reader, RELEASE).await;
            until
        };
        tokio::join!(execute(&mut self.writer, self.case, change), meanwhile)
    }
}

/// How often it has said this.
pub fn said(evictd: &Evictd, words: &str) -> usize {
    let lines = evictd.lines();
    lines.iter().filter(|line| line.contains(words)).count()
}
