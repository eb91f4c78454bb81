//! The queue behind its contract: what is in the file, and in memory who has
//! received which message.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use redb::{Error, ReadableDatabase, ReadableTableMetadata};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::checksum::unseal;
use super::file::{DEAD, MESSAGES};
use super::kept_file::{KeptFile, Reopened};
use crate::buffer::{Received, message};
use crate::model::cast::{to_u64, to_usize};

#[derive(Debug)]
pub(super) struct LocalStore {
    pub(super) file: KeptFile,
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

/// Proves one delivery of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalReceipt {
    pub(super) sequence: u64,
    delivery: u64,
}

/// A message in the table of dead letters.
#[derive(Serialize, Deserialize)]
pub(super) struct Dead {
    pub(super) reason: String,
    pub(super) deliveries: u32,
    pub(super) body: String,
}

impl LocalStore {
    /// A file on a full disk is opened by the first use that finds room.
    pub(super) fn open(path: &Path, was_in_use: bool) -> Result<Self, Error> {
        Ok(Self {
            file: KeptFile::open(path, was_in_use)?,
            unread_from: 0,
            in_flight: HashMap::new(),
            deliveries: 0,
        })
    }

    /// Stores bodies in one durable transaction.
    pub(super) fn append(&mut self, bodies: Vec<String>) -> Result<(), Error> {
        self.file.append(|_| Ok((bodies, ())))
    }

    /// Hands out up to `limit` messages that are visible: first those whose time
    /// has run out, then those that were never handed out.
    pub(super) fn take(
        &mut self,
        limit: usize,
        now: Instant,
        visibility: Duration,
    ) -> Result<Vec<Received<LocalReceipt>>, Error> {
        self.compare()?;
        let mut returned: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, hold)| hold.until <= now)
            .map(|(&sequence, _)| sequence)
            .collect();
        returned.sort_unstable();
        returned.truncate(limit);
        let unread_from = self.unread_from;
        let unread = self
            .file
            .held()
            .saturating_sub(to_u64(self.in_flight.len()));
        let found = self.file.with_database(|database| {
            let messages = database.begin_read()?.open_table(MESSAGES)?;
            // A page that was damaged since the file was opened may read as one
            // without messages.
            let missing = || Error::Corrupted("messages are missing".to_owned());
            let mut found = Vec::new();
            for &sequence in &returned {
                let body = messages.get(sequence)?.ok_or_else(missing)?;
                found.push((sequence, unseal(sequence, body.value())?));
            }
            let room = limit.saturating_sub(found.len());
            let expected = room.min(to_usize(unread));
            for entry in messages.range(unread_from..)?.take(room) {
                let (sequence, body) = entry?;
                let sequence = sequence.value();
                found.push((sequence, unseal(sequence, body.value())?));
            }
            if found.len() < returned.len() + expected {
                return Err(missing());
            }
            Ok(found)
        })?;
        let mut received = Vec::with_capacity(found.len());
        for (sequence, body) in found {
            self.deliveries += 1;
            let delivery = self.deliveries;
            let before = self.in_flight.get(&sequence).map_or(0, |hold| hold.times);
            let times = before.saturating_add(1);
            let hold = Hold {
                delivery,
                times,
                until: now + visibility,
            };
            self.in_flight.insert(sequence, hold);
            self.unread_from = self.unread_from.max(sequence.saturating_add(1));
            received.push(Received {
                id: self.file.id(sequence),
                receipt: LocalReceipt { sequence, delivery },
                deliveries: times,
                content: message::decode(&body),
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        }
        Ok(received)
    }

    /// When the first of the messages that were handed out is visible again.
    pub(super) fn next_return(&self) -> Option<Instant> {
        self.in_flight.values().map(|hold| hold.until).min()
    }

    /// Lets somebody have messages until then. Returns the deliveries that are not
    /// the latest of their message.
    pub(super) fn hold(&mut self, receipts: &[LocalReceipt], until: Instant) -> Vec<LocalReceipt> {
        let mut lost = Vec::new();
        for &receipt in receipts {
            match self.in_flight.get_mut(&receipt.sequence) {
                Some(hold) if hold.delivery == receipt.delivery => hold.until = until,
                _ => lost.push(receipt),
            }
        }
        lost
    }

    /// Deletes messages in one durable transaction; absent ones are no error.
    pub(super) fn delete(&mut self, sequences: &[u64]) -> Result<(), Error> {
        let deleted = self.file.write(|transaction| {
            let mut messages = transaction.open_table(MESSAGES)?;
            let mut deleted = 0;
            for sequence in sequences {
                deleted += u64::from(messages.remove(sequence)?.is_some());
            }
            Ok(deleted)
        })?;
        self.deleted(sequences, deleted);
        Ok(())
    }

    /// Messages that were not deleted.
    pub(super) fn depth(&mut self) -> Result<u64, Error> {
        self.file.ensure_open()?;
        Ok(self.file.held())
    }

    /// Puts a message among the dead letters, in one durable transaction.
    pub(super) fn bury(&mut self, sequence: u64, dead: &Dead) -> Result<(), Error> {
        let json = serde_json::to_vec(dead).map_err(std::io::Error::other)?;
        let deleted = self.file.write(|transaction| {
            let mut letters = transaction.open_table(DEAD)?;
            letters.insert(sequence, json.as_slice())?;
            let mut messages = transaction.open_table(MESSAGES)?;
            Ok(messages.remove(sequence)?.is_some())
        })?;
        self.deleted(&[sequence], u64::from(deleted));
        Ok(())
    }

    /// Makes messages of the dead letters that `redriven` gives a body, with
    /// numbers and thus ids of their own. Returns how many, and how many stay.
    pub(super) fn redrive(
        &mut self,
        redriven: impl Fn(&str) -> Option<String>,
    ) -> Result<(usize, usize), Error> {
        let again = |json: &[u8]| {
            let dead: Dead = serde_json::from_slice(json).ok()?;
            redriven(&dead.body)
        };
        self.file.append(|transaction| {
            let mut letters = transaction.open_table(DEAD)?;
            let mut bodies = Vec::new();
            for letter in letters.extract_if(|_, json| again(json).is_some())? {
                bodies.extend(again(letter?.1.value()));
            }
            let counts = (bodies.len(), to_usize(letters.len()?));
            Ok((bodies, counts))
        })
    }

    /// Forgets who received what if the file is another one by now, and of the same
    /// one what is not there any more: a deletion that seemed to have failed.
    fn compare(&mut self) -> Result<(), Error> {
        self.file.ensure_open()?;
        match self.file.reopened() {
            None => {}
            Some(Reopened::Same) => {
                let held: Vec<u64> = self.in_flight.keys().copied().collect();
                let gone = self.file.with_database(|database| {
                    let messages = database.begin_read()?.open_table(MESSAGES)?;
                    let mut gone = Vec::new();
                    for sequence in held {
                        if messages.get(sequence)?.is_none() {
                            gone.push(sequence);
                        }
                    }
                    Ok(gone)
                })?;
                self.deleted(&gone, 0);
            }
            Some(Reopened::Another) => {
                self.unread_from = 0;
                self.in_flight.clear();
            }
        }
        Ok(())
    }

    fn deleted(&mut self, sequences: &[u64], deleted: u64) {
        self.file.deleted(deleted);
        for sequence in sequences {
            self.in_flight.remove(sequence);
        }
    }
}
