//! Finds out that the binlog is not the one that was read any more. RESET BINARY
//! LOGS leaves the server and the names of its files, and nothing else.

use std::sync::Arc;

use super::answers::{HEARTBEATS_MISSED_MAX, ended};
use super::came::Idle;
use super::generation::Generation;
use super::source::Source;
use crate::binlog::error::SourceError;
use crate::binlog::events::event::Event;
use crate::binlog::events::event_type::FORMAT_DESCRIPTION;
use crate::binlog::events::heartbeat::Contradiction;
use crate::binlog::reader::{Interest, Item, Step};

impl<I: Interest> Source<I> {
    /// Tells when the position's file was begun, so that another file of its name
    /// is found out.
    pub fn expect_file_begun(&mut self, begun_s: u32) {
        let file = Arc::clone(&self.assembler.position().file);
        self.generation = Some(Generation { file, begun_s });
    }

    /// When the position's file was begun, in seconds since the epoch, if its
    /// first event was read.
    pub fn file_begun_s(&self) -> Option<u32> {
        let known = self.generation.as_ref()?;
        (known.file == self.assembler.position().file).then_some(known.begun_s)
    }

    /// Compares what the server sends with what it writes. Must not be
    /// cancelled: the connection would be in the middle of a question.
    ///
    /// # Errors
    ///
    /// [`SourceError::Gap`] if the binlog is not the one that was read, and
    /// [`SourceError::Stalled`] if it may be another.
    pub async fn compare(
        &mut self,
        idle: Idle<I::Table>,
    ) -> Result<Option<Item<I::Table>>, SourceError> {
        let patience = self.settings.heartbeat * HEARTBEATS_MISSED_MAX;
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        let end = match tokio::time::timeout(patience, open.server.status()).await {
            Ok(end) => end,
            Err(_) => Err(SourceError::Silent {
                address: self.connector.address().to_owned(),
                seconds: patience.as_secs_f64(),
            }),
        };
        let compared = end.and_then(|end| {
            let found = idle.heartbeat.contradiction(&end, open.idle.as_ref());
            open.idle = Some((idle.heartbeat, end));
            match found {
                Some(Contradiction::Reset(reason)) => {
                    Err(SourceError::gap(self.assembler.position(), reason))
                }
                Some(Contradiction::Stalled(reason)) => Err(SourceError::Stalled {
                    address: self.connector.address().to_owned(),
                    reason,
                }),
                None => Ok(()),
            }
        });
        if let Err(error) = compared {
            self.open = None;
            return Err(error);
        }
        Ok(match idle.step {
            Step::Item(item) => Some(item),
            Step::Quiet | Step::NeedsCatalog(..) => None,
        })
    }

    /// Notes that an event came, and refuses a file that only has the name of
    /// the one that was read.
    pub(super) fn came(&mut self, event: &Event) -> Result<(), SourceError> {
        if let Some(open) = &mut self.open {
            open.idle = None;
        }
        let header = event.header();
        let (file, _) = self.assembler.reading();
        if header.event_type_raw() != FORMAT_DESCRIPTION || header.timestamp() == 0 {
            return Ok(());
        }
        let seen = Generation {
            file: file.into(),
            begun_s: header.timestamp(),
        };
        match self.generation.replace(seen) {
            Some(known) if *known.file == *file && known.begun_s != header.timestamp() => {
                self.open = None;
                let reason =
                    format!("{file} is another file of the same name: the binlog was reset");
                Err(SourceError::gap(self.assembler.position(), reason))
            }
            _ => Ok(()),
        }
    }
}
