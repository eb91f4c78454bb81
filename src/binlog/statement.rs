//! What a QUERY event's statement means to a reader of rows.
//!
//! Transactions are delimited by statements, and some statements change rows
//! without row events. Which tables those touch is over-approximated: every
//! identifier counts as a table (Over, never under), as it is written and in
//! lower case: with `lower_case_table_names=1` row events carry lower-case
//! names, and statements what was typed.

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
                } else if any(&["SELECT"]) {
                    rows()
                } else {
                    Statement::Layout
                }
            }
            ("ALTER", "TABLE") => {
                // MODIFY, CHANGE and CONVERT can rewrite the values of rows.
                if any(&[
                    "PARTITION",
                    "PARTITIONING",
                    "RENAME",
                    "IMPORT",
                    "DISCARD",
                    "MODIFY",
                    "CHANGE",
                    "CONVERT",
                ]) {
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
            ("INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "LOAD" | "WITH" | "REPAIR", _) => rows(),
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
    /// The statement ends.
    End,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(have) if have.eq_ignore_ascii_case(word))
    }

    fn identifier(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Dot | Token::Other | Token::End => None,
        }
    }
}

/// The statement's tokens. A backslash escapes what comes after it or, with
/// the SQL mode NO_BACKSLASH_ESCAPES, does not: where that makes a difference,
/// both readings, one after the other.
fn readings(sql: &str) -> Vec<Token> {
    let mut out = tokens(sql, true);
    if sql.contains('\\') {
        let literal = tokens(sql, false);
        if literal != out {
            out.extend(literal);
        }
    }
    out
}

/// Splits a statement into words, quoted identifiers and the rest. Comments
/// are passed over, but not what a versioned comment (`/*!80000 … */`) holds.
fn tokens(sql: &str, escapes: bool) -> Vec<Token> {
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
            let (text, tail) = quoted(after(1), c, escapes);
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
    out.push(Token::End);
    out
}

/// Identifiers that are not quoted may hold everything beyond ASCII, symbols
/// and blanks included (MySQL manual, "Schema Object Names").
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

/// Reads up to and over the closing quote; a doubled one stands for itself.
fn quoted(text: &str, quote: char, escapes: bool) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes && quote != '`' {
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

/// Every identifier as a table of the default database, and every `a.b`; all
/// of them in lower case too.
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
    let lower =
        |name: &TableName| TableName::new(name.schema.to_lowercase(), name.table.to_lowercase());
    let lowered: Vec<TableName> = out.iter().map(lower).collect();
    out.extend(lowered);
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

    fn named(schema: &str, sql: &str) -> Vec<String> {
        match Statement::read(schema, sql) {
            Statement::Rows(tables) => tables.iter().map(ToString::to_string).collect(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn statements_that_change_rows_name_their_tables() {
        // The statement, and what it must name; the default database is `shop`.
        let cases: [(&str, &[&str]); 45] = [
            ("TRUNCATE TABLE users", &["shop.users"]),
            ("truncate `users`", &["shop.users"]),
            ("TRUNCATE users;", &["shop.users"]),
            (
                "DROP TABLE IF EXISTS `shop`.`users` /* generated by server */",
                &["shop.users"],
            ),
            ("DROP TABLE `a`,`b`.`c`,d", &["shop.a", "b.c", "shop.d"]),
            ("DROP TEMPORARY TABLE users", &["shop.users"]),
            // Letter case: as typed, and as lower_case_table_names=1 stores it.
            ("TRUNCATE Users", &["shop.Users", "shop.users"]),
            ("TRUNCATE Shop.USERS", &["Shop.USERS", "shop.users"]),
            ("TRUNCATE `ÄPFEL`", &["shop.ÄPFEL", "shop.äpfel"]),
            // Blanks and comments around the dot.
            ("/*!80000 TRUNCATE TABLE other . users */", &["other.users"]),
            ("TRUNCATE other /* a.b */ . /**/ users", &["other.users"]),
            ("TRUNCATE other\n\t.\n`users`", &["other.users"]),
            ("TRUNCATE other. -- why\nusers", &["other.users"]),
            ("TRUNCATE other # why\n.users", &["other.users"]),
            ("TRUNCATE TABLE .users", &["shop.users"]),
            // Multi-byte and quoted identifiers.
            ("TRUNCATE größe", &["shop.größe"]),
            ("TRUNCATE 用户.表", &["用户.表"]),
            ("TRUNCATE a€b", &["shop.a€b"]),
            ("TRUNCATE e\u{301}t\u{a0}x", &["shop.e\u{301}t\u{a0}x"]),
            ("TRUNCATE `a``b`.`c.d e`", &["a`b.c.d e"]),
            (
                "TRUNCATE \"Other\".\"us\"\"ers\"",
                &["Other.us\"ers", "other.us\"ers"],
            ),
            ("TRUNCATE `select`", &["shop.select"]),
            ("TRUNCATE `a\\`", &["shop.a\\"]),
            ("TRUNCATE 1st$table_2", &["shop.1st$table_2"]),
            // Swaps: what becomes hidden, and what appears.
            (
                "RENAME TABLE users TO _users_old, _users_new TO users",
                &["shop.users", "shop._users_new", "shop._users_old"],
            ),
            (
                "rename /* gh-ost */ table `shop`.`users` to `shop`.`_users_del`, `shop`.`_users_gho` to `shop`.`users`",
                &["shop.users", "shop._users_gho", "shop._users_del"],
            ),
            (
                "RENAME TABLE `shop`.`users` TO `shop`.`_users_old`, `shop`.`_users_new` TO `shop`.`users`",
                &["shop.users"],
            ),
            ("ALTER TABLE _users_new RENAME TO users", &["shop.users"]),
            (
                "ALTER TABLE other.a RENAME AS other.users",
                &["other.users"],
            ),
            ("ALTER TABLE users TRUNCATE PARTITION p1", &["shop.users"]),
            ("ALTER TABLE users DROP PARTITION p1, p2", &["shop.users"]),
            (
                "ALTER TABLE archive EXCHANGE PARTITION p1 WITH TABLE users WITHOUT VALIDATION",
                &["shop.archive", "shop.users"],
            ),
            ("ALTER TABLE users REMOVE PARTITIONING", &["shop.users"]),
            ("ALTER TABLE users DISCARD TABLESPACE", &["shop.users"]),
            (
                "ALTER TABLE users MODIFY name VARCHAR(3), ADD c int",
                &["shop.users"],
            ),
            (
                "ALTER TABLE users CONVERT TO CHARACTER SET latin1",
                &["shop.users"],
            ),
            ("REPAIR TABLE users", &["shop.users"]),
            // Statements as such in the binlog.
            ("DELETE FROM users WHERE name = 'it''s'", &["shop.users"]),
            ("-- why\nUPDATE shop.users SET a = 1", &["shop.users"]),
            ("UPDATE a, other.b AS x SET x.c = 1", &["shop.a", "other.b"]),
            (
                "WITH t AS (SELECT 1) DELETE users FROM users JOIN t",
                &["shop.users"],
            ),
            ("CREATE TABLE t2 SELECT * FROM users", &["shop.t2"]),
            ("LOAD DATA INFILE 'x' INTO TABLE `users`", &["shop.users"]),
            // Where the string ends depends on the SQL mode.
            (
                r"UPDATE a JOIN (SELECT '\' AS x) AS b JOIN users SET users.c = 1",
                &["shop.users"],
            ),
            (
                r"UPDATE a JOIN (SELECT '\'' AS x) AS b JOIN users SET users.c = 1",
                &["shop.users"],
            ),
        ];
        for (sql, expected) in cases {
            let tables = named("shop", sql);
            for table in expected {
                assert!(
                    tables.iter().any(|named| named == table),
                    "{sql}: {table} not in {tables:?}"
                );
            }
        }
        assert!(named("Shop", "TRUNCATE users").contains(&"shop.users".to_owned()));
        assert!(named("", "TRUNCATE shop.users").contains(&"shop.users".to_owned()));
    }

    #[test]
    fn strings_and_comments_name_no_tables() {
        for sql in [
            "DELETE FROM a WHERE b = 'users'",
            "DELETE FROM a /* users */ WHERE b = '' -- users",
            r"DELETE FROM a WHERE b = 'it\'s users'",
        ] {
            let tables = Statement::Rows(tables("shop", &tokens(&sql.replace("users", ""), true)));
            match (Statement::read("shop", sql), sql.contains('\\')) {
                (read, false) => assert_eq!(read, tables, "{sql}"),
                // One of the two readings has it outside.
                (Statement::Rows(read), true) => {
                    assert!(read.contains(&TableName::new("shop", "users")));
                }
                (read, true) => panic!("{read:?}"),
            }
        }
    }

    #[test]
    fn what_follows_a_string_counts_in_both_readings_of_a_backslash() {
        for sql in [
            r"ALTER TABLE users COMMENT '\', TRUNCATE PARTITION p",
            r"ALTER TABLE users COMMENT '\'', TRUNCATE PARTITION p",
        ] {
            assert!(
                named("shop", sql).contains(&"shop.users".to_owned()),
                "{sql}"
            );
        }
        for sql in [
            r"CREATE TABLE a (b int COMMENT '\') START TRANSACTION",
            r"CREATE TABLE a (b int COMMENT '\'') START TRANSACTION",
        ] {
            assert_eq!(
                Statement::read("shop", sql),
                Statement::LayoutThenRows,
                "{sql}"
            );
        }
    }
}
