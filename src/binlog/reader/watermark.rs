//! The watermark: where reading stands, and where it may begin again.

use std::sync::Arc;

use mysql_async::binlog::events::RotateEvent;

use super::assembler::Assembler;
use super::interest::Interest;
use super::item::Step;
use super::offset::next_offset;
use crate::binlog::events::event::Event;
use crate::binlog::events::event_type::ROTATE;
use crate::binlog::events::header::ARTIFICIAL_FLAG;
use crate::binlog::events::heartbeat::Heartbeat;
use crate::binlog::events::previous_gtids;
use crate::model::position::FIRST_EVENT_OFFSET;

impl<I: Interest> Assembler<I> {
    /// Moves the offset past `event`. Events `inside` a compressed payload have
    /// no place of their own, nor have those that the server makes up for the
    /// stream, such as the ROTATE at its beginning.
    pub(super) fn advance(&mut self, event: &Event, inside: bool) {
        let header = event.header();
        let made_up = header.flags_raw() & ARTIFICIAL_FLAG != 0 || header.log_pos() == 0;
        if inside {
            if let Some(left) = &mut self.transaction.payload_bytes_left {
                *left = left.saturating_sub(u64::from(header.event_size()));
            }
        } else if header.event_type_raw() != ROTATE && !made_up {
            self.offset = next_offset(self.offset, header.log_pos());
        }
        // A file beyond 4 GiB is sent from its beginning: that is not a step back.
        if !self.transaction.open
            && !self.passing_over
            && (self.file != self.committed.file || self.offset > self.committed.offset)
        {
            self.committed.file = Arc::clone(&self.file);
            self.committed.offset = self.offset;
        }
    }

    /// A server that passes over known transactions says in heartbeats up to where
    /// (MySQL source, `Binlog_sender::send_events`).
    pub fn passed_over(&mut self, heartbeat: &Heartbeat) {
        if self.passing_over && heartbeat.file() == &*self.file {
            self.offset = next_offset(self.offset, heartbeat.offset_low());
            self.committed.file = Arc::clone(&self.file);
            self.committed.offset = self.offset;
        }
    }

    /// The event's own header says where it ends in the *old* file; only its
    /// body names a place in the new one.
    pub(super) fn rotate(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let rotate: RotateEvent<'_> = event.read_event()?;
        if *self.file != *rotate.name() {
            self.file = rotate.name().into();
            self.skip_until = None;
        }
        self.offset = rotate.position();
        self.tables.clear();
        Ok(Step::Quiet)
    }

    /// Goes on at the beginning of `file`, which follows the previous one.
    pub fn begin_file(&mut self, file: &str) {
        if *self.file != *file {
            self.file = file.into();
        }
        self.offset = FIRST_EVENT_OFFSET;
        self.tables.clear();
    }

    /// Takes the set at a file's beginning, if none is known because reading
    /// began at a file and offset.
    pub(super) fn previous_gtids(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let set = previous_gtids::parse(event.data())?;
        self.no_gtid_before = set.is_empty();
        if self.committed.gtids.is_some() || self.no_gtid_before {
            return Ok(Step::Quiet);
        }
        self.committed.gtids = Some(set);
        Ok(Step::Quiet)
    }
}
