//! Changes of which each has a key and a path of its own, so that the fate of every single one is known: when its
//! key went, whether it stayed away, and whether the edge heard of it only afterwards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clients::{Address, Cache, Database, Endpoint};
use super::proxy::{Seen, Watch};
use super::readers::{ENTRY_TTL, fill_in_time};
use super::shapes::now_us;
use super::spy::CommitTimes;
use super::traffic::Traffic;
use crate::support::ChangedPath;

pub const RULE: &str = r#"
[[rule]]
name   = "probes"
tables = ["soak.probes"]
keys   = ["probe:{id}"]
paths  = ["/probe/{id}"]
"#;

/// Between two probes of one prober.
const EVERY: Duration = Duration::from_millis(20);

/// For deletions that were announced while nobody listened.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// All probes of a run.
pub struct Probes {
    pub traffic: Arc<Traffic>,
    next: AtomicU64,
    /// When each was committed, as the binlog says.
    pub committed: CommitTimes,
    state: Mutex<State>,
    cache: Address,
    fill_within: Duration,
}

/// The id that the configuration begins with.
pub const FIRST_DISTRIBUTION: &str = "E1";

#[derive(Default)]
struct State {
    /// Their keys still stand; with the time that a reader read the row before the change.
    standing: HashMap<u64, u64>,
    /// When each key went for the first time.
    deleted: HashMap<u64, u64>,
    /// The ids of the distributions that count.
    distributions: Vec<String>,
    /// Every path that the edge accepted there, with the times of the requests, in their order.
    accepted: HashMap<String, Vec<u64>>,
    too_early: Vec<String>,
    /// When the cache last came back with entries that had been deleted.
    restored_us: u64,
    /// Announced by Redis, of entries of all shapes; by replicas too.
    all_deletions: u64,
}

/// When one change may go to the edge, and when the edge heard of it; in µs since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its key had settled.
    pub ready_us: u64,
    pub heard_us: u64,
}

pub fn key(id: u64) -> String {
    format!("probe:{id}")
}

/// Of every probe's path.
pub const PREFIX: &str = "/probe/";

pub fn path(id: u64) -> String {
    format!("{PREFIX}{id}")
}

/// A path of which the edge has to hear, in µs since the epoch.
pub struct Due {
    pub path: String,
    /// By itself at this time or later.
    pub since: u64,
    /// Or in a wildcard at this time or later.
    pub in_wildcard_since: u64,
}

impl Probes {
    pub fn new(traffic: &Arc<Traffic>, cache: Address, fill_within: Duration) -> Arc<Self> {
        Arc::new(Self {
            traffic: Arc::clone(traffic),
            next: AtomicU64::new(1),
            committed: CommitTimes::default(),
            state: Mutex::new(State {
                distributions: vec![FIRST_DISTRIBUTION.to_owned()],
                ..State::default()
            }),
            cache,
            fill_within,
        })
    }

    /// Caches "there is no such row", inserts it, and leaves it to evictd that the entry goes.
    pub async fn probe(self: Arc<Self>, database: Endpoint) {
        let mut database = Database::new(&database);
        let mut cache = Cache::new(&self.cache);
        while let Some(_leave) = self.traffic.may_write().await {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let read_us = now_us();
            let mut set = redis::cmd("SET");
            cache.insist::<()>(set.arg(key(id)).arg("absent")).await;
            self.state.lock().unwrap().standing.insert(id, read_us);
            let insert = format!("INSERT IGNORE INTO probes VALUES ({id}, 1)");
            while database.run(&insert).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Notes when keys go. Of every other one the reader that read before the change is so slow that it fills
    /// only now, if it still may.
    pub async fn watch(self: Arc<Self>) {
        let (announce, mut announced) = mpsc::channel(10_000);
        let nodes = match &self.cache {
            Address::Single(port) => vec![format!("redis://127.0.0.1:{port}/0")],
            Address::Cluster(urls) => urls.clone(),
        };
        let mut listeners = JoinSet::new();
        for url in nodes {
            listeners.spawn(listen(url, announce.clone()));
        }
        let mut cache = Cache::new(&self.cache);
        let mut random = StdRng::seed_from_u64(self.traffic.seed ^ 0x9B0B_E000);
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                biased;
                Some((key, at_us)) = announced.recv() => {
                    self.state.lock().unwrap().all_deletions += 1;
                    let id = key.strip_prefix("probe:").and_then(|id| id.parse().ok());
                    if let Some(id) = id {
                        self.gone(id, at_us, &mut cache, &mut random).await;
                    }
                }
                _ = look.tick() => self.look(&mut cache, &mut random).await,
            }
        }
    }

    /// Finds keys that went unheard.
    async fn look(&self, cache: &mut Cache, random: &mut StdRng) {
        let standing: Vec<u64> = {
            let state = self.state.lock().unwrap();
            state.standing.keys().copied().collect()
        };
        if standing.is_empty() {
            return;
        }
        let mut get = redis::cmd("MGET");
        standing.iter().for_each(|id| {
            get.arg(key(*id));
        });
        let Ok(entries) = cache.run::<Vec<Option<String>>>(&get).await else {
            return;
        };
        let now = now_us();
        for (id, entry) in standing.into_iter().zip(entries) {
            if entry.is_none() {
                self.gone(id, now, cache, random).await;
            }
        }
    }

    async fn gone(&self, id: u64, now: u64, cache: &mut Cache, random: &mut StdRng) {
        let read_us = {
            let mut state = self.state.lock().unwrap();
            let read_us = state.standing.remove(&id);
            if read_us.is_some() {
                state.deleted.entry(id).or_insert(now);
            }
            read_us
        };
        // The second deletion finds nothing to note.
        if let Some(read_us) = read_us
            && random.random()
        {
            let fill = fill_in_time(&key(id), "absent", read_us, self.fill_within, ENTRY_TTL);
            cache.run::<bool>(&fill).await.ok();
        }
    }

    /// Looks at every request for invalidations before CloudFront gets it: at that time the keys of its probes
    /// must be gone for good.
    pub fn edge_watch(self: &Arc<Self>) -> Watch {
        let probes = Arc::clone(self);
        Arc::new(move |seen| {
            let probes = Arc::clone(&probes);
            Box::pin(async move {
                match seen {
                    Seen::Request(body) => probes.check_order(&body).await,
                    Seen::Answered(body, 200..=299, received_us) => {
                        let mut state = probes.state.lock().unwrap();
                        let counts = |id: &String| body.contains(&format!("/distribution/{id}/"));
                        if !state.distributions.iter().any(counts) {
                            return;
                        }
                        for path in paths(&body) {
                            let times = state.accepted.entry(path.to_owned());
                            times.or_default().push(received_us);
                        }
                    }
                    Seen::Answered(..) => {}
                }
            })
        })
    }

    /// What reaches this distribution counts, too, from now on.
    pub fn count_at_both(&self, distribution: &str) {
        let mut state = self.state.lock().unwrap();
        state.distributions.push(distribution.to_owned());
    }

    /// What reaches the newest distribution counts from now on, and nothing else.
    pub fn count_at_last(&self) {
        let mut state = self.state.lock().unwrap();
        let last = state.distributions.pop();
        state.distributions = Vec::from_iter(last);
    }

    async fn check_order(&self, body: &str) {
        let ids: Vec<u64> = paths(body)
            .filter_map(|path| path.strip_prefix(PREFIX)?.parse().ok())
            .collect();
        if ids.is_empty() {
            return;
        }
        let mut get = redis::cmd("MGET");
        ids.iter().for_each(|id| {
            get.arg(key(*id));
        });
        let mut cache = Cache::new(&self.cache);
        let entries: Vec<Option<String>> = cache.insist(&get).await;
        let still_there = ids.iter().zip(entries).filter(|(_, entry)| entry.is_some());
        let mut state = self.state.lock().unwrap();
        for (id, _) in still_there {
            let came_back = state
                .deleted
                .get(id)
                .is_some_and(|at| *at < state.restored_us);
            if !came_back {
                state.too_early.push(path(*id));
            }
        }
    }

    /// The cache is about to come back with entries that had been deleted.
    pub fn restored(&self) {
        self.state.lock().unwrap().restored_us = now_us();
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// Entries of all shapes that were seen to go.
    pub fn all_deletions(&self) -> u64 {
        self.state.lock().unwrap().all_deletions
    }

    /// Paths that reached the edge while their keys were still there.
    pub fn too_early(&self) -> Vec<String> {
        self.state.lock().unwrap().too_early.clone()
    }

    /// Every probe's path. It is sent by itself for the probe alone, and a wildcard counts once the key has settled.
    pub fn due(&self, settle_us: u64) -> impl Iterator<Item = Due> {
        let deleted = self.state.lock().unwrap().deleted.clone();
        (1..=self.count()).map(move |id| Due {
            path: path(id),
            since: 0,
            in_wildcard_since: deleted.get(&id).map_or(0, |at| at + settle_us),
        })
    }

    /// Takes away every path of which the edge has heard in time.
    pub fn retain_unsent(&self, due: &mut Vec<Due>) {
        let state = self.state.lock().unwrap();
        let wildcards: Vec<(&str, u64)> = state
            .accepted
            .iter()
            .filter_map(|(path, at)| Some((path.strip_suffix('*')?, *at.last()?)))
            .collect();
        due.retain(|due| {
            let in_time = |times: &Vec<u64>| times.last() >= Some(&due.since);
            let covers = |(prefix, at): &(&str, u64)| {
                due.path.starts_with(prefix) && *at >= due.in_wildcard_since
            };
            let alone = state.accepted.get(&due.path).is_some_and(in_time);
            !alone && !wildcards.iter().any(covers)
        });
    }

    /// Every probe's path, and when everything before the edge was done with it at the earliest.
    pub fn settled(&self, settle_after: Duration) -> Vec<ChangedPath> {
        let (now, now_us) = (Instant::now(), now_us());
        let state = self.state.lock().unwrap();
        let deleted = state.deleted.iter().map(|(id, deleted_us)| ChangedPath {
            path: path(*id),
            at: now - Duration::from_micros(now_us.saturating_sub(*deleted_us)) + settle_after,
        });
        deleted.collect()
    }

    /// Every path that the edge accepted.
    pub fn accepted(&self) -> Vec<String> {
        self.state
            .lock()
            .unwrap()
            .accepted
            .keys()
            .cloned()
            .collect()
    }

    /// Of every change that the edge heard of, when it did for the first time: what comes again does not wait.
    pub fn arrivals(&self, settle_after: Duration) -> Vec<Arrival> {
        let settle_us = u64::try_from(settle_after.as_micros()).unwrap();
        let state = self.state.lock().unwrap();
        let wildcards: Vec<(&str, &Vec<u64>)> = state
            .accepted
            .iter()
            .filter_map(|(path, times)| Some((path.strip_suffix('*')?, times)))
            .collect();
        let arrivals = state.deleted.iter().filter_map(|(id, deleted_us)| {
            let (path, ready_us) = (path(*id), deleted_us + settle_us);
            let alone = state.accepted.get(&path).and_then(|times| times.first());
            let in_wildcards = wildcards
                .iter()
                .filter(|(prefix, _)| path.starts_with(prefix))
                .filter_map(|(_, times)| times.iter().find(|at| **at >= ready_us));
            let heard_us = *in_wildcards.chain(alone).min()?;
            Some(Arrival { ready_us, heard_us })
        });
        arrivals.collect()
    }

    /// From the commit to the first deletion, in µs, sorted; without those that a disturbance was in between.
    pub fn latencies(&self, disturbances: &[(u64, u64)]) -> Vec<u64> {
        let committed = self.committed.lock().unwrap();
        let state = self.state.lock().unwrap();
        let mut all: Vec<u64> = state
            .deleted
            .iter()
            .filter_map(|(id, deleted)| {
                let committed = *committed.get(id)?;
                let disturbed = |(from, to): &(u64, u64)| committed < *to && *from < *deleted;
                let calm = !disturbances.iter().any(disturbed);
                calm.then(|| deleted.saturating_sub(committed))
            })
            .collect();
        all.sort_unstable();
        all
    }
}

/// Hands on which keys a server announces as deleted, and when that was heard.
async fn listen(url: String, announce: mpsc::Sender<(String, u64)>) {
    let client = redis::Client::open(url).unwrap();
    loop {
        let subscribed = async {
            // Fails while a server that starts reads its file: it announces the deletions in there once more.
            let mut asked = client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async::<()>(&mut asked).await?;
            let mut listener = client.get_async_pubsub().await?;
            listener.subscribe("__keyevent@0__:del").await?;
            Ok::<_, redis::RedisError>(listener.into_on_message())
        };
        if let Ok(mut deletions) = subscribed.await {
            while let Some(deletion) = deletions.next().await {
                let key = deletion.get_payload().unwrap_or_default();
                if announce.send((key, now_us())).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The paths in a request for an invalidation.
fn paths(body: &str) -> impl Iterator<Item = &str> {
    body.split("<Path>")
        .skip(1)
        .filter_map(|rest| rest.split_once("</Path>").map(|(path, _)| path))
}
