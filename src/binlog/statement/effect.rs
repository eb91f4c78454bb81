//! The effect of a statement, as far as it concerns a reader of rows.

use super::alter::{Alteration, alteration};
use super::dml::{Dml, dml};
use super::tables::{changed, tables};
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
    /// It can change what columns a table has, and leaves rows as they are. The
    /// list may hold names that are not tables.
    Layout {
        tables: Vec<TableName>,
        /// The names of columns that one of them has from now on.
        added: Vec<String>,
    },
    /// `CREATE TABLE … SELECT`, written as one atomic transaction: its rows
    /// follow as row events (MySQL manual, "Atomic Data Definition Statement
    /// Support").
    LayoutThenRows,
    /// It changes or hides rows of these tables. The list may hold names that are
    /// not tables.
    Rows(Vec<TableName>),
    /// A database of this name is dropped, with its tables.
    DropDatabase(String),
    /// It was logged itself, in place of the rows that it changed.
    Dml(Dml),
    /// It changes or hides rows of tables that cannot be told.
    AnyRows,
    /// Indexes, views, programs, accounts, statistics: neither rows nor columns are
    /// touched.
    Harmless,
}

impl Statement {
    /// Reads a statement that ran with the default database `schema`.
    pub fn read(schema: &str, sql: &str) -> Self {
        readings(sql)
            .iter()
            .map(|tokens| effect(schema, sql, tokens))
            .reduce(Statement::or)
            .unwrap_or(Statement::AnyRows)
    }

    /// The effect of a statement that has either this effect or the `other`
    /// (Over, never under).
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        use Statement::{AnyRows, Dml, Harmless, Layout, LayoutThenRows, Rows};
        match (self, other) {
            (one, other) if one == other => one,
            (Harmless, changes @ (Layout { .. } | Rows(_) | Dml(_)))
            | (changes @ (Layout { .. } | Rows(_) | Dml(_)), Harmless) => changes,
            // Rows would follow in a transaction that has to be open.
            (LayoutThenRows, Layout { .. }) | (Layout { .. }, LayoutThenRows) => LayoutThenRows,
            (
                Layout {
                    mut tables,
                    mut added,
                },
                Layout {
                    tables: more,
                    added: more_added,
                },
            ) => {
                tables.extend(more);
                added.extend(more_added);
                Layout { tables, added }
            }
            (
                Rows(mut tables) | Layout { mut tables, .. },
                Rows(more) | Layout { tables: more, .. },
            ) => {
                tables.extend(more);
                Rows(tables)
            }
            (Dml(mut one), Dml(other)) => {
                one.targets.extend(other.targets);
                one.names.extend(other.names);
                Dml(one)
            }
            _ => AnyRows,
        }
    }
}

/// The effect of a statement in one reading.
fn effect(schema: &str, sql: &str, tokens: &[Token]) -> Statement {
    let word = |index: usize| match tokens.get(index) {
        Some(Token::Word(word)) => word.to_ascii_uppercase(),
        _ => String::new(),
    };
    let (first, second) = (word(0), word(1));
    let rest = tokens.get(2..).unwrap_or_default();
    let any = |words: &[&str]| {
        let is_one = |token: &Token| words.iter().any(|word| token.is(word));
        tokens.iter().any(is_one)
    };
    let rows = || Statement::Rows(changed(schema, tokens));
    let layout = |added| Statement::Layout {
        tables: changed(schema, tokens),
        added,
    };
    match (first.as_str(), second.as_str()) {
        ("BEGIN", _) | ("START", "TRANSACTION") => Statement::Begin,
        ("XA", "START" | "BEGIN") => Statement::XaBegin(xid(sql)),
        ("XA", "PREPARE") => Statement::XaPrepare,
        ("XA", "COMMIT") => Statement::XaCommit(xid(sql)),
        ("XA", "ROLLBACK") => Statement::XaRollback(xid(sql)),
        ("ROLLBACK", "TO") | ("SAVEPOINT" | "RELEASE", _) | ("XA", "END") => Statement::Within,
        ("COMMIT" | "ROLLBACK", _) => Statement::End,
        ("DROP", "DATABASE" | "SCHEMA") => dropped_database(rest),
        ("CREATE", "TABLE" | "TEMPORARY") => {
            if ends_in_start_transaction(tokens) {
                Statement::LayoutThenRows
            } else if any(&["SELECT", "ROW"]) || is_copy(tokens) || !begins_empty(tokens) {
                Statement::Rows(tables(schema, tokens))
            } else {
                layout(Vec::new())
            }
        }
        ("ALTER", "TABLE") => match alteration(rest) {
            Alteration::Nothing => Statement::Harmless,
            Alteration::Adds(names) => layout(names),
            Alteration::Rows => rows(),
        },
        ("CREATE" | "ALTER", "DATABASE" | "SCHEMA")
        | ("RENAME", "USER")
        | ("GRANT" | "REVOKE" | "FLUSH" | "ANALYZE" | "OPTIMIZE" | "SET", _)
        | ("INSTALL" | "UNINSTALL" | "CHECK" | "CHECKSUM", _) => Statement::Harmless,
        ("CREATE" | "ALTER" | "DROP", _) if is_about_no_rows(tokens) => Statement::Harmless,
        ("CREATE" | "ALTER" | "DROP", _) if any(&["TABLE", "TABLES"]) => rows(),
        // A repaired table may have lost rows.
        ("TRUNCATE" | "RENAME" | "LOAD" | "REPAIR", _) => rows(),
        ("INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "WITH", _) => {
            dml(schema, sql, tokens).map_or(Statement::AnyRows, Statement::Dml)
        }
        // CALL, DO, and statements of later versions.
        _ => Statement::AnyRows,
    }
}

/// The text after the two words of an XA statement, without spaces. The
/// server writes `X'6162',X'',1`, whatever the client wrote.
fn xid(sql: &str) -> String {
    sql.split_whitespace().skip(2).collect()
}

/// Reads what stands behind DROP DATABASE.
fn dropped_database(rest: &[Token]) -> Statement {
    let name = match rest {
        [r#if, exists, name] if r#if.is("IF") && exists.is("EXISTS") => name,
        [name] => name,
        _ => return Statement::AnyRows,
    };
    let name = name.identifier().map(str::to_owned);
    name.map_or(Statement::AnyRows, Statement::DropDatabase)
}

fn ends_in_start_transaction(tokens: &[Token]) -> bool {
    matches!(tokens, [.., start, end] if start.is("START") && end.is("TRANSACTION"))
}

/// Whether it is `CREATE TABLE a TABLE b`.
fn is_copy(tokens: &[Token]) -> bool {
    tokens.iter().filter(|token| token.is("TABLE")).count() > 1
}

/// Whether a new table's engine, if it is named, is one whose tables have the rows
/// that are written to them and no others.
fn begins_empty(tokens: &[Token]) -> bool {
    const ENGINES: [&str; 7] = [
        "InnoDB",
        "MyISAM",
        "MEMORY",
        "HEAP",
        "ARCHIVE",
        "CSV",
        "BLACKHOLE",
    ];
    let mut depth = 0_usize;
    // A column or an index may be called ENGINE.
    let outside: Vec<&Token> = tokens
        .iter()
        .filter(|token| {
            depth = match token {
                Token::Mark('(') => depth + 1,
                Token::Mark(')') => depth.saturating_sub(1),
                _ => depth,
            };
            depth == 0 && **token != Token::Mark('=')
        })
        .collect();
    outside.windows(2).all(|pair| match pair {
        [engine, name] if engine.is("ENGINE") => ENGINES.iter().any(|engine| name.is(engine)),
        _ => true,
    })
}

/// Whether CREATE, ALTER or DROP is about something that has no rows.
fn is_about_no_rows(tokens: &[Token]) -> bool {
    const OBJECTS: [&str; 18] = [
        "AGGREGATE",
        "EVENT",
        "FULLTEXT",
        "FUNCTION",
        "INDEX",
        "INSTANCE",
        "JSON",
        "LIBRARY",
        "LOGFILE",
        "PROCEDURE",
        "RESOURCE",
        "ROLE",
        "SPATIAL",
        "TABLESPACE",
        "TRIGGER",
        "UNDO",
        "UNIQUE",
        "USER",
    ];
    let mut rest = tokens.get(1..).unwrap_or_default();
    // OR REPLACE, ALGORITHM = …, DEFINER = …, SQL SECURITY …
    loop {
        rest = match rest {
            [word, ..] if word.is("VIEW") || OBJECTS.iter().any(|object| word.is(object)) => {
                return true;
            }
            [or, replace, rest @ ..] if or.is("OR") && replace.is("REPLACE") => rest,
            [sql, security, _, rest @ ..] if sql.is("SQL") && security.is("SECURITY") => rest,
            [definer, Token::Mark('='), _, Token::Mark('@'), _, rest @ ..]
                if definer.is("DEFINER") =>
            {
                rest
            }
            [
                definer,
                Token::Mark('='),
                _,
                Token::Mark('('),
                Token::Mark(')'),
                rest @ ..,
            ] if definer.is("DEFINER") => rest,
            [option, Token::Mark('='), _, rest @ ..]
                if option.is("DEFINER") || option.is("ALGORITHM") =>
            {
                rest
            }
            _ => return false,
        };
    }
}
