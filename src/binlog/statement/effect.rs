//! The effect of a statement, as far as it concerns a reader of rows.

use super::dml::{Dml, dml};
use super::tables::tables;
use super::tokens::{Token, readings};
use crate::model::TableName;

/// The effect of a statement, as far as it concerns a reader of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A transaction begins.
    Begin,
    /// A transaction ends.
    End,
    /// It belongs to a transaction and changes nothing by itself: SAVEPOINT,
    /// ROLLBACK TO, XA END.
    Within,
    /// An XA transaction of this xid begins.
    XaBegin(String),
    /// The XA transaction is prepared. Servers write an event instead.
    XaPrepare,
    /// Rows that the transaction of this xid changed become visible.
    XaCommit(String),
    /// The changes of the transaction of this xid are undone.
    XaRollback(String),
    /// It can change what columns a table has.
    Layout,
    /// `CREATE TABLE … SELECT`, written as one atomic transaction: its rows
    /// follow as row events (MySQL manual, "Atomic Data Definition Statement
    /// Support").
    LayoutThenRows,
    /// It changes or hides rows of these tables. The list may hold names that are
    /// not tables.
    Rows(Vec<TableName>),
    /// It was logged itself, in place of the rows that it changed.
    Dml(Dml),
    /// It changes or hides rows of tables that cannot be told.
    AnyRows,
    /// Accounts, plugins, statistics: no row is touched.
    Harmless,
}

impl Statement {
    /// Reads a statement that ran with the default database `schema`.
    pub fn read(schema: &str, sql: &str) -> Self {
        // As the server writes it before every transaction.
        if sql == "BEGIN" {
            return Statement::Begin;
        }
        let tokens = readings(sql);
        let word = |index: usize| match tokens.get(index) {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        let (first, second) = (word(0), word(1));
        let any = |words: &[&str]| {
            let is_one = |token: &Token| words.iter().any(|word| token.is(word));
            tokens.iter().any(is_one)
        };
        let rows = || Statement::Rows(tables(schema, &tokens));
        match (first.as_str(), second.as_str()) {
            ("BEGIN", _) | ("START", "TRANSACTION") => Statement::Begin,
            ("XA", "START" | "BEGIN") => Statement::XaBegin(xid(sql)),
            ("XA", "PREPARE") => Statement::XaPrepare,
            ("XA", "COMMIT") => Statement::XaCommit(xid(sql)),
            ("XA", "ROLLBACK") => Statement::XaRollback(xid(sql)),
            ("ROLLBACK", "TO") | ("SAVEPOINT" | "RELEASE", _) | ("XA", "END") => Statement::Within,
            ("COMMIT" | "ROLLBACK", _) => Statement::End,
            ("DROP", "DATABASE" | "SCHEMA") => Statement::AnyRows,
            ("DROP", "TABLE" | "TEMPORARY") | ("TRUNCATE" | "RENAME", _) => match second.as_str() {
                "USER" => Statement::Harmless,
                _ => rows(),
            },
            ("CREATE", "TABLE" | "TEMPORARY") => {
                let rows_follow = tokens.windows(3).any(|end| match end {
                    [start, transaction, Token::End] => {
                        start.is("START") && transaction.is("TRANSACTION")
                    }
                    _ => false,
                });
                if rows_follow {
                    Statement::LayoutThenRows
                } else if any(&["SELECT", "ROW"]) || is_copy(&tokens) {
                    rows()
                } else {
                    Statement::Layout
                }
            }
            ("ALTER", "TABLE") => {
                // MODIFY, CHANGE and CONVERT can rewrite the values of rows; in
                // a table of the engine BLACKHOLE no rows are left.
                let blackhole = sql.to_ascii_uppercase().contains("BLACKHOLE");
                if blackhole
                    || any(&[
                        "PARTITION",
                        "PARTITIONING",
                        "RENAME",
                        "IMPORT",
                        "DISCARD",
                        "MODIFY",
                        "CHANGE",
                        "CONVERT",
                    ])
                {
                    rows()
                } else {
                    Statement::Layout
                }
            }
            ("CREATE" | "DROP" | "ALTER", "INDEX" | "UNIQUE" | "FULLTEXT" | "SPATIAL" | "VIEW")
            | ("CREATE", "OR" | "ALGORITHM" | "DEFINER" | "SQL") => Statement::Layout,
            ("CREATE" | "DROP" | "ALTER", _)
            | ("GRANT" | "REVOKE" | "FLUSH" | "ANALYZE" | "OPTIMIZE" | "SET", _)
            | ("INSTALL" | "UNINSTALL" | "CHECK" | "CHECKSUM", _) => Statement::Harmless,
            // A repaired table may have lost rows.
            ("LOAD" | "REPAIR", _) => rows(),
            ("INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "WITH", _) => {
                dml(schema, sql, &tokens).map_or(Statement::AnyRows, Statement::Dml)
            }
            // CALL, DO, and statements of later versions.
            _ => Statement::AnyRows,
        }
    }
}

/// The text after the two words of an XA statement, without spaces. The
/// server writes `X'6162',X'',1`, whatever the client wrote.
fn xid(sql: &str) -> String {
    sql.split_whitespace().skip(2).collect()
}

/// Whether it is `CREATE TABLE a TABLE b`.
fn is_copy(tokens: &[Token]) -> bool {
    tokens.iter().filter(|token| token.is("TABLE")).count() > 1
}
