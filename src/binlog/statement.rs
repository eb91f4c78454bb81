//! What a QUERY event's statement means to a reader of rows.
//!
//! Transactions are delimited by statements, and some statements change rows
//! without row events. Which tables those touch is over-approximated: every
//! identifier counts as a table (Over, never under).

use crate::model::TableName;

/// What a statement does, as far as the reader must know.
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
    /// Rows that this xid's transaction changed become visible.
    XaCommit(String),
    /// What this xid's transaction changed is undone.
    XaRollback(String),
    /// It can change what columns a table has.
    Layout,
    /// `CREATE TABLE … SELECT`, written as one atomic transaction: its rows
    /// follow as row events (MySQL manual, "Atomic Data Definition Statement
    /// Support").
    LayoutThenRows,
    /// It changes or hides rows of these tables, maybe of others in the list
    /// that are none.
    Rows(Vec<TableName>),
    /// It changes or hides rows of tables that cannot be told.
    AnyRows,
    /// Accounts, plugins, statistics: no row is touched.
    Harmless,
}

impl Statement {
    /// Reads a statement that ran with the default database `schema`.
    pub fn read(schema: &str, sql: &str) -> Self {
        let tokens = tokens(sql);
        let word = |index: usize| match tokens.get(index) {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        let (first, second) = (word(0), word(1));
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
                let last = tokens.len().saturating_sub(2);
                match (word(last).as_str(), word(last + 1).as_str()) {
                    ("START", "TRANSACTION") => Statement::LayoutThenRows,
                    _ if tokens.iter().any(|token| token.is("SELECT")) => rows(),
                    _ => Statement::Layout,
                }
            }
            ("ALTER", "TABLE") => {
                let moves_rows = ["PARTITION", "PARTITIONING", "RENAME", "IMPORT", "DISCARD"];
                if tokens
                    .iter()
                    .any(|token| moves_rows.iter().any(|word| token.is(word)))
                {
                    rows()
                } else {
                    Statement::Layout
                }
            }
            ("CREATE" | "DROP" | "ALTER", "INDEX" | "UNIQUE" | "FULLTEXT" | "SPATIAL" | "VIEW")
            | ("CREATE", "OR" | "ALGORITHM" | "DEFINER" | "SQL") => Statement::Layout,
            ("CREATE" | "DROP" | "ALTER", _)
            | ("GRANT" | "REVOKE" | "FLUSH" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "SET", _)
            | ("INSTALL" | "UNINSTALL" | "CHECK" | "CHECKSUM", _) => Statement::Harmless,
            ("INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "LOAD" | "WITH", _) => rows(),
            // CALL and DO, and whatever a later version brings.
            _ => Statement::AnyRows,
        }
    }
}

/// What stands after the two words of an XA statement, without blanks. The
/// server writes `X'6162',X'',1`, whatever the client wrote.
fn xid(sql: &str) -> String {
    sql.split_whitespace().skip(2).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Dot,
    Other,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(have) if have.eq_ignore_ascii_case(word))
    }

    fn identifier(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Dot | Token::Other => None,
        }
    }
}

/// Splits a statement into words, quoted identifiers and the rest. Comments
/// are passed over, but not what a versioned comment (`/*!80000 … */`) holds.
fn tokens(sql: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let after = |n: usize| rest.get(n..).unwrap_or_default();
        if let Some(versioned) = rest.strip_prefix("/*!") {
            rest = versioned.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if rest.starts_with("*/") {
            rest = after(2);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if c == '#' || rest.starts_with("-- ") || rest.starts_with("--\t") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if matches!(c, '`' | '\'' | '"') {
            let (text, tail) = quoted(after(1), c);
            // ANSI_QUOTES makes "…" an identifier: take both for one.
            out.push(if c == '\'' {
                Token::Other
            } else {
                Token::Quoted(text)
            });
            rest = tail;
        } else if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            out.push(Token::Word(rest.get(..end).unwrap_or_default().to_owned()));
            rest = after(end);
        } else {
            match c {
                '.' => out.push(Token::Dot),
                c if c.is_whitespace() => {}
                _ => out.push(Token::Other),
            }
            rest = after(c.len_utf8());
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// Reads up to and over the closing quote; a doubled one stands for itself.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
                out.push(quote);
            } else {
                return (out, text.get(at + c.len_utf8()..).unwrap_or_default());
            }
        } else {
            out.push(c);
        }
    }
    (out, "")
}

/// Every identifier as a table of the default database, and every `a.b`.
fn tables(schema: &str, tokens: &[Token]) -> Vec<TableName> {
    let mut out: Vec<TableName> = Vec::new();
    for window in tokens.windows(3) {
        if let [first, Token::Dot, last] = window
            && let (Some(schema), Some(table)) = (first.identifier(), last.identifier())
        {
            out.push(TableName::new(schema, table));
        }
    }
    let bare = tokens.iter().filter_map(Token::identifier);
    out.extend(bare.map(|table| TableName::new(schema, table)));
    out.sort();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_delimit_transactions_are_known() {
        let xid = || "X'61',X'',1".to_owned();
        let cases = [
            ("BEGIN", Statement::Begin),
            ("XA START X'61',X'',1", Statement::XaBegin(xid())),
            ("xa  begin\tX'61', X'' ,1 ", Statement::XaBegin(xid())),
            ("XA PREPARE X'61',X'',1", Statement::XaPrepare),
            ("XA ROLLBACK X'61',X'',1", Statement::XaRollback(xid())),
            ("COMMIT", Statement::End),
            ("ROLLBACK", Statement::End),
            ("ROLLBACK TO `s`", Statement::Within),
            ("SAVEPOINT `s`", Statement::Within),
            ("XA END X'61',X'',1", Statement::Within),
            ("XA COMMIT X'61',X'',1", Statement::XaCommit(xid())),
            ("/* app */ create table a (b int)", Statement::Layout),
            (
                "CREATE TABLE `a` (`b` int) START TRANSACTION",
                Statement::LayoutThenRows,
            ),
            ("ALTER TABLE a ADD c int", Statement::Layout),
            ("CREATE USER 'a'@'b'", Statement::Harmless),
            ("GRANT SELECT ON *.* TO a", Statement::Harmless),
            ("DROP DATABASE shop", Statement::AnyRows),
            ("FROBNICATE", Statement::AnyRows),
            ("", Statement::AnyRows),
        ];
        for (sql, expected) in cases {
            assert_eq!(Statement::read("shop", sql), expected, "{sql}");
        }
    }

    #[test]
    fn statements_that_change_rows_name_their_tables() {
        let cases = [
            "TRUNCATE TABLE users",
            "truncate `users`",
            "DROP TABLE IF EXISTS `shop`.`users` /* generated by server */",
            "RENAME TABLE users TO _users_old, _users_new TO users",
            "/*!80000 TRUNCATE TABLE shop . users */",
            "DELETE FROM users WHERE name = 'it''s'",
            "-- why\nUPDATE shop.users SET a = 1",
            "ALTER TABLE users TRUNCATE PARTITION p1",
            "CREATE TABLE t2 SELECT * FROM users",
            "LOAD DATA INFILE 'x' INTO TABLE `users`",
        ];
        for sql in cases {
            match Statement::read("shop", sql) {
                Statement::Rows(tables) => {
                    assert!(tables.contains(&TableName::new("shop", "users")), "{sql}");
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
        let strings = Statement::read("shop", "DELETE FROM a WHERE b = 'users'");
        assert_eq!(
            strings,
            Statement::Rows(tables("shop", &tokens("DELETE FROM a WHERE b =")))
        );
    }
}
