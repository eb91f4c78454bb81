//! Statements in the binlog. They delimit transactions, and some change rows or
//! columns themselves.

use mysql_async::binlog::StatusVarKey;
use mysql_async::binlog::events::{QueryEvent, StatusVarVal};

use super::assembler::Assembler;
use super::commit::header_time;
use super::interest::Interest;
use super::item::{Item, Step, Unknowable};
use super::transaction::{Touched, Xa};
use crate::binlog::decode::value::charset::Charset;
use crate::binlog::events::event::Event;
use crate::binlog::statement::{Statement, beginning};

impl<I: Interest> Assembler<I> {
    /// Follows a statement.
    pub(super) fn query(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let query: QueryEvent<'_> = event.read_event()?;
        if !self.transaction.open {
            self.transaction.committed_at = Some(header_time(event));
        }
        let changed = match effect(&query) {
            Statement::Begin => {
                self.transaction.open = true;
                self.transaction.begun = true;
                return Ok(Step::Quiet);
            }
            Statement::XaBegin(xid) => {
                self.transaction.open = true;
                self.transaction.begun = true;
                self.transaction.xa = Some(Xa::new(xid));
                return Ok(Step::Quiet);
            }
            Statement::LayoutThenRows => {
                self.forget_layouts();
                self.transaction.open = true;
                self.transaction.begun = true;
                return Ok(Step::Quiet);
            }
            Statement::Within => return Ok(Step::Quiet),
            Statement::XaPrepare => return Ok(self.end()),
            Statement::End => {
                self.transaction.xa = None;
                return Ok(self.end());
            }
            Statement::XaCommit(xid) => {
                self.transaction.xa = None;
                let ended = self.end();
                return Ok(match self.prepared.remove(&xid) {
                    Touched::These(tables) if tables.is_empty() => ended,
                    Touched::These(tables) => {
                        Step::Item(Item::TablesChanged(tables.into_iter().collect()))
                    }
                    Touched::Any => Step::Item(any_rows(&query)),
                });
            }
            Statement::XaRollback(xid) => {
                self.transaction.xa = None;
                self.prepared.remove(&xid);
                return Ok(self.end());
            }
            Statement::Harmless => None,
            Statement::Layout { tables, added } => {
                let changed = self.changed_with_columns(tables, &added);
                self.forget_layouts();
                (!changed.is_empty()).then_some(Item::TablesChanged(changed))
            }
            Statement::DropDatabase(name) => {
                self.forget_layouts();
                Some(Item::DatabaseDropped(name))
            }
            Statement::Rows(tables) => {
                self.forget_layouts();
                Some(Item::TablesChanged(tables))
            }
            Statement::Dml(dml) => Some(Item::Statement(dml)),
            Statement::AnyRows => {
                self.forget_layouts();
                Some(any_rows(&query))
            }
        };
        if self.transaction.begun {
            return Ok(changed.map_or(Step::Quiet, Step::Item));
        }
        // A statement by itself is a transaction by itself.
        let ended = self.end();
        Ok(changed.map_or(ended, Step::Item))
    }
}

/// The effect of a statement. Its bytes are in the character set of the client,
/// or, where the server put it together, in UTF-8.
fn effect(query: &QueryEvent<'_>) -> Statement {
    let bytes = query.query_raw();
    // As the server writes it before every transaction.
    if bytes == b"BEGIN" {
        return Statement::Begin;
    }
    let schema = query.schema();
    let read = |sql: &str| Statement::read(&schema, sql);
    let utf8 = std::str::from_utf8(bytes).ok();
    if let Some(ascii) = utf8.filter(|sql| sql.is_ascii()) {
        return read(ascii);
    }
    let charset = client_charset(query);
    let sent = charset.as_ref().and_then(|charset| charset.text(bytes));
    match (sent, utf8) {
        (Some(sent), Some(utf8)) if sent != utf8 => read(&sent).or(read(utf8)),
        (Some(sent), _) => read(&sent),
        // Keywords are ASCII in every character set; names need not be.
        (None, _) => match read(&query.query()) {
            Statement::Harmless
            | Statement::Layout { .. }
            | Statement::Rows(_)
            | Statement::DropDatabase(_)
            | Statement::Dml(_)
            | Statement::AnyRows => Statement::AnyRows,
            boundary => boundary,
        },
    }
}

/// The character set that a statement was sent in; `None` if it is not known.
fn client_charset(query: &QueryEvent<'_>) -> Option<Charset> {
    let Some(charset) = query.status_vars().get_status_var(StatusVarKey::Charset) else {
        return Some(Charset::Utf8);
    };
    let Ok(StatusVarVal::Charset { charset_client, .. }) = charset.get_value() else {
        return None;
    };
    match Charset::of_collation(charset_client.into()) {
        // Names sent as `binary` are not converted, and have to be UTF-8.
        Some(Charset::Binary) => Some(Charset::Utf8),
        charset => charset,
    }
}

fn any_rows<T>(query: &QueryEvent<'_>) -> Item<T> {
    Item::AnyChanged(Unknowable::Statement(beginning(&query.query())))
}
