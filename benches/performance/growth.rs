//! Whether a change costs the same when there is more of everything.

use std::time::{Duration, Instant};

use evictd::binlog::events::event_type::{TABLE_MAP, UPDATE_ROWS, WRITE_ROWS};

use crate::daemon::{Daemon, single, users_rule};
use crate::drain::PREFIXES;
use crate::figure::{Figure, Table, Wanted};
use crate::reader::{Reader, events};
use crate::workload::{ROWS, Stretch, World, fill_keys};

const ROUNDS: usize = 3;

/// Changes that are read for each figure that needs no server.
const CHANGES: usize = 200_000;

const COLUMN_ROWS: u64 = 20_000;

/// How much more a change may cost: the cache of the processor is not part of the program.
const FLAT: f64 = 1.25;

const CHECKSUM_BYTES: usize = 4;

pub async fn measure(world: &mut World, table: &mut Table) {
    table.section("Growth: processor time a change");
    let many = world.many().await;
    changes(world, &many, table).await;
    let file = std::fs::read(world.mysql().data_dir().join(&many.file)).expect("it is there");
    let file = cut(&file, CHANGES);
    rules(&file, table);
    tables(&file, table);
    columns(world, table).await;
}

/// The same daemon after ten thousand, a hundred thousand and a million changes, and one after ten million: five
/// gigabytes of binlog.
async fn changes(world: &mut World, many: &Stretch, table: &mut Table) {
    let mut least = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        for (index, each) in until_each_end(world, many).await.into_iter().enumerate() {
            least[index] = least[index].min(each);
        }
    }
    let ten_times = world.ten_times_many().await;
    let ten_million = until_each_end(world, &ten_times).await;
    let [ten_thousand, hundred_thousand, million] = least;
    for (changes, each, before, each_before) in [
        ("100,000", hundred_thousand, "10,000", ten_thousand),
        ("1,000,000", million, "100,000", hundred_thousand),
        ("10,000,000", ten_million[0], "1,000,000", million),
    ] {
        let what = format!("the first {changes} changes");
        let of = format!("the first {before}");
        table.add(
            Figure::compared(what, each, "µs", &of, each_before).wanting(Wanted::AtMost(FLAT)),
        );
    }
}

async fn until_each_end(world: &World, stretch: &Stretch) -> Vec<f64> {
    fill_keys(world.redis(), &PREFIXES[..1], ROWS, &stretch.ends());
    let mut cache = world.redis().conn().await;
    let start = format!("{}:{}", stretch.file, stretch.offset);
    let rules = users_rule(&PREFIXES[..1]);
    let daemon = Daemon::start(world.mysql(), &single(world.redis()), &start, &rules).await;
    let mut each = Vec::new();
    for (end, rows) in stretch
        .marks
        .iter()
        .copied()
        .chain([(stretch.end, stretch.rows)])
    {
        each.push(daemon.reaches(&mut cache, end).await.each_us(rows));
    }
    each
}

fn rules(file: &[u8], table: &mut Table) {
    let of = |rules: usize| {
        let others: Vec<String> = (1..rules)
            .map(|n| {
                format!(
                    "[[rule]]\nname = \"other {n}\"\ntables = [\"bench.other_{n}\"]\nkeys = [\"other:{n}:{{id}}\"]\n"
                )
            })
            .collect();
        let text = users_rule(&PREFIXES[..1]) + &others.concat();
        each_us(&text, file, CHANGES)
    };
    let one = of(1);
    let what = "1,000 rules about 1,000 tables";
    table.add(Figure::compared(what, of(1_000), "µs", "1 rule", one).wanting(Wanted::AtMost(FLAT)));
}

/// Each transaction's rows are another table's, in turn.
fn tables(file: &[u8], table: &mut Table) {
    let text = users_rule(&PREFIXES[..1]).replace("bench.users", "bench.u*");
    let of = |tables: u32| each_us(&text, &spread(file, tables), CHANGES);
    let one = of(1);
    let what = "10,000 tables";
    table.add(
        Figure::compared(what, of(10_000), "µs", "1 table", one).wanting(Wanted::AtMost(FLAT)),
    );
}

/// Columns that no rule reads, each an INT.
async fn columns(world: &mut World, table: &mut Table) {
    let mut ten = None;
    for columns in [10_usize, 200] {
        let name = format!("columns_{columns}");
        let definitions: Vec<String> = (1..columns).map(|n| format!("c{n} INT NOT NULL")).collect();
        let zeros = vec!["7"; columns - 1].join(", ");
        let sql = format!(
            "CREATE TABLE bench.{name} (id BIGINT PRIMARY KEY, {}); \
             INSERT INTO bench.{name} SELECT id, {zeros} FROM bench.users WHERE id < {COLUMN_ROWS}",
            definitions.join(", ")
        );
        let stretch = world.stretch(&sql, COLUMN_ROWS).await;
        let file = world.mysql().data_dir().join(&stretch.file);
        let file = std::fs::read(file).expect("it is there");
        let rules = users_rule(&PREFIXES[..1]).replace("bench.users", &format!("bench.{name}"));
        let each = each_us(&rules, &file, COLUMN_ROWS as usize);
        let bytes = file.len() as f64 / COLUMN_ROWS as f64;
        match ten {
            None => ten = Some((each, bytes)),
            Some((ten, ten_bytes)) => {
                let what = format!("200 columns, {:.1} times the bytes", bytes / ten_bytes);
                let wanted = Wanted::AtMost(bytes / ten_bytes);
                table.add(Figure::compared(what, each, "µs", "10 columns", ten).wanting(wanted));
            }
        }
    }
}

/// Processor time for each change when these bytes are read in this process, in µs.
fn each_us(rules: &str, file: &[u8], changes: usize) -> f64 {
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut reader = Reader::new(rules);
        // A table is bound to its rules once.
        reader.read(file);
        let begun = Instant::now();
        reader.read(file);
        least = least.min(begun.elapsed());
        assert!(reader.keys() >= changes, "{} keys", reader.keys());
    }
    least.as_secs_f64() * 1e6 / changes as f64
}

/// The beginning of a file with so many changes, a thousand in each transaction.
fn cut(file: &[u8], changes: usize) -> Vec<u8> {
    let mut out = file[..4].to_vec();
    let mut commits = 0;
    for event in events(file) {
        out.extend_from_slice(event);
        // XID; two transactions are those of marks.
        commits += usize::from(event[4] == 16);
        if commits == changes / 1_000 + 2 {
            break;
        }
    }
    out
}

/// The same changes in so many tables of the same columns. Every event gets a table map of its own, as it has when
/// transactions are small.
fn spread(file: &[u8], tables: u32) -> Vec<u8> {
    let mut out = file[..4].to_vec();
    let mut table_map: Vec<u8> = Vec::new();
    let mut next = 0;
    for event in events(file) {
        match event[4] {
            TABLE_MAP => table_map = event.to_vec(),
            // Of a mark.
            WRITE_ROWS => out.extend([&table_map[..], event].concat()),
            UPDATE_ROWS => {
                let id = 1_000 + u64::from(next);
                out.extend(named(&table_map, id, next));
                out.extend(with_id(event.to_vec(), id));
                next = (next + 1) % tables;
            }
            _ => out.extend_from_slice(event),
        }
    }
    out
}

fn named(table_map: &[u8], id: u64, table: u32) -> Vec<u8> {
    let mut event = table_map.to_vec();
    let name = event.windows(5).position(|bytes| bytes == b"users");
    let name = name.expect("it is the map of that table");
    event[name..name + 5].copy_from_slice(format!("u{table:04}").as_bytes());
    with_id(event, id)
}

fn with_id(mut event: Vec<u8>, id: u64) -> Vec<u8> {
    event[19..25].copy_from_slice(&id.to_le_bytes()[..6]);
    let checked = event.len() - CHECKSUM_BYTES;
    let checksum = crc32fast::hash(&event[..checked]);
    event[checked..].copy_from_slice(&checksum.to_le_bytes());
    event
}
