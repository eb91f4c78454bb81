//! Changes that are not known row by row: what was invalidated instead is
//! logged, and what could not be decoded is put on record.

use std::time::Duration;

use tokio::time::Instant;

use super::plan_item::{RuleInterest, Widened, widening};
use crate::binlog::statement::Dml;
use crate::binlog::stream::Source;
use crate::ledger::{BinlogPlace, DeadLetter, Ledger};
use crate::model::TableName;
use crate::model::invalidation::Widening;
use crate::rules::Rules;
use crate::telemetry::repeating;

/// Shortest time between two dead letters of one table's undecodable rows, so
/// that a table full of them is not put on record once for every event.
const UNDECODABLE_INTERVAL: Duration = Duration::from_secs(60);

/// Remembers which undecodable rows are on record.
#[derive(Debug, Default)]
pub(super) struct WideningLog {
    /// Table and reason of the newest dead letter, and when it was written.
    undecodable: Option<(TableName, String, Instant)>,
}

/// Logs that a statement changed `table` without row events.
pub(super) fn table_changed(table: &TableName, source: &Source<RuleInterest>) {
    repeating!(info, &table.to_string(), { %table, position = %source.reading_at() },
        "a statement changed rows without row events: invalidating the whole table");
}

/// Logs that a statement can have changed any table, for `reason`.
pub(super) fn any_changed(dml: &Dml, reason: &str, source: &Source<RuleInterest>) {
    repeating!(warn, reason, { statement = dml.text, reason, position = %source.reading_at() },
        "a statement without row events can have changed any table: invalidating everything that any rule covers");
}

impl WideningLog {
    /// Logs what an item of the binlog was widened to, and puts what could not
    /// be decoded on record.
    pub(super) fn report(
        &mut self,
        widened: Widened,
        source: &Source<RuleInterest>,
        rules: &Rules,
        ledger: &Ledger,
    ) {
        let position = source.reading_at();
        match widened {
            Widened::Tables(tables) => {
                for table in tables {
                    table_changed(&table, source);
                }
            }
            Widened::Databases(databases) => {
                for database in databases {
                    repeating!(info, &database, { database, position },
                        "a database was dropped: invalidating everything that the rules about its tables cover");
                }
            }
            Widened::Undecodable(table, reason) => {
                repeating!(error, &table.to_string(), { %table, reason, position },
                    "rows cannot be decoded: invalidating the whole table");
                let remedy = "the whole table was invalidated instead; compare its columns with the rule's, and report what cannot be decoded with this line";
                if let Some(letter) = self.undecodable(table, &reason, remedy, rules) {
                    record(letter, source, ledger);
                }
            }
            Widened::Value(table, reason) => {
                repeating!(error, &table.to_string(), { %table, reason, position },
                    "a value cannot be decoded: invalidating everything that can be made of its column");
                let remedy = "everything that can be made of the column was invalidated instead; convert the column to utf8mb4";
                if let Some(letter) = self.undecodable(table, &reason, remedy, rules) {
                    record(letter, source, ledger);
                }
            }
            Widened::Any(reason) => {
                repeating!(warn, widening(&reason).as_str(), { %reason, position },
                    "it cannot be known what changed: invalidating everything that any rule covers");
                if widening(&reason) == Widening::Undecodable {
                    let letter = DeadLetter::new(
                        Widening::Undecodable.as_str(),
                        reason.to_string(),
                        "everything that any rule covers was invalidated instead; read the event with mysqlbinlog --hexdump and report it with this line",
                    );
                    record(letter, source, ledger);
                }
            }
            Widened::Statement(dml) => {
                repeating!(warn, "", { statement = dml.text, position },
                    "a statement without row events can have changed any table: invalidating everything that any rule covers");
            }
        }
    }

    /// The dead letter of what could not be decoded, unless there was one lately.
    fn undecodable(
        &mut self,
        table: TableName,
        reason: &str,
        remedy: &str,
        rules: &Rules,
    ) -> Option<DeadLetter> {
        if !self.is_new(&table, reason) {
            return None;
        }
        let mut letter = DeadLetter::new(Widening::Undecodable.as_str(), reason, remedy);
        letter.table = Some(table.to_string());
        letter.rules = rules.names_of_table(&table);
        self.undecodable = Some((table, reason.to_owned(), Instant::now()));
        Some(letter)
    }

    fn is_new(&self, table: &TableName, reason: &str) -> bool {
        self.undecodable
            .as_ref()
            .is_none_or(|(last_table, last_reason, at)| {
                last_table != table || last_reason != reason || at.elapsed() >= UNDECODABLE_INTERVAL
            })
    }
}

/// Puts `letter` on record, with the place that is being read.
fn record(mut letter: DeadLetter, source: &Source<RuleInterest>, ledger: &Ledger) {
    let (file, offset) = source.reading();
    letter.position = Some(BinlogPlace {
        file: file.to_owned(),
        offset,
        gtid: source.gtid().map(ToString::to_string),
    });
    ledger.dead_letter(letter);
}
