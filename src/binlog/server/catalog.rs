//! Questions to the server's catalog: tables, their columns, foreign keys.

use mysql_async::prelude::FromRow;
use mysql_async::{Params, params};

use super::questions::Server;
use crate::binlog::decode::catalog::{CatalogColumn, CatalogType};
use crate::binlog::error::SourceError;
use crate::model::{Cascade, Column, TableName, TableSchema};

/// A table as the rules know it, from the catalog alone: what rules are checked
/// against before the first event comes.
pub fn schema(name: TableName, columns: &[CatalogColumn]) -> TableSchema {
    TableSchema {
        name,
        columns: columns
            .iter()
            .map(|column| Column {
                name: column.name.as_str().into(),
                shape: CatalogType::parse(&column.column_type).shape(),
            })
            .collect(),
        primary_key: columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.primary_key)
            .map(|(index, _)| index)
            .collect(),
    }
}

impl Server {
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
                   k.table_name, GROUP_CONCAT(k.referenced_column_name SEPARATOR 0x00), \
                   r.delete_rule, r.update_rule \
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
                    columns: columns.split('\0').map(Into::into).collect(),
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
    pub(in crate::binlog) async fn ask<T: FromRow>(
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
}
