//! Damaged events never panic, and never hide a change.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mysql_async::binlog::events::{
    BinlogEventFooter, FormatDescriptionEvent, TransactionPayloadEvent,
};
use mysql_async::binlog::{BinlogChecksumAlg, BinlogVersion};
use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::history::*;
use crate::binlog::decode::layout::TableLayout;
use crate::binlog::decode::row::RowDecoder;
use crate::binlog::events::event::{Event, EventFormat};
use crate::binlog::events::event_type::*;
use crate::binlog::reader::{Assembler, Interest, Item, Step};
use crate::model::TableName;

/// Wants everything in `shop`, and decodes it.
struct Decoded;

impl Interest for Decoded {
    type Table = (TableName, RowDecoder);

    fn wants(&self, table: &TableName) -> bool {
        Shop.wants(table)
    }

    fn bind(&self, layout: TableLayout) -> Result<Self::Table, String> {
        let name = Shop.bind(TableLayout::clone(&layout))?;
        let columns: Vec<usize> = (0..layout.schema.columns.len()).collect();
        Ok((name, RowDecoder::new(Arc::new(layout), &columns)))
    }
}

/// The result of some events.
#[derive(Debug, Default)]
struct Outcome {
    rows: Vec<String>,
    /// Tables with rows, or widened.
    tables: BTreeSet<String>,
    /// Something widened to everything.
    anything: bool,
    commits: usize,
}

impl Outcome {
    fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let mut assembler = Assembler::new(Decoded, position(4, Some("")));
        let mut outcome = Self::default();
        for event in events {
            outcome.step(&mut assembler, event);
        }
        outcome
    }

    fn step(&mut self, assembler: &mut Assembler<Decoded>, event: Event) {
        match assembler.feed(event) {
            Step::Quiet => {}
            Step::Item(Item::Commit) => self.commits += 1,
            Step::Item(Item::TablesChanged(tables)) => {
                self.tables.extend(tables.iter().map(ToString::to_string));
            }
            Step::Item(Item::Statement(dml)) => {
                self.tables
                    .extend(dml.targets.iter().map(ToString::to_string));
            }
            Step::Item(Item::AnyChanged(_) | Item::DatabaseDropped(_)) => self.anything = true,
            Step::Item(Item::Undecodable(table, _)) => {
                self.tables.insert(table.to_string());
            }
            Step::Item(Item::Rows(table, payload)) => {
                let (name, decoder) = &*table;
                self.tables.insert(name.to_string());
                let Ok(mut rows) = payload.parse().and_then(|event| decoder.rows(event)) else {
                    return;
                };
                while let Ok(Some(row)) = rows.next_row() {
                    self.rows.push(format!("{row:?}"));
                }
            }
            Step::NeedsCatalog(table, event) => {
                assembler.learn(table, Some(id_column()));
                self.step(assembler, event);
            }
        }
    }
}

/// Events of every kind, as type and body.
fn history() -> Vec<(u8, Vec<u8>)> {
    let rows = |id, name, kind: u8, value| {
        let mut body = insert(id, value);
        if kind == 31 {
            // Both images' columns, and both images.
            body.insert(11, 1);
            body.extend(&[&[0][..], &(value + 1).to_le_bytes()].concat());
        }
        vec![(TABLE_MAP, table_map(id, "shop", name)), (kind, body)]
    };
    let begin = |number| vec![(GTID, gtid(number)), (QUERY, query("shop", "BEGIN"))];
    let by_itself = |number, sql| vec![(GTID, gtid(number)), (QUERY, query("shop", sql))];
    let end = vec![(XID, vec![9, 0, 0, 0, 0, 0, 0, 0])];
    let xa = |sql| vec![(QUERY, query("", sql))];
    [
        begin(1),
        rows(USERS, "users", 30, 7),
        rows(USERS, "users", 31, 8),
        rows(USERS + 1, "orders", 32, 9),
        end.clone(),
        by_itself(2, "TRUNCATE logs"),
        by_itself(3, "ALTER TABLE users ADD c INT"),
        vec![(GTID, gtid(4))],
        xa("XA START X'61',X'',1"),
        rows(USERS + 2, "prepared", 30, 1),
        xa("XA END X'61',X'',1"),
        vec![(XA_PREPARE, xa_prepare(false))],
        begin(5),
        rows(USERS, "broken", 30, 2),
        vec![(QUERY, query("shop", "SAVEPOINT `s`"))],
        end.clone(),
        by_itself(6, "XA COMMIT X'61',X'',1"),
        vec![(ROTATE, rotate("bin.000002", 4))],
        begin(7),
        rows(USERS + 9, "last", 30, 3),
        end,
    ]
    .concat()
}

/// An event with a checksum, whose body was damaged after that was computed.
fn checked(event_type: u8, log_pos: u32, body: &[u8], damaged: &[u8]) -> Event {
    let bytes = |body: &[u8]| {
        let mut bytes = 1_700_000_000_u32.to_le_bytes().to_vec();
        bytes.push(event_type);
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(u32::try_from(19 + body.len() + 4).unwrap().to_le_bytes());
        bytes.extend(log_pos.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(body);
        bytes
    };
    let checksum = crc32fast::hash(&bytes(body));
    let mut sent = bytes(damaged);
    sent.extend(checksum.to_le_bytes());
    let footer = BinlogEventFooter::new(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
    let format = FormatDescriptionEvent::new(BinlogVersion::Version4).with_footer(footer);
    Event::read(&format.into(), sent.into()).unwrap()
}

/// The history with its `hit`th event damaged.
fn damaged(hit: usize, damage: &Damage, checksums: bool) -> Vec<Event> {
    let (mut out, mut offset) = (Vec::new(), 4);
    for (index, (event_type, body)) in history().into_iter().enumerate() {
        offset += 200;
        let sent = if index == hit {
            damage.apply(&body)
        } else {
            body.clone()
        };
        out.push(if checksums {
            checked(event_type, offset, &body, &sent)
        } else {
            event(event_type, 0, offset, &sent)
        });
    }
    out
}

/// The damage to an event's body.
#[derive(Clone, Debug)]
enum Damage {
    /// Bytes here and there become others.
    Flip(Vec<(prop::sample::Index, u8)>),
    Cut(prop::sample::Index),
    Extend(Vec<u8>),
}

impl Damage {
    fn apply(&self, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        match self {
            Damage::Flip(flips) => {
                for (index, bits) in flips {
                    let at = index.index(body.len());
                    body[at] ^= bits;
                }
            }
            Damage::Cut(index) => body.truncate(index.index(body.len())),
            Damage::Extend(more) => body.extend(more),
        }
        body
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let flip = (any::<prop::sample::Index>(), 1_u8..);
    prop_oneof![
        3 => prop::collection::vec(flip, 1..4).prop_map(Damage::Flip),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Damage::Extend),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// With checksums, nothing is lost but what something widened covers.
    #[test]
    fn a_damaged_event_with_a_checksum_widens(hit in 0..history().len(), damage in damage()) {
        let whole = Outcome::of(damaged(usize::MAX, &damage, true));
        let outcome = Outcome::of(damaged(hit, &damage, true));
        let (_, body) = &history()[hit];
        if damage.apply(body) == *body {
            prop_assert_eq!(outcome.rows, whole.rows);
        } else {
            prop_assert!(outcome.anything, "{:?}", outcome);
        }
    }

    /// Without, a value or a name can turn into another unnoticed; nothing panics, and what follows is read.
    #[test]
    fn a_damaged_event_without_a_checksum_leaves_the_others(hit in 0..history().len(), damage in damage()) {
        let outcome = Outcome::of(damaged(hit, &damage, false));
        if hit < history().len() - 5 {
            prop_assert!(outcome.anything || outcome.tables.contains("shop.last"), "{:?}", outcome);
        }
    }

    /// Rows that end too early are no rows that are missing.
    #[test]
    fn a_cut_row_is_an_error(cut in 1_usize..4) {
        let mut body = insert(USERS, 7);
        body.truncate(body.len() - cut);
        let events = [(TABLE_MAP, table_map(USERS, "shop", "users")), (WRITE_ROWS, body)];
        let outcome = Outcome::of(events.map(|(kind, body)| event(kind, 0, 200, &body)));
        prop_assert!(outcome.rows.is_empty());
        prop_assert!(outcome.tables.contains("shop.users"), "its consumer widens to the table");
    }
}

#[test]
fn an_undamaged_history_is_read_whole() {
    for checksums in [false, true] {
        let outcome = Outcome::of(damaged(usize::MAX, &Damage::Extend(Vec::new()), checksums));
        assert!(!outcome.anything, "{outcome:?}");
        // TRUNCATE, XA COMMIT and the ALTER of a table without names in the
        // binlog come as items of their own.
        assert_eq!((outcome.rows.len(), outcome.commits), (5, 4), "{outcome:?}");
        for table in ["users", "orders", "logs", "prepared", "broken", "last"] {
            assert!(
                outcome.tables.contains(&format!("shop.{table}")),
                "{table}: {outcome:?}"
            );
        }
    }
}

/// Aurora's own events stand where MySQL has none.
#[test]
fn events_of_aurora_stand_between_others_unnoticed() {
    let mut events = Vec::new();
    for (event_type, body) in history() {
        events.push(event(event_type, 0, 200, &body));
        for aurora in [100, 101] {
            events.push(event(aurora, 0, 200, &[0xff; 30]));
        }
    }
    let outcome = Outcome::of(events);
    assert!(!outcome.anything, "{outcome:?}");
    assert_eq!(outcome.commits, 4);
}

/// A binlog file's events, those in compressed transactions too.
fn events_of(file: &mut impl Read) -> Vec<Event> {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).unwrap();
    assert_eq!(&magic, b"\xfebin");
    let mut left = Vec::new();
    file.read_to_end(&mut left).unwrap();
    let mut left = Bytes::from(left);
    let mut format = EventFormat::new(FormatDescriptionEvent::new(BinlogVersion::Version4));
    let mut events = Vec::new();
    while let Some(bytes) = cut(&mut left) {
        let event = Event::read(&format, bytes).unwrap();
        if event.header().event_type_raw() == FORMAT_DESCRIPTION {
            let described: FormatDescriptionEvent<'_> = event.read_event().unwrap();
            format = described.into_owned().with_footer(event.footer()).into();
        }
        let unpacked = (event.header().event_type_raw() == TRANSACTION_PAYLOAD).then(|| {
            let payload: TransactionPayloadEvent<'_> = event.read_event().unwrap();
            let mut bytes = Vec::new();
            payload
                .decompressed()
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        });
        events.push(event);
        let mut footer = format.footer();
        footer.set_checksum_enabled(false);
        let inside = format.as_ref().clone().with_footer(footer).into();
        let mut unpacked = Bytes::from(unpacked.unwrap_or_default());
        while let Some(bytes) = cut(&mut unpacked) {
            events.push(Event::read(&inside, bytes).unwrap());
        }
    }
    events
}

/// The first event of these bytes.
fn cut(bytes: &mut Bytes) -> Option<Bytes> {
    let size = bytes.get(9..)?.first_chunk::<4>()?;
    Some(bytes.split_to(usize::try_from(u32::from_le_bytes(*size)).unwrap()))
}

/// Files that real servers wrote, where they are at hand: events, commits, and whether anything widened.
#[test]
fn binlog_files_of_real_servers_are_read_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/binlogs");
    for (file, expected) in [
        ("mysql-bin.aurora-padding", (5, 0, false)),
        ("mysql-bin.checksum-crc32", (303, 60, false)),
        ("mysql-bin.checksum-none", (191, 40, false)),
        ("mysql-bin.compressed", (9, 1, false)),
    ] {
        let Ok(opened) = File::open(folder.join(file)) else {
            continue;
        };
        let events = events_of(&mut BufReader::new(opened));
        let read = events.len();
        let outcome = Outcome::of(events);
        assert_eq!(
            (read, outcome.commits, outcome.anything),
            expected,
            "{file}"
        );
    }
}
