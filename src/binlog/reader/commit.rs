//! The beginning and the end of transactions.

use mysql_async::binlog::events::{AnonymousGtidEvent, GtidEvent, TransactionPayloadEvent};

use super::assembler::Assembler;
use super::interest::Interest;
use super::item::{Item, Step, Unknowable};
use super::transaction::Transaction;
use crate::binlog::events::event::Event;
use crate::binlog::events::event_type;
use crate::model::CommitTime;
use crate::model::gtid::{Gtid, GtidSource};

impl<I: Interest> Assembler<I> {
    pub(super) fn begin_gtid(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let gtid: GtidEvent = event.read_event()?;
        if std::mem::take(&mut self.no_gtid_before) {
            self.committed.gtids.get_or_insert_default();
        }
        let id = Gtid {
            source: GtidSource {
                uuid: gtid.sid(),
                tag: gtid.tag().map_or("".into(), |tag| tag.as_str().into()),
            },
            number: gtid.gno(),
        };
        let known = self.committed.gtids.as_ref();
        if self.passing_over && known.is_some_and(|known| known.contains(&id)) {
            let lost = self.lost_payload();
            self.skips = true;
            return Ok(lost);
        }
        let at = CommitTime::from_micros(gtid.immediate_commit_timestamp());
        Ok(self.begin_group(Some(id), at, event))
    }

    pub(super) fn begin_anonymous(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let gtid: AnonymousGtidEvent = event.read_event()?;
        let at = CommitTime::from_micros(gtid.0.immediate_commit_timestamp());
        Ok(self.begin_group(None, at, event))
    }

    pub(super) fn begin_group(
        &mut self,
        gtid: Option<Gtid>,
        at: Option<CommitTime>,
        event: &Event,
    ) -> Step<I::Table> {
        let lost = self.lost_payload();
        self.passing_over = false;
        self.transaction = Transaction {
            gtid,
            open: true,
            begun: false,
            committed_at: at.or_else(|| Some(header_time(event))),
            payload_bytes_left: None,
            xa: None,
            noted: false,
        };
        lost
    }

    /// Gives up a compressed payload whose events did not end its transaction
    /// before the next event from outside came.
    pub(super) fn lost_payload(&mut self) -> Step<I::Table> {
        match self.transaction.payload_bytes_left {
            Some(bytes) if self.transaction.open => {
                let unfinished = std::mem::take(&mut self.transaction);
                self.read.add(unfinished.gtid.as_ref());
                self.add_gtid(unfinished.gtid);
                Step::Item(undecoded_payload(bytes))
            }
            _ => Step::Quiet,
        }
    }

    pub(super) fn payload(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let payload: TransactionPayloadEvent<'_> = event.read_event()?;
        self.transaction.open = true;
        self.transaction.payload_bytes_left = Some(payload.uncompressed_size());
        Ok(Step::Quiet)
    }

    /// Ends the transaction: its GTID joins the set, and reading may begin
    /// after it.
    pub(super) fn end(&mut self) -> Step<I::Table> {
        let ended = std::mem::take(&mut self.transaction);
        self.transaction.committed_at = ended.committed_at;
        if let Some(prepared) = ended.xa {
            self.prepared.insert(prepared);
        }
        self.add_gtid(ended.gtid);
        Step::Item(Item::Commit)
    }

    pub(super) fn add_gtid(&mut self, gtid: Option<Gtid>) {
        if let (Some(gtid), Some(known)) = (&gtid, &mut self.committed.gtids) {
            known.insert(gtid);
        }
        self.ended = gtid;
    }

    /// Notes which transaction a step's item belongs to. A commit alone changes
    /// nothing.
    pub(super) fn note_transaction(&mut self, step: &Step<I::Table>) {
        match step {
            Step::Item(Item::Commit) | Step::Quiet | Step::NeedsCatalog(..) => {}
            Step::Item(_) if self.transaction.open => {
                if !std::mem::replace(&mut self.transaction.noted, true) {
                    self.read.add(self.transaction.gtid.as_ref());
                }
            }
            Step::Item(item) => {
                self.read.add(self.ended.as_ref());
                // Nobody knows what an event between transactions would have begun.
                self.read.unnamed |= matches!(
                    item,
                    Item::AnyChanged(
                        Unknowable::Incident
                            | Unknowable::UnknownEvent(_)
                            | Unknowable::Undecodable { .. }
                    )
                );
            }
        }
    }
}

pub(super) fn undecoded_payload<T>(bytes: u64) -> Item<T> {
    Item::AnyChanged(Unknowable::Undecodable {
        event_type: event_type::TRANSACTION_PAYLOAD,
        reason: format!("{bytes} bytes of a compressed transaction were not decoded"),
    })
}

/// The commit time where no GTID event has one: servers before 8.0.1 do not send
/// it. The header's second, rounded up.
pub(super) fn header_time(event: &Event) -> CommitTime {
    CommitTime::end_of_second(event.header().timestamp())
}
