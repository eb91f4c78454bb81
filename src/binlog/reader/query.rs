//! Statements in the binlog. They delimit transactions, and some change rows or
//! columns themselves.

use mysql_async::binlog::StatusVarKey;
use mysql_async::binlog::events::{QueryEvent, StatusVarVal};

use super::assembler::Assembler;
use super::commit::header_time;
use super::interest::Interest;
use super::item::{Item, Step, Unknowable};
use super::transaction::{Touched, Xa};
use crate::binlog::events::event::Event;
use crate::binlog::statement::{Statement, beginning, tables_named};

impl<I: Interest> Assembler<I> {
    /// Follows a statement.
    pub(super) fn query(&mut self, event: &Event) -> Result<Step<I::Table>, String> {
        let query: QueryEvent<'_> = event.read_event()?;
        if !self.transaction.open {
            self.transaction.committed_at = Some(header_time(event));
        }
        let sql = query.query();
        let statement = match Statement::read(&query.schema(), &sql) {
            // Keywords are ASCII in every character set; names need not be.
            Statement::Layout | Statement::Rows(_) | Statement::Dml(_) if !is_utf8(&query) => {
                Statement::AnyRows
            }
            statement => statement,
        };
        let changed = match statement {
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
                    Touched::Any => Step::Item(any_rows(&sql)),
                });
            }
            Statement::XaRollback(xid) => {
                self.transaction.xa = None;
                self.prepared.remove(&xid);
                return Ok(self.end());
            }
            Statement::Harmless => None,
            Statement::Layout => {
                let guessed = self.guessed(&tables_named(&query.schema(), &sql));
                self.forget_layouts();
                (!guessed.is_empty()).then_some(Item::TablesChanged(guessed))
            }
            Statement::Rows(tables) => {
                self.forget_layouts();
                Some(Item::TablesChanged(tables))
            }
            Statement::Dml(dml) => Some(Item::Statement(dml)),
            Statement::AnyRows => {
                self.forget_layouts();
                Some(any_rows(&sql))
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

/// Whether a statement's bytes are UTF-8, which the client's character set
/// says; they are logged as the client sent them.
fn is_utf8(query: &QueryEvent<'_>) -> bool {
    let sql = query.query_raw();
    let charset = query.status_vars().get_status_var(StatusVarKey::Charset);
    let foreign = charset.is_some_and(|charset| match charset.get_value() {
        Ok(StatusVarVal::Charset { charset_client, .. }) => !utf8_collation(charset_client),
        _ => true,
    });
    sql.is_ascii() || (!foreign && std::str::from_utf8(sql).is_ok())
}

/// Whether a collation's id is one of `utf8mb3` or `utf8mb4`
/// (`information_schema.collations`).
fn utf8_collation(id: u16) -> bool {
    matches!(id, 33 | 45 | 46 | 76 | 83 | 192..=247 | 255..=323)
}

fn any_rows<T>(sql: &str) -> Item<T> {
    Item::AnyChanged(Unknowable::Statement(beginning(sql)))
}
