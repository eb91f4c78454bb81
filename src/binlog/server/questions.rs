//! A connection for questions: facts about the server, and where its binlog
//! stands.

use std::collections::HashMap;

use mysql_async::prelude::FromValue;
use mysql_async::{DriverError, Row};

use crate::binlog::connection::client::Client;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;
use crate::model::{GtidSet, Position};

/// A connection for questions.
#[derive(Debug)]
pub struct Server {
    pub(super) connector: Connector,
    pub(super) conn: Client,
    pub(super) facts: ServerFacts,
}

/// The facts about the server that reading its binlog depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `@@version`
    pub version: String,
    /// `@@server_uuid`: the same file name on another server holds other data.
    pub server_uuid: String,
    /// Whether `gtid_mode` is ON.
    pub gtids: bool,
    /// `binlog_row_image`
    pub row_image: String,
    /// `binlog_row_metadata`
    pub row_metadata: String,
    /// Whether `binlog_row_value_options` is PARTIAL_JSON.
    pub partial_json: bool,
    /// Whether `binlog_transaction_compression` is ON for all sessions.
    pub compression: bool,
    /// `binlog_expire_logs_seconds`, or never (0) where
    /// `binlog_expire_logs_auto_purge` is OFF.
    pub retention_s: Option<u64>,
    /// Whether it refuses writes of ordinary accounts, or of all.
    pub read_only: bool,
    /// Whether what it applies as a replica is in its own binlog.
    pub logs_replicated: bool,
    /// Whether it is a member of a replication group.
    pub grouped: bool,
}

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
    ('log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'gtid_mode', \
     'server_uuid', 'version', 'binlog_row_value_options', 'binlog_transaction_compression', \
     'binlog_expire_logs_seconds', 'binlog_expire_logs_auto_purge', \
     'read_only', 'innodb_read_only', 'log_replica_updates', 'log_slave_updates', \
     'group_replication_group_name')";

impl ServerFacts {
    /// The facts out of the server's global variables, or why its binlog cannot
    /// be used.
    fn of(variables: &HashMap<String, String>) -> Result<Self, String> {
        let get = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let facts = Self {
            version: get("version"),
            server_uuid: get("server_uuid"),
            gtids: get("gtid_mode") == "ON",
            row_image: get("binlog_row_image"),
            row_metadata: get("binlog_row_metadata"),
            partial_json: !get("binlog_row_value_options").is_empty(),
            compression: get("binlog_transaction_compression") == "ON",
            retention_s: match get("binlog_expire_logs_auto_purge").as_str() {
                "OFF" => Some(0),
                _ => get("binlog_expire_logs_seconds").parse().ok(),
            },
            read_only: get("read_only") == "ON" || get("innodb_read_only") == "ON",
            // MySQL 8.0.26 renamed it, and has both names.
            logs_replicated: get("log_replica_updates") == "ON" || get("log_slave_updates") == "ON",
            grouped: !get("group_replication_group_name").is_empty(),
        };
        if facts.version.to_ascii_lowercase().contains("mariadb") {
            return Err(format!(
                "version {} is not MySQL; MariaDB's binlog and GTIDs differ",
                facts.version
            ));
        }
        let needed = ["version", "server_uuid", "log_bin"];
        if let Some(name) = needed.iter().find(|name| get(name).is_empty()) {
            return Err(format!(
                "SHOW GLOBAL VARIABLES does not tell {name}; connect to a MySQL server itself, and not through something that answers in its place"
            ));
        }
        let format = get("binlog_format");
        if !matches!(format.as_str(), "ROW" | "") {
            return Err(format!(
                "binlog_format is {format}, so that changes are written as statements; run SET PERSIST binlog_format = ROW, on Aurora set it in the cluster parameter group"
            ));
        }
        Ok(facts)
    }
}

impl Server {
    /// Connects and refuses a server whose binlog cannot be used.
    pub async fn connect(connector: &Connector) -> Result<Self, SourceError> {
        let mut conn = connector.connect().await?;
        let variables: Vec<(String, String)> = conn
            .query(VARIABLES)
            .await
            .map_err(|error| connector.statement_error(&error, "read variables", "USAGE"))?;
        let variables: HashMap<_, _> = variables.into_iter().collect();
        if variables.get("log_bin").is_some_and(|on| on == "OFF") {
            return Err(SourceError::NoBinlog {
                address: connector.address().to_owned(),
            });
        }
        let facts = ServerFacts::of(&variables).map_err(|reason| connector.unfit(reason))?;
        Ok(Self {
            connector: connector.clone(),
            conn,
            facts,
        })
    }

    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// Ends the connection in order: servers count those that just break.
    pub async fn disconnect(self) {
        self.conn.disconnect().await.ok();
    }

    /// Refuses an account that may not read the binlog.
    pub async fn check_grants(&mut self) -> Result<(), SourceError> {
        self.status().await?;
        // The same privilege as a dump, without starting one.
        let replicas: Result<Vec<Row>, _> = self.conn.query("SHOW REPLICAS").await;
        replicas.map(drop).map_err(|error| {
            self.connector
                .statement_error(&error, "read the binlog", "REPLICATION SLAVE")
        })
    }

    /// The row of `SHOW BINARY LOG STATUS`.
    pub(super) async fn status_row(&mut self) -> Result<Row, SourceError> {
        // MySQL 8.2 renamed it, 8.4 dropped the old name.
        let mut result: Result<Option<Row>, _> =
            self.conn.query_first("SHOW BINARY LOG STATUS").await;
        if matches!(&result, Err(mysql_async::Error::Server(error)) if error.code == 1064) {
            result = self.conn.query_first("SHOW MASTER STATUS").await;
        }
        let row = result.map_err(|error| self.client_error(&error))?;
        row.ok_or_else(|| self.connector.unfit("log_bin is OFF"))
    }

    /// The end of the binlog now.
    pub async fn status(&mut self) -> Result<Position, SourceError> {
        let row = self.status_row().await?;
        let file: Option<String> = field(&row, "File");
        let offset: Option<u64> = field(&row, "Position");
        let executed: Option<String> = field(&row, "Executed_Gtid_Set");
        let (Some(file), Some(offset)) = (file, offset) else {
            return Err(self
                .connector
                .unfit("SHOW BINARY LOG STATUS does not name a position"));
        };
        let gtids = match executed {
            Some(set) if self.facts.gtids => Some(self.parse_gtids(&set)?),
            _ => None,
        };
        Ok(Position {
            file: file.into(),
            offset,
            gtids,
        })
    }

    pub(super) fn client_error(&self, error: &mysql_async::Error) -> SourceError {
        self.connector
            .statement_error(error, "see the binlog's position", "REPLICATION CLIENT")
    }

    fn parse_gtids(&self, text: &str) -> Result<GtidSet, SourceError> {
        text.parse()
            .map_err(|error| self.connector.unfit(format!("GTID set: {error}")))
    }

    /// The binlog files that are left, oldest first, with their sizes.
    pub async fn files(&mut self) -> Result<Vec<(String, u64)>, SourceError> {
        let rows: Vec<Row> = self
            .conn
            .query("SHOW BINARY LOGS")
            .await
            .map_err(|error| self.client_error(&error))?;
        rows.into_iter()
            .map(
                |row| match (field(&row, "Log_name"), field(&row, "File_size")) {
                    (Some(name), Some(size)) => Ok((name, size)),
                    _ => Err(self.client_error(&DriverError::FromRow { row }.into())),
                },
            )
            .collect()
    }

    pub(super) async fn global_gtids(&mut self, variable: &str) -> Result<GtidSet, SourceError> {
        let text = self.global(variable).await?;
        self.parse_gtids(&text)
    }

    /// The transactions that are in the binlog, or come next: those that are
    /// executed, and those that are being committed. The latter are asked for first,
    /// so that none that ends in between is missing.
    pub(super) async fn begun_gtids(&mut self) -> Result<GtidSet, SourceError> {
        // Each with the thread that has it: `UUID:5#11:6#12` (MySQL manual,
        // `gtid_owned`).
        let owned = self.global("gtid_owned").await?;
        let numbers = |field: &str| field.split('#').next().unwrap_or_default().to_owned();
        let sources = owned.split(',').map(|source| {
            let fields: Vec<String> = source.trim().split(':').map(numbers).collect();
            fields.join(":")
        });
        let mut begun = self.parse_gtids(&sources.collect::<Vec<_>>().join(","))?;
        begun.add(&self.global_gtids("gtid_executed").await?);
        Ok(begun)
    }

    async fn global(&mut self, variable: &str) -> Result<String, SourceError> {
        let text: Result<Option<String>, _> = self
            .conn
            .query_first(format!("SELECT @@GLOBAL.{variable}"))
            .await;
        let text = text.map_err(|error| self.client_error(&error))?;
        Ok(text.unwrap_or_default())
    }
}

/// A row's field by its name, as versions add columns and move them.
pub(super) fn field<T: FromValue>(row: &Row, name: &str) -> Option<T> {
    row.get_opt(name)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_refused_for_what_it_is_and_not_for_what_it_leaves_out() {
        let whole = [
            ("version", "9.7.4"),
            ("server_uuid", "3e11fa47-71ca-11e1-9e33-c80aa9429562"),
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
        ];
        let with = |name: &str, value: &str| {
            let mut variables: HashMap<String, String> = whole
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            variables.insert(name.to_owned(), value.to_owned());
            ServerFacts::of(&variables)
        };
        assert!(with("log_bin", "ON").is_ok());
        for (name, value, expected) in [
            ("version", "11.4.2-MariaDB", "is not MySQL"),
            ("version", "", "does not tell version"),
            ("server_uuid", "", "does not tell server_uuid"),
            ("log_bin", "", "does not tell log_bin"),
            ("binlog_format", "MIXED", "binlog_format is MIXED"),
        ] {
            let reason = with(name, value).unwrap_err();
            assert!(reason.contains(expected), "{name}: {reason}");
        }
    }
}
