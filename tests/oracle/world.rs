//! A case while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, InfileData};
use tokio::task::JoinHandle;

use super::cache::{Cache, Entries};
use super::case::Case;
use super::edge::Edge;
use super::failure::{Failure, Kind};
use super::lane::{FILL_WITHIN, Lane, connect, run};
use super::snapshot::{self, Columns, Name, Place, Snapshot};
use super::steps::{Allows, Change, Step};
use crate::support::{Evictd, EvictdOptions, FakeCloudFront, FakeSettings};

pub const POLL_EVERY: Duration = Duration::from_millis(5);

/// What was done, for the report of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub fills: u64,
    pub late_fills: u64,
    pub pages: u64,
    /// Entries that were compared with their rows.
    pub compared: u64,
    pub refused_statements: u64,
}

pub struct World<'l> {
    pub case: &'l Case,
    pub lane: &'l Lane,
    pub options: EvictdOptions,
    pub evictd: Option<Evictd>,
    pub frozen: bool,
    /// Where the server's binlog ended when it was held.
    pub held: Option<(String, u64)>,
    writer: Conn,
    pub reader: Conn,
    pub cache: Cache,
    pub edge: Option<Edge>,
    viewer: Option<JoinHandle<()>>,
    columns: Columns,
    pub now: Snapshot,
    /// Every name that was ever in use.
    pub known: BTreeSet<(Place, Name)>,
    /// Entries that were there at the last quiet point.
    pub kept: Entries,
    /// What was changed since then, if only for a moment.
    pub touched: BTreeSet<(Place, Name)>,
    pub allowed: Vec<Allows>,
    /// Tables that a rule did not fit since then, so that all rules about them widen whatever is changed.
    pub unfit: BTreeSet<String>,
    pub added: Vec<String>,
    pub step: usize,
    pub done: Done,
}

/// Runs a case from its beginning to its end.
pub async fn play(lane: &mut Lane, case: &Case) -> Result<Done, Failure> {
    let reader = lane.begin(case).await;
    let mut world = World::open(lane, case, reader).await;
    let played = world.play().await;
    world.close();
    played.map(|()| world.done)
}

impl<'l> World<'l> {
    async fn open(lane: &'l Lane, case: &'l Case, reader: Conn) -> Self {
        let edge = if case.edge {
            Some(Edge::new(
                FakeCloudFront::start(FakeSettings::default()).await,
            ))
        } else {
            None
        };
        let mut writer = lane.mysql.conn().await;
        // Before the session has a character set that the name cannot be written in.
        run(&mut writer, "SET NAMES utf8mb4").await;
        run(&mut writer, &format!("USE `{}`", case.schema.database)).await;
        for sql in case.settings.session() {
            run(&mut writer, &sql).await;
        }
        Self {
            case,
            lane,
            options: lane.evictd(case, edge.as_ref().map(|edge| &edge.fake)),
            evictd: None,
            frozen: false,
            held: None,
            writer,
            reader,
            cache: Cache {
                conn: lane.redis.conn().await,
                rules: case.rules.clone(),
            },
            edge,
            viewer: None,
            columns: Columns::new(),
            now: Snapshot::default(),
            known: BTreeSet::new(),
            kept: Entries::new(),
            touched: BTreeSet::new(),
            allowed: Vec::new(),
            unfit: BTreeSet::new(),
            added: Vec::new(),
            step: 0,
            done: Done::default(),
        }
    }

    fn close(&mut self) {
        if let Some(viewer) = self.viewer.take() {
            viewer.abort();
        }
        drop(self.evictd.take());
    }

    async fn play(&mut self) -> Result<(), Failure> {
        self.begin_to_read().await?;
        if let Some(edge) = &self.edge {
            let reader = connect(&self.lane.mysql).await;
            let database = self.case.schema.database.clone();
            let mut reader = reader;
            run(&mut reader, &format!("USE `{database}`")).await;
            let viewer = edge.clone().view(reader, database, self.cache.clone());
            self.viewer = Some(tokio::spawn(viewer));
        }
        self.look().await;
        self.begin_anew().await;
        for (number, step) in self.case.steps.iter().enumerate() {
            self.step = number + 1;
            match step {
                Step::Change(change) => self.change(change).await,
                Step::Evictd(fate) => self.meet(*fate).await?,
                Step::Fill => {
                    self.fill().await;
                }
                Step::Quiet => self.quiet().await?,
            }
        }
        Ok(())
    }

    pub fn failure(&self, kind: Kind, text: String) -> Failure {
        Failure {
            kind,
            step: self.step,
            text,
            log: self.evictd.as_ref().map(Evictd::tail).unwrap_or_default(),
        }
    }

    /// Reads what applications would build.
    pub async fn look(&mut self) {
        let columns = snapshot::columns(&mut self.reader, &self.case.schema.database).await;
        self.columns = columns.expect("the server answers");
        self.note_unfit();
        let generations = self.cache.generations().await;
        let now = snapshot::take(&mut self.reader, &self.case.rules, &self.columns).await;
        self.now = now.unwrap_or_else(|error| panic!("{error}\n{}", self.case));
        self.now.generations = generations;
        for (place, names) in &self.now.entries {
            let names = names.keys().map(|name| (*place, name.clone()));
            self.known.extend(names);
        }
    }

    fn note_unfit(&mut self) {
        for (table, columns) in &self.columns {
            let unfit = self.case.rules.iter().any(|rule| {
                let lacks = |name: &&str| !columns.iter().any(|(column, _)| column == name);
                rule.is_about(table) && rule.reads().iter().any(lacks)
            });
            if unfit {
                self.unfit.insert(table.clone());
            }
        }
    }

    /// Readers store what is not there any more, as the rows are now, and the entries of all are returned. Entries that
    /// nothing has happened to stay what they are, so that one that was deleted needlessly is missed.
    async fn fill(&mut self) -> Entries {
        let entries = self.cache.entries(&self.now, &self.known);
        let stays =
            |name: &(Place, Name)| self.kept.contains_key(name) && !self.touched.contains(name);
        let mut missing = entries.clone();
        missing.retain(|name, _| !stays(name));
        self.cache.fill(&missing, &self.now, None).await;
        self.done.fills += missing.len() as u64;
        entries
    }

    /// Everything is stored, and nothing was changed yet.
    pub async fn begin_anew(&mut self) {
        self.kept.clear();
        self.fill().await;
        let names: Vec<(Place, Name)> = self.known.iter().cloned().collect();
        self.kept = self.cache.read(&names).await;
        if let Some(edge) = &self.edge {
            edge.ask(&self.now.pages, &mut self.cache, &self.now).await;
            self.done.pages += self.now.pages.len() as u64;
        }
        self.touched.clear();
        self.allowed.clear();
        self.unfit.clear();
        self.note_unfit();
    }

    async fn change(&mut self, change: &Change) {
        let until = SystemTime::now() + FILL_WITHIN;
        let mut old = Entries::new();
        if change.late {
            self.look().await;
            old = self.fill().await;
        }
        let before = self.now.clone();
        self.execute(change).await;
        self.look().await;
        self.allowed.push(change.allows.clone());
        self.added.extend(change.adds.iter().cloned());
        let changed = differing(&before, &self.now);
        if change.late {
            old.retain(|name, _| changed.contains(name));
            self.fill_late(&old, &before, until).await;
        }
        self.touched.extend(changed);
    }

    /// Runs statements in the writers' session, until one is refused.
    async fn execute(&mut self, change: &Change) {
        if let Some(file) = &change.file {
            let file = Bytes::from(file.clone());
            self.writer.set_infile_handler(async move {
                let block: std::io::Result<_> = Ok(file);
                Ok(Box::pin(futures_util::stream::iter([block])) as InfileData)
            });
        }
        let settings = &self.case.settings;
        let mut refused = false;
        for statement in &change.statements {
            let sql = statement.sql(&self.case.without);
            if let Err(error) = self.writer.query_drop(settings.encoded(&sql)).await {
                assert!(
                    !matches!(error, mysql_async::Error::Io(_)),
                    "{error}\nin: {sql}"
                );
                refused = true;
                break;
            }
        }
        let mut ends = vec![if refused { "ROLLBACK" } else { "COMMIT" }];
        if refused {
            self.done.refused_statements += 1;
            ends.extend([
                "XA END 'x'",
                "XA ROLLBACK 'x'",
                "ROLLBACK",
                "SET SESSION binlog_format = ROW",
            ]);
        }
        for sql in ends {
            self.writer.query_drop(sql).await.ok();
        }
    }

    /// Readers that read the rows of before store them after the first deletion, as late as they may.
    async fn fill_late(&mut self, old: &Entries, before: &Snapshot, until: SystemTime) {
        let names: Vec<(Place, Name)> = old.keys().cloned().collect();
        let store_at = until - FILL_WITHIN / 4;
        while SystemTime::now() < store_at && !self.cache.read(&names).await.is_empty() {
            tokio::time::sleep(POLL_EVERY / 2).await;
        }
        self.cache.fill(old, before, Some(until)).await;
        if SystemTime::now() < until {
            self.done.late_fills += old.len() as u64;
        }
    }
}

/// The names that stand for something else.
fn differing(before: &Snapshot, after: &Snapshot) -> BTreeSet<(Place, Name)> {
    let names = |snapshot: &Snapshot| -> BTreeMap<(Place, Name), ()> {
        let entries = snapshot.entries.iter();
        let names = entries
            .flat_map(|(place, names)| names.keys().map(|name| ((*place, name.clone()), ())));
        names.collect()
    };
    let mut all = names(before);
    all.extend(names(after));
    let differs =
        |(place, name): &(Place, Name)| before.content(*place, name) != after.content(*place, name);
    all.into_keys().filter(differs).collect()
}
