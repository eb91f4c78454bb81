//! What the server says about itself: whether its binlog can be used, where it
//! stands, and which columns its tables have.

pub mod barrier;
pub mod catalog;
pub mod end;
pub mod leader;
pub mod reach;
pub mod replica_lag;
pub mod since;

use std::collections::HashMap;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Row, params};

use self::catalog::CatalogColumn;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;
use crate::model::position::{FIRST_EVENT_OFFSET, Start};
use crate::model::{Cascade, GtidSet, Position, TableName};

/// A connection for questions.
#[derive(Debug)]
pub struct Server {
    connector: Connector,
    conn: Conn,
    facts: ServerFacts,
}

/// What matters about the server.
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
}

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
    ('log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'gtid_mode', \
     'server_uuid', 'version', 'binlog_row_value_options', 'binlog_transaction_compression', \
     'binlog_expire_logs_seconds', 'binlog_expire_logs_auto_purge')";

impl Server {
    /// Connects and refuses a server whose binlog cannot be used.
    pub async fn connect(connector: &Connector) -> Result<Self, SourceError> {
        let mut conn = connector.connect().await?;
        let rows: Vec<(String, String)> = conn
            .query(VARIABLES)
            .await
            .map_err(|error| connector.statement_error(&error, "read variables", "USAGE"))?;
        let variables: HashMap<_, _> = rows.into_iter().collect();
        let get = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let facts = ServerFacts {
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
        };
        if facts.version.to_ascii_lowercase().contains("mariadb") || facts.server_uuid.is_empty() {
            return Err(connector.unfit(format!(
                "version {} is not MySQL; MariaDB's binlog and GTIDs differ",
                facts.version
            )));
        }
        if get("log_bin") != "ON" {
            return Err(connector.unfit(
                "log_bin is OFF; start the server with --log-bin, on Aurora set binlog_format = ROW in the cluster parameter group and restart the writer",
            ));
        }
        let format = get("binlog_format");
        if !matches!(format.as_str(), "ROW" | "") {
            return Err(connector.unfit(format!(
                "binlog_format is {format}, so that changes are written as statements; run SET PERSIST binlog_format = ROW, on Aurora set it in the cluster parameter group"
            )));
        }
        Ok(Self {
            connector: connector.clone(),
            conn,
            facts,
        })
    }

    /// What matters about the server.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
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

    /// RDS' and Aurora's own setting of how many hours the binlog is kept, as
    /// text; `None` on other servers.
    pub async fn rds_retention(&mut self) -> Result<Option<String>, SourceError> {
        let answer: Result<Option<Option<String>>, _> = self
            .conn
            .query_first(
                "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'",
            )
            .await;
        match answer {
            Ok(answer) => Ok(answer.map(|hours| hours.unwrap_or_else(|| "NULL".to_owned()))),
            // ER_NO_SUCH_TABLE and what an account without the right is told.
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1146 | 1142 | 1044) => {
                Ok(None)
            }
            Err(error) => Err(self.catalog_error(&error)),
        }
    }

    /// How many bytes of binlog the server has after `offset` in `file`; none
    /// if it has no such file.
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

    /// The end of the binlog now.
    pub async fn status(&mut self) -> Result<Position, SourceError> {
        // MySQL 8.2 renamed it, 8.4 dropped the old name.
        let mut result: Result<Option<Row>, _> =
            self.conn.query_first("SHOW BINARY LOG STATUS").await;
        if matches!(&result, Err(mysql_async::Error::Server(error)) if error.code == 1064) {
            result = self.conn.query_first("SHOW MASTER STATUS").await;
        }
        let row = result.map_err(|error| self.client_error(&error))?;
        let row = row.ok_or_else(|| self.connector.unfit("log_bin is OFF"))?;
        let file: Option<String> = row.get("File");
        let offset: Option<u64> = row.get("Position");
        let executed: Option<String> = row.get("Executed_Gtid_Set");
        let (Some(file), Some(offset)) = (file, offset) else {
            return Err(self
                .connector
                .unfit("SHOW BINARY LOG STATUS names no position"));
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

    fn client_error(&self, error: &mysql_async::Error) -> SourceError {
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
        Ok(rows
            .iter()
            .filter_map(|row| Some((row.get("Log_name")?, row.get("File_size")?)))
            .collect())
    }

    async fn global_gtids(&mut self, variable: &str) -> Result<GtidSet, SourceError> {
        let text: Option<String> = self
            .conn
            .query_first(format!("SELECT @@GLOBAL.{variable}"))
            .await
            .map_err(|error| self.client_error(&error))?;
        self.parse_gtids(&text.unwrap_or_default())
    }

    /// Where to begin for an operator's `start`.
    pub async fn locate(&mut self, start: &Start) -> Result<Position, SourceError> {
        match start {
            Start::Current | Start::Checkpoint => self.status().await,
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
                self.check_resumable(&position).await?;
                Ok(position)
            }
            Start::Gtids(set) => {
                if !self.facts.gtids {
                    return Err(self.connector.unfit(
                        "gtid_mode is not ON, so that reading cannot begin at a GTID set; use a file and offset",
                    ));
                }
                let position = Position {
                    file: "".into(),
                    offset: FIRST_EVENT_OFFSET,
                    gtids: Some(set.clone()),
                };
                self.check_resumable(&position).await?;
                Ok(position)
            }
        }
    }

    /// Refuses a position whose next change the server no longer has, or never
    /// had.
    pub async fn check_resumable(&mut self, position: &Position) -> Result<(), SourceError> {
        if let (Some(wanted), true) = (&position.gtids, self.facts.gtids) {
            let purged = self.global_gtids("gtid_purged").await?;
            if !wanted.includes(&purged) {
                return Err(SourceError::gap(
                    position,
                    format!("the server purged transactions after it (gtid_purged is {purged})"),
                ));
            }
            let executed = self.global_gtids("gtid_executed").await?;
            if !executed.includes(wanted) {
                return Err(SourceError::gap(
                    position,
                    format!(
                        "the server never executed some of these transactions (gtid_executed is {executed}): it was restored, or is another server"
                    ),
                ));
            }
            return Ok(());
        }
        let files = self.files().await?;
        match files.iter().find(|(file, _)| **file == *position.file) {
            Some((_, size)) if position.offset <= *size => Ok(()),
            Some((_, size)) => Err(SourceError::gap(
                position,
                format!("the file ends at {size}: it is another file of the same name"),
            )),
            None => {
                let oldest = files.first().map_or("none", |(file, _)| file.as_str());
                Err(SourceError::gap(
                    position,
                    format!("the server has no such file (the oldest is {oldest}): it was purged"),
                ))
            }
        }
    }

    /// Refuses an offset inside an event. A dump from there would read garbage.
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
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(SourceError::gap(position, "no event begins there")),
            // ER_ERROR_WHEN_EXECUTING_COMMAND: "Wrong offset or I/O error".
            Err(mysql_async::Error::Server(error)) if error.code == 1220 => Err(SourceError::gap(
                position,
                format!("no event begins there ({})", error.message),
            )),
            Err(error) => Err(self.client_error(&error)),
        }
    }

    /// The tables that the account can see, without the server's own.
    pub async fn tables(&mut self) -> Result<Vec<TableName>, SourceError> {
        let rows: Vec<(String, String)> = self
            .conn
            .query(
                "SELECT table_schema, table_name FROM information_schema.tables \
                 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN \
                 ('mysql', 'information_schema', 'performance_schema', 'sys')",
            )
            .await
            .map_err(|error| self.catalog_error(&error))?;
        Ok(rows
            .into_iter()
            .map(|(schema, table)| TableName::new(schema, table))
            .collect())
    }

    /// A table's columns in their order; `None` if there is no such table.
    pub async fn columns(
        &mut self,
        table: &TableName,
    ) -> Result<Option<Vec<CatalogColumn>>, SourceError> {
        let rows: Vec<(String, String, Option<String>, String)> = self
            .conn
            .exec(
                "SELECT column_name, column_type, character_set_name, column_key \
                 FROM information_schema.columns \
                 WHERE table_schema = :schema AND table_name = :table \
                 ORDER BY ordinal_position",
                params! { "schema" => &*table.schema, "table" => &*table.table },
            )
            .await
            .map_err(|error| self.catalog_error(&error))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let column = |(name, column_type, charset, key): (_, _, _, String)| CatalogColumn {
            name,
            column_type,
            charset,
            primary_key: key == "PRI",
        };
        Ok(Some(rows.into_iter().map(column).collect()))
    }

    /// The foreign keys whose effect on the child table is not in the binlog.
    pub async fn cascades(&mut self) -> Result<Vec<Cascade>, SourceError> {
        if self.logs_cascades().await? {
            return Ok(Vec::new());
        }
        let rows: Vec<(String, String, String, String, String, String, String)> = self
            .conn
            .query(
                "SELECT k.referenced_table_schema, k.referenced_table_name, k.table_schema, \
                   k.table_name, GROUP_CONCAT(k.referenced_column_name), r.delete_rule, r.update_rule \
                 FROM information_schema.referential_constraints r \
                 JOIN information_schema.key_column_usage k \
                   ON k.constraint_schema = r.constraint_schema \
                   AND k.constraint_name = r.constraint_name AND k.table_name = r.table_name \
                 GROUP BY 1, 2, 3, 4, r.constraint_name, r.delete_rule, r.update_rule",
            )
            .await
            .map_err(|error| self.catalog_error(&error))?;
        let acts = |rule: &str| matches!(rule, "CASCADE" | "SET NULL" | "SET DEFAULT");
        Ok(rows
            .into_iter()
            .map(
                |(schema, parent, child_schema, child, columns, delete, update)| Cascade {
                    parent: TableName::new(schema, parent),
                    child: TableName::new(child_schema, child),
                    columns: columns.split(',').map(Into::into).collect(),
                    on_delete: acts(&delete),
                    on_update: acts(&update),
                },
            )
            .filter(|cascade| cascade.on_delete || cascade.on_update)
            .collect())
    }

    /// Since MySQL 9.6 cascades run as statements of their own and are logged,
    /// unless `innodb_native_foreign_keys` is ON.
    async fn logs_cascades(&mut self) -> Result<bool, SourceError> {
        let mut numbers = self
            .facts
            .version
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < (9, 6) {
            return Ok(false);
        }
        let native: Option<(String, String)> = self
            .conn
            .query_first("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
            .await
            .map_err(|error| self.catalog_error(&error))?;
        Ok(native.is_none_or(|(_, value)| value == "OFF"))
    }

    /// The first row's answer to a question about the catalog.
    pub(in crate::binlog) async fn ask<T: FromRow + Send + 'static>(
        &mut self,
        question: impl AsRef<str>,
        parameters: Params,
    ) -> Result<Option<T>, SourceError> {
        let answer = self.conn.exec_first(question.as_ref(), parameters).await;
        answer.map_err(|error| self.catalog_error(&error))
    }

    fn catalog_error(&self, error: &mysql_async::Error) -> SourceError {
        self.connector
            .statement_error(error, "read information_schema", "SELECT")
    }
}
