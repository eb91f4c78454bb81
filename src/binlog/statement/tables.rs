//! The tables that a statement may be about.

use super::tokens::Token;
use crate::model::TableName;

/// The words that may be names: not a number, and no longer than names are (MySQL
/// manual, "Identifier Length Limits").
pub(super) fn identifiers(tokens: &[Token]) -> impl Iterator<Item = &str> {
    let is_number = |token: &Token| match token {
        Token::Word(word) => word.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    tokens
        .iter()
        .filter(move |token| !is_number(token))
        .filter_map(Token::identifier)
        .filter(|name| name.chars().count() <= 64)
}

/// Every identifier as a table of the default database, and every `a.b`.
pub(super) fn tables(schema: &str, tokens: &[Token]) -> Vec<TableName> {
    let mut out: Vec<TableName> = Vec::new();
    for window in tokens.windows(3) {
        if let [first, Token::Mark('.'), last] = window
            && let (Some(schema), Some(table)) = (first.identifier(), last.identifier())
        {
            out.push(TableName::new(schema, table));
        }
    }
    out.extend(identifiers(tokens).map(|table| TableName::new(schema, table)));
    with_lower_case(out)
}

/// The same names, and all of them in lower case too.
pub(super) fn with_lower_case(mut names: Vec<TableName>) -> Vec<TableName> {
    let lower =
        |name: &TableName| TableName::new(name.schema.to_lowercase(), name.table.to_lowercase());
    let lowered: Vec<TableName> = names.iter().map(lower).collect();
    names.extend(lowered);
    names.sort();
    names.dedup();
    names
}
