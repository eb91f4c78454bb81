//! The cache as applications use it.

use std::collections::{BTreeMap, BTreeSet};

use redis::aio::MultiplexedConnection;

use super::rules::{Rule, Shape};
use super::snapshot::{Content, Name, Place, Snapshot};

/// What readers of guarded entries store with.
const FILL: &str = include_str!("../../lua/fill.lua");

/// No entry expires within a case.
const LIVES_MS: &str = "3600000";

/// Entries, by place and name.
pub type Entries = BTreeMap<(Place, Name), Content>;

#[derive(Clone)]
pub struct Cache {
    pub conn: MultiplexedConnection,
    pub rules: Vec<Rule>,
}

/// Where the entry of a tag's name is.
fn tagged(name: &[u8]) -> Vec<u8> {
    [b"entry:", name].concat()
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

    /// Stores entries as their readers do.
    pub async fn fill(&mut self, entries: &Entries, snapshot: &Snapshot) {
        let mut pipe = redis::pipe();
        for ((place, name), content) in entries {
            let value = serde_json::to_string(content).expect("texts");
            match self.shape(*place) {
                Shape::Plain | Shape::Versioned => {
                    pipe.set(name, value).ignore();
                }
                Shape::Tag => {
                    pipe.sadd(name, tagged(name)).ignore();
                    pipe.set(tagged(name), value).ignore();
                }
                Shape::Field(key) => {
                    pipe.hset(key, name, value).ignore();
                }
                Shape::Guarded(_) => {
                    let guard = snapshot.guards.get(&(*place, name.clone()));
                    // Of several rows there is no version.
                    if let Some((guard, version)) = guard
                        && content.len() == 1
                    {
                        let fill = pipe.cmd("EVAL").arg(FILL).arg(2).arg(guard).arg(name);
                        fill.arg(version).arg(value).arg(LIVES_MS).arg(LIVES_MS);
                        fill.ignore();
                    }
                }
            }
        }
        if !entries.is_empty() {
            let () = pipe.query_async(&mut self.conn).await.expect("Redis runs");
        }
    }

    /// What readers are served under these names.
    pub async fn read(&mut self, names: &[(Place, Name)]) -> Entries {
        if names.is_empty() {
            return Entries::new();
        }
        let mut pipe = redis::pipe();
        for (place, name) in names {
            match self.shape(*place) {
                Shape::Tag => pipe.get(tagged(name)),
                Shape::Field(key) => pipe.hget(key, name),
                _ => pipe.get(name),
            };
        }
        let values: Vec<Option<Vec<u8>>> =
            pipe.query_async(&mut self.conn).await.expect("Redis runs");
        let entries = names.iter().zip(values);
        entries
            .filter_map(|(name, value)| {
                let content = serde_json::from_slice(&value?).expect("readers store JSON");
                Some((name.clone(), content))
            })
            .collect()
    }

    /// A reader that was slower than it may be takes back what it stored.
    pub async fn forget(&mut self, entries: &Entries) {
        let mut pipe = redis::pipe();
        for (place, name) in entries.keys() {
            match self.shape(*place) {
                Shape::Tag => pipe.del(tagged(name)),
                Shape::Field(key) => pipe.hdel(key, name),
                _ => pipe.del(name),
            };
        }
        if !entries.is_empty() {
            let () = pipe.exec_async(&mut self.conn).await.expect("Redis runs");
        }
    }
}
