//! Positions in the server's binlog: where to begin, and whether the server
//! still has what comes next.

use mysql_async::Row;

use super::questions::Server;
use crate::binlog::error::SourceError;
use crate::model::gtid::Gtid;
use crate::model::position::{FIRST_EVENT_OFFSET, Start};
use crate::model::{GtidSet, Position};

/// The events that can follow a whole transaction, as SHOW BINLOG EVENTS calls
/// them: those that begin another one, and those of the file itself.
const BETWEEN_TRANSACTIONS: [&str; 8] = [
    "Gtid",
    "Gtid_tagged",
    "Anonymous_Gtid",
    "Format_desc",
    "Previous_gtids",
    "Rotate",
    "Stop",
    "Heartbeat",
];

impl Server {
    /// The number of bytes of binlog after `offset` in `file`; `None` if the
    /// server does not have the file.
    pub async fn bytes_after(
        &mut self,
        file: &str,
        offset: u64,
    ) -> Result<Option<u64>, SourceError> {
        let end = self.status().await?;
        if &*end.file == file {
            return Ok(Some(end.offset.saturating_sub(offset)));
        }
        let files = self.files().await?;
        let Some(index) = files.iter().position(|(name, _)| name == file) else {
            return Ok(None);
        };
        let total: u64 = files.iter().skip(index).map(|(_, size)| size).sum();
        Ok(Some(total.saturating_sub(offset)))
    }

    /// Where to go on after the present end. Where there are GTIDs, that is at the
    /// beginning of the file, after the set: before the offset of the end there may be
    /// transactions that are still being committed.
    pub(in crate::binlog) async fn end(&mut self) -> Result<Position, SourceError> {
        let first = self.status().await?;
        if first.gtids.is_none() {
            return Ok(first);
        }
        // The server looks at the set before it looks at the file, which may be a later
        // one by then: what is not in this set is in the file of before, or later.
        let now = self.status().await?;
        Ok(Position {
            offset: FIRST_EVENT_OFFSET,
            file: first.file,
            gtids: now.gtids,
        })
    }

    /// The position to begin at for an operator's `start`.
    pub async fn locate(&mut self, start: &Start) -> Result<Position, SourceError> {
        match start {
            Start::Current | Start::Checkpoint => self.end().await,
            Start::Earliest => {
                let files = self.files().await?;
                let (file, _) = files
                    .first()
                    .ok_or_else(|| self.connector.unfit("the server has no binlog files"))?;
                Ok(Position {
                    file: file.as_str().into(),
                    offset: FIRST_EVENT_OFFSET,
                    gtids: None,
                })
            }
            Start::Offset { file, offset } => {
                let position = Position {
                    file: std::sync::Arc::clone(file),
                    offset: *offset,
                    gtids: None,
                };
                self.check_place(&position).await?;
                Ok(position)
            }
            Start::Gtids(set) => {
                if !self.facts.gtids {
                    return Err(self.connector.unfit(
                        "gtid_mode is not ON, so that reading cannot begin at a GTID set; use a file and offset",
                    ));
                }
                let position = Position::of_gtids(set.clone());
                self.check_gtids(&position, None).await?;
                Ok(position)
            }
        }
    }

    /// Refuses a position whose transactions the server never had, or after
    /// which it purged some. `begun` is a transaction after it of which something
    /// was read. Says nothing where either side has no GTIDs.
    pub async fn check_gtids(
        &mut self,
        position: &Position,
        begun: Option<&Gtid>,
    ) -> Result<(), SourceError> {
        let (Some(wanted), true) = (&position.gtids, self.facts.gtids) else {
            return Ok(());
        };
        let purged = self.global_gtids("gtid_purged").await?;
        if !wanted.includes(&purged) {
            return Err(SourceError::gap(
                position,
                format!("the server purged transactions after it (gtid_purged is {purged})"),
            ));
        }
        // The binlog has transactions before they are executed.
        let executed = self.begun_gtids().await?;
        let missing = match begun.filter(|gtid| !executed.contains(gtid)) {
            Some(gtid) => format!("{gtid}, which was being read"),
            None if executed.includes(wanted) => return Ok(()),
            None => "some of these transactions".to_owned(),
        };
        Err(SourceError::gap(
            position,
            format!(
                "the server never executed {missing} (it has {executed}): it was restored, or is another server"
            ),
        ))
    }

    /// Whether the server has transactions from a source that these are from, so
    /// that it may be a successor of the server that they were read from.
    pub async fn shares_history(&mut self, gtids: &GtidSet) -> Result<bool, SourceError> {
        let begun = self.begun_gtids().await?;
        Ok(gtids.iter().any(|(source, _)| begun.has_source(source)))
    }

    /// Refuses a position whose file and offset this server does not have, or no
    /// longer has.
    pub async fn check_place(&mut self, position: &Position) -> Result<(), SourceError> {
        let files = self.files().await?;
        let reason = match files.iter().find(|(file, _)| **file == *position.file) {
            Some((_, size)) if position.offset <= *size => return Ok(()),
            Some((_, size)) => format!(
                "the file ends at {size}: it is another file of the same name, or an earlier copy was put back"
            ),
            None => {
                let name = |file: Option<&(String, u64)>| {
                    file.map_or_else(|| "none".to_owned(), |(name, _)| name.clone())
                };
                format!(
                    "the server has no such file (the oldest is {}, the newest {}): it was purged, the binlog was reset, or the server was restored",
                    name(files.first()),
                    name(files.last())
                )
            }
        };
        Err(SourceError::gap(position, reason))
    }

    /// Refuses an offset inside an event, from which a dump would read garbage, and
    /// one inside a transaction, whose rows before it would be left out.
    pub async fn check_boundary(&mut self, position: &Position) -> Result<(), SourceError> {
        if position.gtids.is_some() && self.facts.gtids {
            return Ok(());
        }
        let ends = self
            .files()
            .await?
            .iter()
            .any(|(file, size)| **file == *position.file && *size == position.offset);
        if ends || position.offset == FIRST_EVENT_OFFSET {
            return Ok(());
        }
        let question = format!(
            "SHOW BINLOG EVENTS IN '{}' FROM {} LIMIT 1",
            position.file.replace(['\\', '\''], ""),
            position.offset
        );
        match self.conn.query_first::<Row, _>(question).await {
            Ok(Some(event)) => match event.get::<String, _>("Event_type") {
                Some(event_type) if !BETWEEN_TRANSACTIONS.contains(&event_type.as_str()) => {
                    Err(SourceError::gap(
                        position,
                        format!(
                            "it is inside a transaction (an event {event_type} begins there), whose earlier rows would be left out: name the offset of its GTID event, see SHOW BINLOG EVENTS"
                        ),
                    ))
                }
                _ => Ok(()),
            },
            Ok(None) => Err(SourceError::gap(position, "no event begins there")),
            // ER_ERROR_WHEN_EXECUTING_COMMAND: "Wrong offset or I/O error".
            Err(mysql_async::Error::Server(error)) if error.code == 1220 => Err(SourceError::gap(
                position,
                format!("no event begins there ({})", error.message),
            )),
            Err(error) => Err(self.client_error(&error)),
        }
    }
}
