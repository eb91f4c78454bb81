//! The tables that a statement changes besides those that it names.
//!
//! A statement that is logged in place of its rows may change tables through a
//! view, a trigger or a function, and the binlog does not say which. The catalog
//! tells whether there are such objects now, to accounts that may see all of it.

use mysql_async::{Params, Value};

use super::questions::Server;
use crate::binlog::error::SourceError;
use crate::binlog::statement::Dml;

/// The tables that the changes of a statement can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementReach {
    /// The tables that it names, and the children of their foreign keys.
    Named,
    /// Any table, for this reason.
    Any(&'static str),
}

const THROUGH_OBJECTS: StatementReach =
    StatementReach::Any("it names a view, a table with triggers, a merge table or a function");
const NOT_TOLD: StatementReach = StatementReach::Any(
    "without SELECT and TRIGGER on *.* evictd cannot see what views, triggers and functions there are",
);

/// Schemas with views and functions of the server's own.
const SYSTEM: &str = "('mysql', 'sys', 'information_schema', 'performance_schema')";

impl Server {
    /// Looks up how far `dml` reaches.
    pub async fn reach(&mut self, dml: &Dml) -> Result<StatementReach, SourceError> {
        if !self.sees_everything().await? {
            return Ok(NOT_TOLD);
        }
        let targets: Vec<&str> = dml.targets.iter().map(|name| &*name.table).collect();
        let names: Vec<&str> = dml.names.iter().map(String::as_str).collect();
        let (tables, functions) = (placeholders(targets.len()), placeholders(names.len()));
        let question = format!(
            "SELECT EXISTS (SELECT 1 FROM information_schema.tables \
               WHERE (table_type = 'VIEW' OR engine = 'MRG_MYISAM') \
               AND table_schema NOT IN {SYSTEM} AND table_name IN ({tables})) \
             OR EXISTS (SELECT 1 FROM information_schema.triggers \
               WHERE event_object_schema NOT IN {SYSTEM} AND event_object_table IN ({tables})) \
             OR EXISTS (SELECT 1 FROM information_schema.routines \
               WHERE routine_type = 'FUNCTION' AND routine_schema NOT IN {SYSTEM} \
               AND routine_name IN ({functions}))"
        );
        let parameters = targets
            .iter()
            .chain(&targets)
            .chain(&names)
            .map(|name| Value::from(*name))
            .collect();
        let through: Option<bool> = self.ask(question, Params::Positional(parameters)).await?;
        Ok(match through {
            Some(false) => StatementReach::Named,
            Some(true) | None => THROUGH_OBJECTS,
        })
    }

    /// Whether the account sees every view (SELECT), trigger (TRIGGER) and
    /// function (SELECT): what it does not see is left out of the catalog
    /// (MySQL manual, "INFORMATION_SCHEMA TRIGGERS Table", "… ROUTINES Table").
    async fn sees_everything(&mut self) -> Result<bool, SourceError> {
        let account: Option<String> = self.ask("SELECT CURRENT_USER()", Params::Empty).await?;
        let Some((user, host)) = account.as_deref().and_then(|text| text.rsplit_once('@')) else {
            return Ok(false);
        };
        let privileges: Option<u64> = self
            .ask(
                "SELECT COUNT(DISTINCT privilege_type) FROM information_schema.user_privileges \
                 WHERE grantee = ? AND privilege_type IN ('SELECT', 'TRIGGER')",
                (format!("'{user}'@'{host}'"),).into(),
            )
            .await?;
        Ok(privileges == Some(2))
    }
}

fn placeholders(count: usize) -> String {
    // An empty list is not SQL; the empty string is never a name.
    if count == 0 {
        "''".to_owned()
    } else {
        vec!["?"; count].join(", ")
    }
}
