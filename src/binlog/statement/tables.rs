//! The tables that a statement may be about.

use super::tokens::{Token, split};
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

/// The tables of a statement that copies no rows. Where it has the form of TRUNCATE,
/// DROP TABLE, RENAME TABLE, CREATE TABLE, or an ALTER TABLE that reaches no other
/// table, these are the ones that it is about; otherwise all that it may name.
pub(super) fn changed(schema: &str, tokens: &[Token]) -> Vec<TableName> {
    let exact = listed(tokens).and_then(|names| {
        let names = names.into_iter().map(|name| table(schema, name));
        names.collect::<Option<Vec<TableName>>>()
    });
    exact.map_or_else(|| tables(schema, tokens), with_lower_case)
}

/// The tables' names, if every part of the statement is known.
fn listed(tokens: &[Token]) -> Option<Vec<&[Token]>> {
    let (first, rest) = tokens.split_first()?;
    let behind_table = match rest {
        [table, rest @ ..] if table.is("TABLE") || table.is("TABLES") => Some(rest),
        _ => None,
    };
    if first.is("TRUNCATE") {
        return Some(vec![behind_table.unwrap_or(rest)]);
    }
    let rest = behind_table?;
    if first.is("DROP") {
        let rest = match rest {
            [r#if, exists, rest @ ..] if r#if.is("IF") && exists.is("EXISTS") => rest,
            rest => rest,
        };
        let names = match rest {
            [names @ .., last] if last.is("RESTRICT") || last.is("CASCADE") => names,
            names => names,
        };
        return Some(split(names).collect());
    }
    if first.is("RENAME") {
        let pairs = split(rest).flat_map(|pair| pair.split(|token| token.is("TO")));
        return Some(pairs.collect());
    }
    let rest = match rest {
        [r#if, not, exists, rest @ ..] if r#if.is("IF") && not.is("NOT") && exists.is("EXISTS") => {
            rest
        }
        rest => rest,
    };
    let (name, behind) = match rest {
        [_, Token::Mark('.'), ..] => rest.split_at_checked(3)?,
        [Token::Mark('.'), ..] => rest.split_at_checked(2)?,
        _ => rest.split_at_checked(1)?,
    };
    let is_exact = (first.is("ALTER") && split(behind).all(is_of_one_table))
        || (first.is("CREATE") && behind.first() == Some(&Token::Mark('(')));
    is_exact.then(|| vec![name])
}

/// Whether a clause of ALTER TABLE changes no other table, whatever it names.
fn is_of_one_table(clause: &[Token]) -> bool {
    const CLAUSES: [&str; 6] = ["ADD", "ALTER", "CHANGE", "CONVERT", "DROP", "MODIFY"];
    match clause {
        [rename, of, ..] if rename.is("RENAME") => {
            ["COLUMN", "INDEX", "KEY"].iter().any(|word| of.is(word))
        }
        [first, ..] => CLAUSES.iter().any(|word| first.is(word)),
        [] => false,
    }
}

fn table(schema: &str, name: &[Token]) -> Option<TableName> {
    let (schema, table) = match name {
        [table] | [Token::Mark('.'), table] => (schema, table),
        [schema, Token::Mark('.'), table] => (schema.identifier()?, table),
        _ => return None,
    };
    Some(TableName::new(schema, table.identifier()?))
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
