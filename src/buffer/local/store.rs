//! The file behind the local queue, and in memory who has received which message.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::durable::is_full;

/// Bodies by sequence number.
const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
/// Messages that nothing could be done with, as JSON, by sequence number.
const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead_letters");
/// Numbers the queue remembers.
const NUMBERS: TableDefinition<'_, &str, u128> = TableDefinition::new("numbers");
/// A random number, drawn when the file is made. Part of every message's id, so
/// that a new file at the same place never repeats an id.
const IDENTITY: &str = "identity";
/// The next sequence number. Stored, so that one is not used again after the
/// newest message was deleted.
const NEXT: &str = "next";

/// The whole queue is a few pages most of the time.
const CACHE_BYTES: usize = 16 * 1_024 * 1_024;

#[derive(Debug)]
pub(super) struct LocalStore {
    path: PathBuf,
    /// Closed after an I/O error: `redb` then refuses everything until the
    /// file is opened again.
    database: Option<Database>,
    identity: u128,
    /// Messages from here on were never handed out by this process.
    unread_from: u64,
    /// Messages that were handed out and not deleted.
    in_flight: HashMap<u64, Hold>,
    deliveries: u64,
}

#[derive(Debug)]
struct Hold {
    delivery: u64,
    /// Number of times the message was handed out by this process.
    times: u32,
    until: Instant,
}

/// A message in the table of dead letters.
#[derive(Serialize, Deserialize)]
pub(super) struct Dead {
    pub(super) reason: String,
    pub(super) deliveries: u32,
    pub(super) body: String,
}

pub(super) struct Delivered {
    pub(super) id: Arc<str>,
    /// Tells this file's sequence numbers from another's.
    pub(super) buffer: u64,
    pub(super) sequence: u64,
    pub(super) delivery: u64,
    pub(super) times: u32,
    pub(super) body: Vec<u8>,
}

pub(super) enum Taken {
    /// At least one.
    Messages(Vec<Delivered>),
    /// Nothing is visible before then, unless it is sent.
    NothingUntil(Option<Instant>),
}

impl LocalStore {
    /// A file on a full disk is opened by the first use that finds room.
    pub(super) fn open(path: &Path) -> Result<Self, redb::Error> {
        let (database, identity) = match open(path) {
            Ok((database, identity)) => (Some(database), identity),
            Err(redb::Error::Io(error)) if is_full(&error) => (None, 0),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            database,
            identity,
            unread_from: 0,
            in_flight: HashMap::new(),
            deliveries: 0,
        })
    }

    /// Stores bodies in one durable transaction.
    pub(super) fn append(&mut self, bodies: &[String]) -> Result<(), redb::Error> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            {
                let mut messages = transaction.open_table(MESSAGES)?;
                let mut numbers = transaction.open_table(NUMBERS)?;
                let mut next = sequence(numbers.get(NEXT)?.map_or(0, |next| next.value()))?;
                for body in bodies {
                    messages.insert(next, body.as_bytes())?;
                    next += 1;
                }
                numbers.insert(NEXT, u128::from(next))?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Hands out up to `limit` messages that are visible: first those whose time
    /// has run out, then those that were never handed out.
    pub(super) fn take(
        &mut self,
        limit: usize,
        now: Instant,
        visibility: Duration,
    ) -> Result<Taken, redb::Error> {
        let mut returned: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, hold)| hold.until <= now)
            .map(|(&sequence, _)| sequence)
            .collect();
        returned.sort_unstable();
        returned.truncate(limit);
        let unread_from = self.unread_from;
        let found = self.with_database(|database| {
            let messages = database.begin_read()?.open_table(MESSAGES)?;
            let mut found = Vec::new();
            for sequence in &returned {
                if let Some(body) = messages.get(sequence)? {
                    found.push((*sequence, body.value().to_vec()));
                }
            }
            let unread = limit.saturating_sub(found.len());
            for entry in messages.range(unread_from..)?.take(unread) {
                let (sequence, body) = entry?;
                found.push((sequence.value(), body.value().to_vec()));
            }
            Ok(found)
        })?;
        if found.is_empty() {
            return Ok(Taken::NothingUntil(
                self.in_flight.values().map(|hold| hold.until).min(),
            ));
        }
        let mut delivered = Vec::with_capacity(found.len());
        for (sequence, body) in found {
            self.deliveries += 1;
            let before = self.in_flight.get(&sequence).map_or(0, |hold| hold.times);
            let times = before.saturating_add(1);
            let hold = Hold {
                delivery: self.deliveries,
                times,
                until: now + visibility,
            };
            self.in_flight.insert(sequence, hold);
            self.unread_from = self.unread_from.max(sequence + 1);
            delivered.push(Delivered {
                id: format!("{:032x}-{sequence}", self.identity).into(),
                buffer: low_half(self.identity),
                sequence,
                delivery: self.deliveries,
                times,
                body,
            });
        }
        Ok(Taken::Messages(delivered))
    }

    /// Returns the deliveries that are not the latest of their message.
    pub(super) fn extend(&mut self, deliveries: &[(u64, u64)], until: Instant) -> Vec<(u64, u64)> {
        let mut lost = Vec::new();
        for &(sequence, delivery) in deliveries {
            match self.in_flight.get_mut(&sequence) {
                Some(hold) if hold.delivery == delivery => hold.until = until,
                _ => lost.push((sequence, delivery)),
            }
        }
        lost
    }

    /// Deletes messages in one durable transaction; absent ones are no error.
    pub(super) fn delete(&mut self, sequences: &[u64]) -> Result<(), redb::Error> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            {
                let mut messages = transaction.open_table(MESSAGES)?;
                for sequence in sequences {
                    messages.remove(sequence)?;
                }
            }
            transaction.commit()?;
            Ok(())
        })?;
        for sequence in sequences {
            self.in_flight.remove(sequence);
        }
        Ok(())
    }

    /// Messages that were not deleted.
    pub(super) fn depth(&mut self) -> Result<u64, redb::Error> {
        self.with_database(|database| {
            let messages = database.begin_read()?.open_table(MESSAGES)?;
            Ok(messages.len()?)
        })
    }

    /// Puts a message among the dead letters, in one durable transaction.
    pub(super) fn bury(&mut self, sequence: u64, dead: &Dead) -> Result<(), redb::Error> {
        let json = serde_json::to_vec(dead).map_err(std::io::Error::other)?;
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            {
                transaction.open_table(MESSAGES)?.remove(sequence)?;
                transaction
                    .open_table(DEAD)?
                    .insert(sequence, json.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })?;
        self.in_flight.remove(&sequence);
        Ok(())
    }

    /// Makes messages of the dead letters that `readdressed` gives a body, with
    /// numbers and thus ids of their own. Returns how many, and how many stay.
    pub(super) fn redrive(
        &mut self,
        readdressed: impl Fn(&str) -> Option<String>,
    ) -> Result<(usize, usize), redb::Error> {
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            let (mut moved, mut left) = (0, 0);
            {
                let mut dead = transaction.open_table(DEAD)?;
                let mut messages = transaction.open_table(MESSAGES)?;
                let mut numbers = transaction.open_table(NUMBERS)?;
                let mut next = sequence(numbers.get(NEXT)?.map_or(0, |next| next.value()))?;
                let again = |json: &[u8]| {
                    let dead: Dead = serde_json::from_slice(json).ok()?;
                    readdressed(&dead.body)
                };
                for entry in dead.extract_if(|_, json| again(json).is_some())? {
                    let (_, json) = entry?;
                    let body = again(json.value()).unwrap_or_default();
                    messages.insert(next, body.as_bytes())?;
                    next += 1;
                    moved += 1;
                }
                numbers.insert(NEXT, u128::from(next))?;
                left += usize::try_from(dead.len()?).unwrap_or(usize::MAX);
            }
            transaction.commit()?;
            Ok((moved, left))
        })
    }

    fn with_database<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let (database, identity) = open(&self.path)?;
                if identity != self.identity {
                    // Somebody put another file there, whose messages were not
                    // handed out yet.
                    self.identity = identity;
                    self.unread_from = 0;
                    self.in_flight.clear();
                }
                database
            }
        };
        let result = work(&database);
        let broken = matches!(
            result,
            Err(redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::LockPoisoned(_))
        );
        if !broken {
            self.database = Some(database);
        }
        result
    }
}

fn open(path: &Path) -> Result<(Database, u128), redb::Error> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
    let transaction = database.begin_write()?;
    let identity = {
        transaction.open_table(MESSAGES)?;
        transaction.open_table(DEAD)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        let stored = numbers.get(IDENTITY)?.map(|identity| identity.value());
        match stored {
            Some(identity) => identity,
            None => {
                let identity = rand::random::<u128>();
                numbers.insert(IDENTITY, identity)?;
                identity
            }
        }
    };
    transaction.commit()?;
    Ok((database, identity))
}

fn low_half(identity: u128) -> u64 {
    u64::try_from(identity & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

fn sequence(stored: u128) -> Result<u64, redb::Error> {
    u64::try_from(stored)
        .map_err(|_| redb::Error::Corrupted(format!("the next sequence number is {stored}")))
}
