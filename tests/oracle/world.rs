//! A case while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, InfileData};
use tokio::task::JoinHandle;

use super::cache::{Cache, Entries};
use super::case::Case;
use super::config::{Config, EdgeAt};
use super::edge::{Edge, Origin};
use super::failure::{Failure, Kind};
use super::fates::EdgeFate;
use super::lane::{FILL_WITHIN, Lane, connect, run};
use super::snapshot::{self, Columns, Name, Place, Snapshot};
use super::steps::{Allows, Change, Step};
use super::topology::{self, Queue};
use crate::soak::hosts::Hosts;
use crate::soak::proxy::{Alter, Proxy, Watch};
use crate::support::{Evictd, EvictdOptions, shared_aws};

pub const POLL_EVERY: Duration = Duration::from_millis(5);

/// What was done, for the report of a run.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub fills: u64,
    pub late_fills: u64,
    pub pages: u64,
    /// Entries that were compared with their rows.
    pub compared: u64,
    pub refused_statements: u64,
    /// How long steps of each kind took.
    pub took: BTreeMap<String, Duration>,
}

pub struct World<'l> {
    pub case: &'l Case,
    pub lane: &'l mut Lane,
    /// What evictd has, or gets at its next start.
    pub config: Config,
    pub options: EvictdOptions,
    pub evictd: Option<Evictd>,
    /// Another one, which leads when the first one is gone.
    pub standby: Option<Evictd>,
    pub frozen: bool,
    /// Where the server's binlog ended when it was held.
    pub held: Option<(String, u64)>,
    pub writer: Conn,
    pub reader: Conn,
    pub cache: Cache,
    pub edge: Option<Edge>,
    pub edge_fate: EdgeFate,
    pub edge_at: Option<EdgeAt>,
    /// Requests to SQS.
    pub sqs: Option<Proxy>,
    /// Paths of another configuration, which wait in SQS.
    pub foreign: Vec<String>,
    /// What viewers ask.
    pub origin: Option<Arc<tokio::sync::Mutex<Origin>>>,
    viewer: Option<JoinHandle<()>>,
    columns: Columns,
    pub now: Snapshot,
    /// Every name that was ever in use.
    pub known: BTreeSet<(Place, Name)>,
    /// Entries that were there at the last quiet point.
    pub kept: Entries,
    /// What was changed since then, if only for a moment.
    pub touched: BTreeSet<(Place, Name)>,
    /// How many statements since then were about a page.
    pub paid_for: BTreeMap<String, usize>,
    /// Whose pages changed that cannot have a tag.
    pub untagged: BTreeSet<Place>,
    /// How much of what CloudFront made was looked at.
    pub billed: usize,
    /// Something happened after which paths may be paid for again.
    pub pays_twice: bool,
    pub allowed: Vec<Allows>,
    /// What was allowed before the last quiet point. A wildcard may be sent after a mark that is a path of its own.
    pub allowed_before: Vec<Allows>,
    /// Tables that a rule did not fit since then, so that all rules about them widen whatever is changed.
    pub unfit: BTreeSet<String>,
    pub added: Vec<String>,
    /// The process of Redis.
    pub redis_run: String,
    /// A mark that is not in its table yet, and whose key is stored.
    pub mark_ahead: Option<u64>,
    pub kept_data: bool,
    /// Whether the server leaves the case's database out of its binlog.
    pub left_out: bool,
    pub cut_off: bool,
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

/// A session that writes.
pub async fn writer(lane: &Lane, case: &Case) -> Conn {
    let mut writer = lane.mysql.conn().await;
    // Before the session has a character set that the name cannot be written in.
    run(&mut writer, "SET NAMES utf8mb4").await;
    run(&mut writer, &format!("USE `{}`", case.schema.database)).await;
    for sql in case.settings.session() {
        run(&mut writer, &sql).await;
    }
    writer
}

/// SQS, whose hosts have clocks of their own, and the URL of a queue.
async fn sqs(seed: u64) -> (Proxy, String) {
    static QUEUES: AtomicU64 = AtomicU64::new(1);
    let aws = shared_aws().await;
    let number = QUEUES.fetch_add(1, Ordering::Relaxed);
    let url = aws.create_queue(&format!("oracle-{number}")).await;
    let hosts = Hosts::new(seed);
    let alter: Alter = Arc::new(move |answer| hosts.alter(answer));
    let nobody: Watch = Arc::new(|_| Box::pin(async {}));
    (Proxy::http(aws.port(), nobody, alter).await, url)
}

impl<'l> World<'l> {
    async fn open(lane: &'l mut Lane, case: &'l Case, reader: Conn) -> Self {
        let (mut edge, mut edge_at, mut proxy) = (None, None, None);
        if case.edge {
            let started = Edge::start().await;
            let mut at = EdgeAt {
                cloudfront_url: started.fake.url().to_owned(),
                sqs_url: String::new(),
                queue_url: String::new(),
            };
            if case.topology.queue == Queue::Sqs {
                let (sqs, queue_url) = sqs(case.seed).await;
                at.sqs_url = format!("http://127.0.0.1:{}", sqs.port());
                at.queue_url = queue_url;
                proxy = Some(sqs);
            }
            (edge, edge_at) = (Some(started), Some(at));
        }
        let config = Config::of(case);
        let mut cache = Cache {
            conn: lane.redis.conn().await,
            rules: case.rules.clone(),
            full: false,
        };
        let redis_run = cache.run().await;
        Self {
            case,
            options: config.options(lane, case, edge_at.as_ref()),
            config,
            evictd: None,
            standby: None,
            frozen: false,
            held: None,
            writer: writer(lane, case).await,
            lane,
            reader,
            cache,
            edge,
            edge_fate: EdgeFate::Well,
            edge_at,
            sqs: proxy,
            foreign: Vec::new(),
            origin: None,
            viewer: None,
            columns: Columns::new(),
            now: Snapshot::default(),
            known: BTreeSet::new(),
            kept: Entries::new(),
            touched: BTreeSet::new(),
            paid_for: BTreeMap::new(),
            untagged: BTreeSet::new(),
            billed: 0,
            pays_twice: false,
            allowed: Vec::new(),
            allowed_before: Vec::new(),
            unfit: BTreeSet::new(),
            added: Vec::new(),
            redis_run,
            mark_ahead: None,
            kept_data: false,
            left_out: false,
            cut_off: false,
            step: 0,
            done: Done::default(),
        }
    }

    fn close(&mut self) {
        if let Some(viewer) = self.viewer.take() {
            viewer.abort();
        }
        drop(self.evictd.take());
        drop(self.standby.take());
        self.lane.replica = None;
        self.lane.former = None;
        self.lane.redis_replica = None;
    }

    async fn play(&mut self) -> Result<(), Failure> {
        self.begin_to_read().await?;
        if let Some(edge) = &self.edge {
            let database = self.case.schema.database.clone();
            let mut reader = connect(&self.lane.mysql).await;
            run(&mut reader, &format!("USE `{database}`")).await;
            let origin = Arc::new(tokio::sync::Mutex::new(Origin {
                reader,
                cache: self.cache.clone(),
            }));
            self.origin = Some(Arc::clone(&origin));
            let viewer = edge.clone().view(database, origin);
            self.viewer = Some(tokio::spawn(viewer));
        }
        self.look().await;
        self.begin_anew().await;
        if self.case.topology.checkpoint == topology::Place::Redis {
            // There is none yet, which counts as one that was lost.
            self.allowed.push(Allows::Everything);
        }
        for (number, step) in self.case.steps.iter().enumerate() {
            self.step = number + 1;
            let begun = Instant::now();
            match step {
                Step::Change(change) => self.change(change).await,
                Step::Evictd(fate) => self.meet(*fate).await?,
                Step::Edge(fate) => self.edge_meets(*fate),
                Step::Queue(fate) => self.queue_meets(*fate).await,
                Step::Files(fate) => self.files_meet(*fate),
                Step::Redis(fate) => self.redis_meets(*fate).await,
                Step::Mysql(fate) => self.mysql_meets(*fate).await,
                Step::Flood => self.flood().await,
                Step::Progress => self.progress().await?,
                Step::Fill => {
                    self.fill().await;
                }
                Step::Quiet => self.quiet().await?,
            }
            *self.done.took.entry(step.kind()).or_default() += begun.elapsed();
        }
        Ok(())
    }

    fn edge_meets(&mut self, fate: EdgeFate) {
        if let Some(edge) = &self.edge {
            edge.meet(fate, &self.config, &self.now.pages);
            self.edge_fate = fate;
            self.pays_twice = true;
        }
    }

    /// What evictd has from now on.
    pub fn configure(&mut self, config: Config) {
        self.options = config.options(self.lane, self.case, self.edge_at.as_ref());
        self.config = config;
    }

    /// Viewers ask for every page.
    pub async fn ask(&mut self) {
        if let Some(edge) = &self.edge {
            let (config, pages) = (&self.config, &self.now.pages);
            edge.ask(config, pages, &mut self.cache, &self.now).await;
            self.done.pages += self.now.pages.len() as u64;
        }
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
                // Of its rows it is not known what they are, nor what goes with them.
                let schema = &self.case.schema;
                let tables = schema.tables.iter().map(|table| table.name.clone());
                let follows = |name: &String| schema.hides_cascades && schema.follows(table, name);
                self.unfit.extend(tables.filter(follows));
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
        self.ask().await;
        self.touched.clear();
        self.paid_for.clear();
        self.untagged.clear();
        let unfit = std::mem::take(&mut self.unfit).into_iter().collect();
        self.allowed_before = std::mem::take(&mut self.allowed);
        self.allowed_before.push(Allows::Tables(unfit));
        self.note_unfit();
    }

    async fn change(&mut self, change: &Change) {
        let until = SystemTime::now() + FILL_WITHIN;
        let mut old = Entries::new();
        if change.late || change.held.is_some() {
            self.look().await;
            old = self.fill().await;
        }
        let before = self.now.clone();
        let (refused, until) = match change.held {
            Some(held) => self.execute_held(change, held, (&old, &before)).await,
            None => {
                let refused = execute(&mut self.writer, self.case, change).await;
                (refused, until)
            }
        };
        self.done.refused_statements += u64::from(refused);
        self.look().await;
        self.allowed.push(change.allows.clone());
        self.added.extend(change.adds.iter().cloned());
        let changed = differing(&before, &self.now);
        if change.late {
            old.retain(|name, _| changed.contains(name));
            self.fill_late(&old, &before, until).await;
        }
        for (path, of) in before.pages.iter().chain(&self.now.pages) {
            if changed.contains(of) {
                // Tags have no case.
                let billed = if path.starts_with('#') {
                    path.to_ascii_lowercase()
                } else {
                    path.clone()
                };
                *self.paid_for.entry(billed).or_default() += change.statements.len();
                let place = of.0;
                if self.case.rules[place.0].families[place.1].tagged && path.starts_with('/') {
                    self.untagged.insert(place);
                }
            }
        }
        self.touched.extend(changed);
    }

    /// Readers that read the rows of before store them after the first deletion, as late as they may.
    async fn fill_late(&mut self, old: &Entries, before: &Snapshot, until: SystemTime) {
        let names: Vec<(Place, Name)> = old.keys().cloned().collect();
        let store_at = until - FILL_WITHIN / 4;
        while SystemTime::now() < store_at && !self.cache.read(&names).await.is_empty() {
            tokio::time::sleep(POLL_EVERY / 2).await;
        }
        if self.cache.full {
            return;
        }
        self.cache.fill(old, before, Some(until)).await;
        if SystemTime::now() < until {
            self.done.late_fills += old.len() as u64;
        }
    }
}

/// The names that stand for something else.
pub fn differing(before: &Snapshot, after: &Snapshot) -> BTreeSet<(Place, Name)> {
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

/// Runs statements in the writers' session, until one is refused. Whether one was is the answer.
pub async fn execute(writer: &mut Conn, case: &Case, change: &Change) -> bool {
    if let Some(file) = &change.file {
        let file = Bytes::from(file.clone());
        writer.set_infile_handler(async move {
            let block: std::io::Result<_> = Ok(file);
            Ok(Box::pin(futures_util::stream::iter([block])) as InfileData)
        });
    }
    let mut refused = false;
    for statement in &change.statements {
        let sql = statement.sql(&case.without);
        if let Err(error) = writer.query_drop(case.settings.encoded(&sql)).await {
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
        ends.extend([
            "XA END 'x'",
            "XA ROLLBACK 'x'",
            "ROLLBACK",
            "SET SESSION binlog_format = ROW",
        ]);
    }
    for sql in ends {
        writer.query_drop(sql).await.ok();
    }
    refused
}
