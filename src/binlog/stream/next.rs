//! The next item of the stream.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::answers::{HEARTBEATS_MISSED_MAX, answered, ended};
use super::came::{Came, Idle, LookUp};
use super::source::Source;
use crate::binlog::error::SourceError;
use crate::binlog::events::cutter::Arrival;
use crate::binlog::events::heartbeat::Heartbeat;
use crate::binlog::reader::{Interest, Item, Step};
use crate::binlog::server::reach::StatementReach;
use crate::binlog::statement::Dml;

impl<I: Interest> Source<I> {
    /// The next item. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// Any error ends the connection; the caller decides when to reconnect.
    pub async fn next(&mut self) -> Result<Came<I::Table>, SourceError> {
        loop {
            // Events without an item can reach the bound too.
            if self.ended() {
                return Ok(Came::End);
            }
            self.beyond |= self.at_bound();
            let step = match self.next_arrival().await? {
                Arrival::Event(event) => {
                    if let Some(heartbeat) = Heartbeat::read(&event) {
                        self.assembler.passed_over(&heartbeat);
                        let step = self.assembler.feed(event);
                        return Ok(Came::Idle(Idle { heartbeat, step }));
                    }
                    self.came(&event)?;
                    self.assembler.feed(event)
                }
                Arrival::Unreadable { event_type, reason } => {
                    self.assembler.feed_unreadable(event_type, reason)
                }
            };
            match self.within_bounds(step) {
                // The first event after a pause: what is known of the reading
                // has changed.
                Step::Quiet if self.drained() => return Ok(Came::Quiet),
                Step::Quiet => {}
                Step::Item(item) => return Ok(Came::Item(item)),
                Step::NeedsCatalog(table, event) => {
                    return Ok(Came::LookUp(LookUp { table, event }));
                }
            }
        }
    }

    /// Looks up a table's columns and goes on with the event that needed them.
    /// Must not be cancelled: the event would be lost.
    pub async fn look_up(&mut self, needed: LookUp) -> Result<Option<Item<I::Table>>, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        let asked = async {
            let columns = open.server.columns(&needed.table).await?;
            // In this order: what the columns show is before this end.
            Ok((columns, open.server.status().await?))
        };
        let (columns, end) = answered(&self.connector, asked).await?;
        self.assembler.learn_at(needed.table, columns, end);
        match self.assembler.feed(needed.event) {
            Step::Item(item) => Ok(Some(item)),
            Step::Quiet | Step::NeedsCatalog(..) => Ok(None),
        }
    }

    /// Beyond a bound, nothing is left but what tells that rows before it were read
    /// with the columns of later.
    fn within_bounds(&mut self, step: Step<I::Table>) -> Step<I::Table> {
        if !self.beyond {
            return step;
        }
        match step {
            Step::Item(Item::TablesChanged(_) | Item::AnyChanged(_)) => step,
            Step::NeedsCatalog(table, event) => {
                self.assembler.learn(table, None);
                self.assembler.feed(event);
                Step::Quiet
            }
            Step::Item(_) | Step::Quiet => Step::Quiet,
        }
    }

    /// Asks the server how far a statement's changes reach.
    pub async fn reach(&mut self, dml: &Dml) -> Result<StatementReach, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        answered(&self.connector, open.server.reach(dml)).await
    }

    async fn next_arrival(&mut self) -> Result<Arrival, SourceError> {
        let open = self.open.as_mut().ok_or_else(|| ended(&self.connector))?;
        // Under load events are there already, and no clock is needed.
        if let Some(ready) = open.dump.next().now_or_never() {
            open.busy = true;
            open.drained = false;
            return self.received(ready);
        }
        // Time in which nobody listened does not count as silence: under
        // backpressure nobody asks for events.
        let now = Instant::now();
        if std::mem::take(&mut open.busy) || now - open.asked_at > self.settings.heartbeat {
            open.heard_at = now;
        }
        open.asked_at = now;
        open.drained = true;
        let patience = self.settings.heartbeat * HEARTBEATS_MISSED_MAX;
        let deadline = open.heard_at + patience;
        match tokio::time::timeout_at(deadline, open.dump.next()).await {
            Ok(received) => {
                open.heard_at = Instant::now();
                self.received(received)
            }
            Err(_) => {
                self.open = None;
                Err(SourceError::Silent {
                    address: self.connector.address().to_owned(),
                    seconds: patience.as_secs_f64(),
                })
            }
        }
    }

    fn received(
        &mut self,
        received: Result<Option<Arrival>, mysql_async::Error>,
    ) -> Result<Arrival, SourceError> {
        let error = match received {
            Ok(Some(arrival)) => {
                self.heard = true;
                return Ok(arrival);
            }
            Err(error) => self.stream_error(&error),
            Ok(None) => ended(&self.connector),
        };
        self.open = None;
        Err(error)
    }
}
