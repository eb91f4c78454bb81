//! The cache as applications use it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;

use super::rules::{Rule, Shape};
use super::snapshot::{Content, Generations, Name, Place, Snapshot};

/// What readers of guarded entries store with.
const FILL: &str = include_str!("../../lua/fill.lua");

/// No entry expires within a case.
const LIVES_MS: &str = "3600000";

/// Runs a command, unless it is later than the time in microseconds that stands before it. Redis compares, so that
/// nothing is stored late because this process or Redis was held up.
const IN_TIME: &str = "local now = redis.call('TIME') \
     if now[1] * 1000000 + now[2] > tonumber(ARGV[1]) then return 0 end \
     redis.call(unpack(ARGV, 2)) return 1";

/// Entries, by place and name.
pub type Entries = BTreeMap<(Place, Name), Content>;

#[derive(Clone)]
pub struct Cache {
    pub conn: MultiplexedConnection,
    pub rules: Vec<Rule>,
    /// Whether Redis takes nothing.
    pub full: bool,
}

/// Where the entry of a tag's name is.
fn tagged(name: &[u8]) -> Vec<u8> {
    [b"entry:", name].concat()
}

/// The hash and the field of a name.
fn field(name: &[u8]) -> (&[u8], &[u8]) {
    let end = name.iter().position(|byte| *byte == b'\n');
    let end = end.expect("a snapshot names both");
    (&name[..end], &name[end + 1..])
}

impl Cache {
    fn shape(&self, place: Place) -> &Shape {
        &self.rules[place.0].families[place.1].shape
    }

    /// What readers would store by now: what there is, and that something is not there any more.
    pub fn entries(&self, snapshot: &Snapshot, known: &BTreeSet<(Place, Name)>) -> Entries {
        let there = snapshot.entries.iter().flat_map(|(place, names)| {
            let entry =
                |(name, content): (&Name, &Content)| ((*place, name.clone()), content.clone());
            names.iter().map(entry)
        });
        let mut entries: Entries = there.collect();
        for (place, name) in known {
            // Of a version that no row has nobody asks, and without a row there is no version for a guard.
            if matches!(
                self.shape(*place),
                Shape::Plain | Shape::Tag | Shape::Field(_)
            ) {
                entries.entry((*place, name.clone())).or_default();
            }
        }
        entries
    }

    /// Redis' name for its process.
    pub async fn run(&mut self) -> String {
        let info = redis::cmd("INFO").arg("server").to_owned();
        let info: redis::InfoDict = info.query_async(&mut self.conn).await.expect("Redis runs");
        info.get("run_id").expect("it has one")
    }

    /// What the rules' counters say. Readers ask before they read rows.
    pub async fn generations(&mut self) -> Generations {
        let mut generations = Generations::new();
        for rule in &self.rules {
            let Some(counter) = rule.counter() else {
                generations.push(None);
                continue;
            };
            let asked = redis::cmd("GET").arg(counter).to_owned();
            let count: Option<u64> = asked.query_async(&mut self.conn).await.expect("Redis runs");
            generations.push(Some(count.unwrap_or_default()));
        }
        generations
    }

    /// Stores entries as their readers do; and where they have a time, not later, but for what a guard refuses.
    pub async fn fill(&mut self, entries: &Entries, read: &Snapshot, until: Option<SystemTime>) {
        if entries.is_empty() || self.full {
            return;
        }
        let until = until.map(|until| {
            let since = until.duration_since(UNIX_EPOCH).expect("it is past 1970");
            since.as_micros().to_string()
        });
        let mut pipe = redis::pipe();
        let store = |pipe: &mut redis::Pipeline, command: &[&[u8]]| {
            let mut run = redis::Cmd::new();
            if let Some(until) = &until {
                run.arg("EVAL").arg(IN_TIME).arg(0).arg(until);
            }
            pipe.add_command(run.arg(command).to_owned());
        };
        for ((place, name), content) in entries {
            let value = (read.generations[place.0], content);
            let value = serde_json::to_vec(&value).expect("texts");
            match self.shape(*place) {
                Shape::Plain | Shape::Versioned => store(&mut pipe, &[b"SET", name, &value]),
                Shape::Tag => {
                    store(&mut pipe, &[b"SADD", name, &tagged(name)]);
                    store(&mut pipe, &[b"SET", &tagged(name), &value]);
                }
                Shape::Field(_) => {
                    let (key, field) = field(name);
                    store(&mut pipe, &[b"HSET", key, field, &value]);
                }
                Shape::Guarded(_) => {
                    let guard = read.guards.get(&(*place, name.clone()));
                    // Of several rows there is no version.
                    if let Some((guard, version)) = guard
                        && content.len() == 1
                    {
                        let fill = pipe.cmd("EVAL").arg(FILL).arg(2).arg(guard).arg(name);
                        fill.arg(version).arg(value).arg(LIVES_MS).arg(LIVES_MS);
                    }
                }
            }
        }
        // What has no version is stored under no guard.
        if pipe.is_empty() {
            return;
        }
        let () = pipe.exec_async(&mut self.conn).await.expect("Redis runs");
    }

    /// What readers are served under these names.
    pub async fn read(&mut self, names: &[(Place, Name)]) -> Entries {
        if names.is_empty() {
            return Entries::new();
        }
        let generations = self.generations().await;
        let mut pipe = redis::pipe();
        for (place, name) in names {
            match self.shape(*place) {
                Shape::Tag => pipe.get(tagged(name)),
                Shape::Field(_) => {
                    let (key, field) = field(name);
                    pipe.hget(key, field)
                }
                _ => pipe.get(name),
            };
        }
        let values: Vec<Option<Vec<u8>>> =
            pipe.query_async(&mut self.conn).await.expect("Redis runs");
        let entries = names.iter().zip(values);
        entries
            .filter_map(|(name, value)| {
                let (generation, content): (Option<u64>, Content) =
                    serde_json::from_slice(&value?).expect("readers store JSON");
                // One of a generation before is as good as none.
                (generation == generations[name.0.0]).then(|| (name.clone(), content))
            })
            .collect()
    }
}
