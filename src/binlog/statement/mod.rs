//! The meaning of a QUERY event's statement to a reader of rows.
//!
//! Transactions are delimited by statements, and some statements change rows
//! without row events. Which tables those touch is over-approximated: every
//! identifier counts as a table (Over, never under), as it is written and in
//! lower case: with `lower_case_table_names=1` row events carry lower-case
//! names, and statements the names that were typed. Only where a statement's form
//! is known is a table told from other names: in TRUNCATE, DROP, RENAME and ALTER
//! TABLE; and in INSERT and REPLACE the table that they write to from those that
//! they read, since checksumming tools write statements that read every table.
//! Whatever is not known to leave rows alone may change them.
//!
//! - `effect`: the effect of a statement.
//! - `alter`: the clauses of ALTER TABLE that leave rows as they are.
//! - `dml`: statements that were logged in place of the rows that they changed.
//! - `tables`: the tables that a statement may be about.
//! - `tokens`: a statement's words, names and punctuation, in every way that the
//!   server may have read it.
//! - `tests`: statements of every kind, and the tables that they name.

mod alter;
mod dml;
mod effect;
mod tables;
#[cfg(test)]
mod tests;
mod tokens;

pub use dml::{Dml, beginning};
pub use effect::Statement;
