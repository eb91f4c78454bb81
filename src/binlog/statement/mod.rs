//! What a QUERY event's statement means to a reader of rows.
//!
//! Transactions are delimited by statements, and some statements change rows
//! without row events. Which tables those touch is over-approximated: every
//! identifier counts as a table (Over, never under), as it is written and in
//! lower case: with `lower_case_table_names=1` row events carry lower-case
//! names, and statements what was typed. Only what INSERT and REPLACE write
//! to is told from what they read, since checksumming tools write statements
//! that read every table.

mod tokens;

use self::tokens::{Token, readings};
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
    /// It was logged as it is in place of the rows that it changed.
    Dml(Dml),
    /// It changes or hides rows of tables that cannot be told.
    AnyRows,
    /// Accounts, plugins, statistics: no row is touched.
    Harmless,
}

/// A statement that changes rows, logged with `binlog_format = STATEMENT`.
/// Through a view, a trigger or a function it changes tables that it does not
/// name; whether it can, only the server's catalog knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dml {
    /// What it changes, and maybe more that it only reads or that is no table.
    pub targets: Vec<TableName>,
    /// Every name in it, any of which may be a function's.
    pub names: Vec<String>,
    /// Its beginning, for people.
    pub text: String,
}

/// A statement with more names than that counts as one about any table.
const NAMES_MAX: usize = 1_000;

/// How much of a statement logs show.
const TEXT_CHARS: usize = 80;

/// The beginning of a statement, for people.
pub fn beginning(sql: &str) -> String {
    sql.chars().take(TEXT_CHARS).collect()
}

/// Every table that a statement may be about, and maybe names that are none.
pub fn tables_named(schema: &str, sql: &str) -> Vec<TableName> {
    tables(schema, &readings(sql))
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
                // a table of the engine BLACKHOLE there are none.
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
            ("INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "WITH", _) => dml(schema, sql, &tokens),
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

/// Whether it is `CREATE TABLE a TABLE b`.
fn is_copy(tokens: &[Token]) -> bool {
    tokens.iter().filter(|token| token.is("TABLE")).count() > 1
}

fn dml(schema: &str, sql: &str, tokens: &[Token]) -> Statement {
    let mut names: Vec<String> = identifiers(tokens).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if names.len() > NAMES_MAX {
        return Statement::AnyRows;
    }
    // Whether the server read what a versioned comment holds is not known.
    let target = match sql.contains("/*!") {
        true => None,
        false => insert_target(schema, tokens),
    };
    Statement::Dml(Dml {
        targets: target.map_or_else(|| tables(schema, tokens), with_lower_case),
        names,
        text: beginning(sql),
    })
}

/// The one table that INSERT or REPLACE writes to (MySQL manual, "INSERT
/// Statement").
fn insert_target(schema: &str, tokens: &[Token]) -> Option<Vec<TableName>> {
    let (verb, rest) = tokens.split_first()?;
    if !verb.is("INSERT") && !verb.is("REPLACE") {
        return None;
    }
    // All of them are reserved words.
    let modifiers = ["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "IGNORE", "INTO"];
    let is_modifier = |token: &&Token| modifiers.iter().any(|word| token.is(word));
    let modifiers = rest.iter().take_while(is_modifier).count();
    let table = match rest.get(modifiers..)? {
        [first, Token::Dot, second, ..] => {
            TableName::new(first.identifier()?, second.identifier()?)
        }
        [Token::Dot, table, ..] | [table, ..] => TableName::new(schema, table.identifier()?),
        [] => return None,
    };
    Some(vec![table])
}

/// What may be a name: not a number, and no longer than names are (MySQL
/// manual, "Identifier Length Limits").
fn identifiers(tokens: &[Token]) -> impl Iterator<Item = &str> {
    let is_number = |token: &Token| match token {
        Token::Word(word) => word.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    let names = tokens.iter().filter(move |token| !is_number(token));
    names
        .filter_map(Token::identifier)
        .filter(|name| name.chars().count() <= 64)
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
    out.extend(identifiers(tokens).map(|table| TableName::new(schema, table)));
    with_lower_case(out)
}

/// The same names, and all of them in lower case too.
fn with_lower_case(mut names: Vec<TableName>) -> Vec<TableName> {
    let lower =
        |name: &TableName| TableName::new(name.schema.to_lowercase(), name.table.to_lowercase());
    let lowered: Vec<TableName> = names.iter().map(lower).collect();
    names.extend(lowered);
    names.sort();
    names.dedup();
    names
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
            Statement::Rows(tables)
            | Statement::Dml(Dml {
                targets: tables, ..
            }) => tables.iter().map(ToString::to_string).collect(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn statements_that_change_rows_name_their_tables() {
        // The statement, and what it must name; the default database is `shop`.
        let cases: [(&str, &[&str]); 53] = [
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
            ("CREATE TABLE t2 TABLE users", &["shop.t2"]),
            ("CREATE TABLE t2 VALUES ROW(1)", &["shop.t2"]),
            ("ALTER TABLE users ENGINE = Blackhole", &["shop.users"]),
            ("ALTER TABLE users ENGINE 'BLACKHOLE'", &["shop.users"]),
            ("INSERT shop.users SET a = 1", &["shop.users"]),
            (
                "UPDATE LOW_PRIORITY IGNORE users SET a = 1",
                &["shop.users"],
            ),
            ("DELETE QUICK FROM users", &["shop.users"]),
            (
                "REPLACE INTO /*!99999 a */ users SELECT 1",
                &["shop.a", "shop.users"],
            ),
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
            // With a backslash, one of the two readings has it outside.
            let expected = sql.contains('\\');
            let read = named("shop", sql);
            assert_eq!(read.contains(&"shop.users".to_owned()), expected, "{sql}");
        }
    }

    #[test]
    fn an_insert_changes_the_table_that_it_writes_to_and_none_that_it_reads() {
        for (sql, expected) in [
            ("INSERT INTO a SELECT * FROM users", "shop.a"),
            (
                "REPLACE INTO `percona`.`checksums` (db) SELECT 'shop', COUNT(*) FROM `shop`.`users`",
                "percona.checksums",
            ),
            ("INSERT LOW_PRIORITY IGNORE INTO .a TABLE users", "shop.a"),
            ("INSERT a (users) VALUES (1)", "shop.a"),
            (
                "INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE users = 2",
                "shop.a",
            ),
        ] {
            assert_eq!(named("shop", sql), [expected], "{sql}");
        }
        let Statement::Dml(dml) = Statement::read("shop", "INSERT INTO a VALUES (12, f(users))")
        else {
            panic!("an INSERT is DML");
        };
        assert_eq!(dml.names, ["INSERT", "INTO", "VALUES", "a", "f", "users"]);
    }

    #[test]
    fn a_statement_of_countless_names_is_about_any_table() {
        let values = |quote: &str| {
            let value = |n| format!("({quote}v{n}{quote})");
            let values: Vec<String> = (0..2_000).map(value).collect();
            format!("INSERT INTO a VALUES {}", values.join(","))
        };
        let named = Statement::read("shop", &values("'"));
        assert!(matches!(named, Statement::Dml(_)), "{named:?}");
        // Strings in double quotes can be names.
        assert_eq!(Statement::read("shop", &values("\"")), Statement::AnyRows);
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
