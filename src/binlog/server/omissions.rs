//! Changes that a server leaves out of its binlog: of databases, by `binlog-do-db` and
//! `binlog-ignore-db`, and on a replica what it applies, without
//! `log_replica_updates`.
//!
//! Nothing in the binlog says that something is left out of it.

use mysql_async::Row;

use super::questions::{Server, field};
use crate::binlog::error::SourceError;
use crate::model::TableName;

/// The databases that the server's options keep in the binlog, or out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BinlogFilters {
    /// `binlog-do-db`; empty: all.
    only: Vec<String>,
    /// `binlog-ignore-db`. Means nothing beside the other.
    ignored: Vec<String>,
}

impl BinlogFilters {
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.ignored.is_empty()
    }

    /// Whether rows of a database are in the binlog.
    fn keeps(&self, database: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == database);
        if self.only.is_empty() {
            !named(&self.ignored)
        } else {
            named(&self.only)
        }
    }
}

impl Server {
    pub async fn binlog_filters(&mut self) -> Result<BinlogFilters, SourceError> {
        let row = self.status_row().await?;
        let names = |column: &str| -> Vec<String> {
            let text: Option<String> = field(&row, column);
            let names = text.iter().flat_map(|text| text.split(',')).map(str::trim);
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Ok(BinlogFilters {
            only: names("Binlog_Do_DB"),
            ignored: names("Binlog_Ignore_DB"),
        })
    }

    /// Whether it applies what other servers wrote, or would if it was started.
    pub async fn is_replica(&mut self) -> Result<bool, SourceError> {
        // MySQL 8.0.22 renamed it, 8.4 dropped the old name.
        let mut channels: Result<Vec<Row>, _> = self.conn.query("SHOW REPLICA STATUS").await;
        if matches!(&channels, Err(mysql_async::Error::Server(error)) if error.code == 1064) {
            channels = self.conn.query("SHOW SLAVE STATUS").await;
        }
        let channels = channels.map_err(|error| self.client_error(&error))?;
        Ok(self.facts.grouped || !channels.is_empty())
    }

    /// Why changes of tables that are wanted are not in the binlog; `None` if all
    /// are.
    pub async fn left_out(
        &mut self,
        wants: impl Fn(&TableName) -> bool,
    ) -> Result<Option<String>, SourceError> {
        let filters = self.binlog_filters().await?;
        if !filters.is_empty() {
            let tables = self.tables().await?;
            let left_out = tables
                .iter()
                .find(|table| wants(table) && !filters.keeps(&table.schema));
            if let Some(table) = left_out {
                return Ok(Some(format!(
                    "binlog-do-db or binlog-ignore-db leaves database \"{}\" out of the binlog, so that no change of {table} is seen: take the option out of the server's configuration and restart it",
                    table.schema
                )));
            }
        }
        if !self.facts.logs_replicated && self.is_replica().await? {
            return Ok(Some(
                "it is a replica with log_replica_updates = OFF, so that what it receives is not in its binlog: start it with --log-replica-updates, read from its source, or run RESET REPLICA ALL if it is not a replica any more".to_owned(),
            ));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::BinlogFilters;

    #[test]
    fn databases_to_be_ignored_mean_nothing_beside_those_to_be_kept() {
        let filters = |only: &[&str], ignored: &[&str]| BinlogFilters {
            only: only.iter().map(|name| (*name).to_owned()).collect(),
            ignored: ignored.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (filters, expected) in [
            (filters(&[], &[]), [true, true]),
            (filters(&["shop"], &[]), [true, false]),
            (filters(&[], &["shop"]), [false, true]),
            (filters(&["shop"], &["shop", "blog"]), [true, false]),
        ] {
            assert_eq!(["shop", "blog"].map(|name| filters.keeps(name)), expected);
        }
    }
}
