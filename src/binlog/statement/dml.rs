//! Statements that were logged in place of the rows that they changed.

use super::tables::{identifiers, tables, with_lower_case};
use super::tokens::Token;
use crate::model::TableName;

/// A statement that changes rows, logged with `binlog_format = STATEMENT`.
/// Through a view, a trigger or a function it changes tables that it does not
/// name; whether it can, only the server's catalog knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dml {
    /// The tables that it changes. The list may hold tables that it only reads,
    /// and names that are not tables.
    pub targets: Vec<TableName>,
    /// Every name in it. Any of them may be the name of a function.
    pub names: Vec<String>,
    /// Its beginning, for people.
    pub text: String,
}

/// A statement with more names counts as one about any table.
const NAMES_MAX: usize = 1_000;

/// Characters of a statement that logs show.
const TEXT_CHARS: usize = 80;

/// The beginning of a statement, for people.
pub fn beginning(sql: &str) -> String {
    sql.chars().take(TEXT_CHARS).collect()
}

/// `None` for a statement of too many names.
pub(super) fn dml(schema: &str, sql: &str, tokens: &[Token]) -> Option<Dml> {
    let mut names: Vec<String> = identifiers(tokens).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if names.len() > NAMES_MAX {
        return None;
    }
    let target = insert_target(schema, tokens);
    Some(Dml {
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
        [first, Token::Mark('.'), second, ..] => {
            TableName::new(first.identifier()?, second.identifier()?)
        }
        [Token::Mark('.'), table, ..] | [table, ..] => TableName::new(schema, table.identifier()?),
        [] => return None,
    };
    Some(vec![table])
}
