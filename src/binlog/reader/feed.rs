//! The dispatch of events, one after the other.

use super::assembler::Assembler;
use super::commit::undecoded_payload;
use super::interest::Interest;
use super::item::{Item, Step, Unknowable};
use super::transaction::Touched;
use crate::binlog::events::event::Event;
use crate::binlog::events::event_type;
use crate::binlog::events::header::IGNORABLE_FLAG;

impl<I: Interest> Assembler<I> {
    /// Feeds the next event.
    pub fn feed(&mut self, event: Event) -> Step<I::Table> {
        let event_type = event.header().event_type_raw();
        if self.skip_until.is_some_and(|until| self.offset < until)
            && event_type != event_type::ROTATE
        {
            self.advance(&event, false);
            return Step::Quiet;
        }
        if event.is_damaged() {
            // Nothing in it can be relied on: it does not move the position, and
            // events that need it find it missing.
            let reason = "its checksum does not match".to_owned();
            let step = Step::Item(Item::AnyChanged(Unknowable::Undecodable {
                event_type,
                reason,
            }));
            self.note(&step);
            return step;
        }
        if self.skips && is_within_transaction(event_type) {
            return Step::Quiet;
        }
        self.skips = false;
        // Before the step: the payload's last event ends it.
        let inside = self.transaction.payload_bytes_left.is_some();
        let step = match event_type {
            _ if event_type::carries_rows(event_type) => {
                let step = self.rows(event, inside);
                self.note(&step);
                return step;
            }
            event_type::TABLE_MAP => match self.table_map(&event) {
                Ok(Some(unknown)) => return Step::NeedsCatalog(unknown, event),
                Ok(None) => Ok(Step::Quiet),
                Err(reason) => Err(reason),
            },
            event_type::GTID | event_type::TAGGED_GTID => self.begin_gtid(&event),
            event_type::ANONYMOUS_GTID => self.begin_anonymous(&event),
            event_type::XID | event_type::XA_PREPARE => {
                if event_type == event_type::XID || is_one_phase(&event) {
                    self.transaction.xa = None;
                }
                // The events of a payload add up to its size, or some are missing.
                let size = u64::from(event.header().event_size());
                let left = self.transaction.payload_bytes_left.unwrap_or(size);
                let missing = left.abs_diff(size);
                if let (Some(xa), 1..) = (&mut self.transaction.xa, missing) {
                    xa.touched = Touched::Any;
                }
                let ended = self.end();
                Ok(match missing {
                    0 => ended,
                    bytes => Step::Item(undecoded_payload(bytes)),
                })
            }
            event_type::QUERY => self.query(&event),
            event_type::ROTATE => self.rotate(&event),
            event_type::FORMAT_DESCRIPTION => {
                self.tables.clear();
                Ok(Step::Quiet)
            }
            event_type::PREVIOUS_GTIDS => self.previous_gtids(&event),
            // Whatever else a heartbeat could say of the position, commits say too.
            event_type::HEARTBEAT | event_type::HEARTBEAT_V2 => return self.lost_payload(),
            event_type::TRANSACTION_PAYLOAD => self.payload(&event),
            event_type::INCIDENT => Ok(Step::Item(Item::AnyChanged(Unknowable::Incident))),
            event_type::EXECUTE_LOAD_QUERY => Ok(Step::Item(Item::AnyChanged(
                Unknowable::Statement("LOAD DATA".to_owned()),
            ))),
            event_type::STOP => Ok(Step::Quiet),
            _ if is_harmless(event_type) => Ok(Step::Quiet),
            _ if event.header().flags_raw() & IGNORABLE_FLAG != 0 => Ok(Step::Quiet),
            unknown => Ok(Step::Item(Item::AnyChanged(Unknowable::UnknownEvent(
                unknown,
            )))),
        };
        self.advance(&event, inside);
        let step = step.unwrap_or_else(|reason| {
            Step::Item(Item::AnyChanged(Unknowable::Undecodable {
                event_type,
                reason,
            }))
        });
        self.note(&step);
        step
    }

    /// Feeds bytes that could not be read as an event: they may mean any change.
    /// A compressed transaction ends with them, and need not come again.
    pub fn feed_unreadable(&mut self, event_type: u8, reason: String) -> Step<I::Table> {
        let step = Step::Item(Item::AnyChanged(Unknowable::Undecodable {
            event_type,
            reason,
        }));
        self.note(&step);
        if event_type == event_type::TRANSACTION_PAYLOAD {
            self.end();
        }
        step
    }

    /// Notes which transaction an item belongs to, and within an XA transaction
    /// changes that become visible only later.
    fn note(&mut self, step: &Step<I::Table>) {
        self.note_transaction(step);
        if let (Some(xa), Step::Item(item)) = (&mut self.transaction.xa, step) {
            xa.note(item, &self.interest);
        }
    }
}

/// Whether events of this type belong to the transaction that began last. Whatever is not
/// listed may begin something else.
fn is_within_transaction(event_type: u8) -> bool {
    event_type::carries_rows(event_type)
        || is_harmless(event_type)
        || matches!(
            event_type,
            event_type::TABLE_MAP
                | event_type::QUERY
                | event_type::XID
                | event_type::XA_PREPARE
                | event_type::TRANSACTION_PAYLOAD
                | event_type::EXECUTE_LOAD_QUERY
        )
}

/// Whether events of this type carry no change. LOAD DATA's blocks are followed
/// by the statement that uses them.
fn is_harmless(event_type: u8) -> bool {
    matches!(
        event_type,
        event_type::INTVAR
            | event_type::APPEND_BLOCK
            | event_type::RAND
            | event_type::USER_VAR
            | event_type::BEGIN_LOAD_QUERY
            | event_type::IGNORABLE
            | event_type::ROWS_QUERY
            | event_type::TRANSACTION_CONTEXT
            | event_type::VIEW_CHANGE
    ) || event_type::AURORA.contains(&event_type)
}

/// Whether an XA_PREPARE event stands for XA COMMIT … ONE PHASE: its first
/// byte says so (MySQL source documentation, `XA_prepare_event`).
fn is_one_phase(event: &Event) -> bool {
    event.data().first().is_some_and(|flag| *flag != 0)
}
