//! The row decoder against what a real server prints and other decoders read.

mod case;
mod column;
mod corpus;
mod damage;
mod others;
mod properties;

use std::collections::BTreeMap;
use std::sync::Arc;

use evictd::binlog::decode::layout::{CatalogColumn, TableLayout};
use evictd::binlog::decode::row::RowDecoder;
use evictd::binlog::decode::rows::{self, RowsEvent};
use evictd::binlog::decode::table_map::TableMap;
use evictd::binlog::events::event_type::{self, TABLE_MAP};
use evictd::model::{Op, Value};
use futures_util::StreamExt as _;
use mysql_async::binlog::events::{Event, EventData, TableMapEvent};
use mysql_async::prelude::Queryable as _;
use mysql_async::{BinlogStreamRequest, Conn, Opts};
use others::{Column, Compared, Decoder, Field, MysqlCdc};

/// A row as text, NULL as `None`, and BIT as its number.
type Printed = Vec<Option<Vec<u8>>>;

const DATABASE: &str = "evictd_decoder";

/// How many values of each type mysql_common and mysql_cdc have to be held
/// against, at least: the corpus has them, in four images each.
const LEAST: [(&str, usize, usize); 32] = [
    ("bigint", 120, 120),
    ("binary", 140, 17),
    ("bit", 140, 140),
    ("blob", 40, 40),
    ("char", 320, 160),
    ("date", 20, 20),
    ("datetime", 400, 400),
    ("decimal", 720, 720),
    ("double", 5200, 5200),
    ("enum", 60, 40),
    ("float", 3000, 3000),
    ("geometry", 12, 12),
    ("int", 130, 130),
    ("json", 160, 160),
    ("longblob", 40, 40),
    ("longtext", 50, 50),
    ("mediumblob", 40, 40),
    ("mediumint", 110, 110),
    ("mediumtext", 40, 40),
    ("point", 4, 4),
    ("set", 190, 180),
    ("smallint", 110, 110),
    ("text", 100, 100),
    ("time", 360, 50),
    ("timestamp", 400, 400),
    ("tinyblob", 40, 40),
    ("tinyint", 120, 120),
    ("tinytext", 40, 40),
    ("varbinary", 80, 10),
    ("varchar", 480, 300),
    ("vector", 8, 0),
    ("year", 10, 10),
];

/// Inserts, updates and deletes a row for every value of the corpus, with both
/// kinds of metadata, and decodes what the binlog says of it.
pub async fn every_type_renders_as_select_prints(url: &str) {
    for metadata in ["FULL", "MINIMAL"] {
        let mut session = Session::open(url).await;
        session.set_metadata(metadata).await;
        let mut tables = Vec::new();
        for (index, sample) in corpus::samples().into_iter().enumerate() {
            let name = format!("t{index}");
            session
                .run(&format!(
                    "CREATE TABLE {name} (id INT PRIMARY KEY, v {}, tail VARCHAR(9))",
                    sample.column_type
                ))
                .await;
            tables.push((name, sample));
        }
        let start = session.position().await;
        let mut expected = BTreeMap::new();
        for (name, sample) in &tables {
            // Each in an event of its own: a value that another decoder cannot
            // read hides no other from it.
            session.run("BEGIN").await;
            for (id, value) in sample.values.iter().enumerate() {
                session
                    .run(&format!("INSERT INTO {name} VALUES ({id}, {value}, 'end')"))
                    .await;
            }
            session.run("COMMIT").await;
            expected.insert(name.clone(), session.printed(name, "*").await);
            session.run(&format!("UPDATE {name} SET tail = NULL")).await;
            session.run(&format!("DELETE FROM {name}")).await;
        }
        let events = session.events(start).await;
        let with_catalog = session.catalogs().await;
        let mut compared = Compared::default();
        let mut least: BTreeMap<(Decoder, String), usize> = BTreeMap::new();
        for (name, sample) in &tables {
            let catalog = &with_catalog[name];
            let columns: Vec<Column> = catalog.iter().map(column::column).collect();
            let mut others = Some((columns.as_slice(), &mut compared));
            let rows = decode(&events, name, Some(catalog), &mut others);
            check(sample.column_type, &expected[name], &rows);
            let needs_catalog = ["ZEROFILL", "FLOAT(", "DOUBLE("]
                .iter()
                .any(|word| sample.column_type.contains(word));
            if metadata == "FULL" && !needs_catalog {
                let rows = decode(&events, name, None, &mut None);
                check(sample.column_type, &expected[name], &rows);
            }
            for decoder in [Decoder::MysqlCommon, Decoder::MysqlCdc] {
                if decoder == Decoder::MysqlCdc && others::refuses_map(&columns, metadata == "FULL")
                {
                    continue;
                }
                let values = expected[name].iter().filter_map(|row| row[1].as_deref());
                let readable = values.filter(|text| !others::refuses(decoder, &columns[1], text));
                let key = (decoder, columns[1].label.clone());
                *least.entry(key).or_default() += readable.count();
            }
        }
        for (key, least) in least {
            let count = compared.0.get(&key).copied().unwrap_or(0);
            assert!(count >= least, "{key:?}: {count} compared of {least}");
        }
        for (type_name, common, cdc) in LEAST {
            let of_type = |label: &str| {
                let value_of = label.strip_prefix("v ").unwrap_or_default();
                value_of.split([' ', '(']).next() == Some(type_name)
            };
            for (decoder, least) in [(Decoder::MysqlCommon, common), (Decoder::MysqlCdc, cdc)] {
                let count = count(&compared, decoder, of_type);
                assert!(count >= least, "{decoder:?}, {type_name}: {count} compared");
            }
        }
        println!(
            "binlog_row_metadata={metadata}: {} values as mysql_common, {} as mysql_cdc reads them",
            count(&compared, Decoder::MysqlCommon, |_| true),
            count(&compared, Decoder::MysqlCdc, |_| true)
        );
        session.close().await;
    }
}

/// All types in one table, so that every column stands behind others; and the
/// images of MINIMAL and NOBLOB, which leave columns out.
pub async fn images_of_every_completeness_render_as_select_prints(url: &str) {
    let mut session = Session::open(url).await;
    let samples = corpus::samples();
    for metadata in ["FULL", "MINIMAL"] {
        session.set_metadata(metadata).await;
        for image in ["FULL", "NOBLOB", "MINIMAL"] {
            session.run("DROP TABLE IF EXISTS wide").await;
            // VARCHARs of 16,000 characters do not fit one row together.
            let chosen: Vec<_> = samples
                .iter()
                .filter(|sample| !sample.column_type.contains("(16000)"))
                .collect();
            let columns: Vec<String> = chosen
                .iter()
                .enumerate()
                .map(|(index, sample)| format!("c{index} {}", sample.column_type))
                .collect();
            session
                .run(&format!(
                    "CREATE TABLE wide (id INT PRIMARY KEY, {}, tail INT)",
                    columns.join(", ")
                ))
                .await;
            session
                .run(&format!("SET binlog_row_image = {image}"))
                .await;
            let start = session.position().await;
            for id in 0..40 {
                let values: Vec<&str> = chosen
                    .iter()
                    .map(|sample| sample.values[id * 7 % sample.values.len()].as_str())
                    .collect();
                session
                    .run(&format!(
                        "INSERT INTO wide VALUES ({id}, {}, 1)",
                        values.join(",")
                    ))
                    .await;
            }
            let expected = session.printed("wide", "*").await;
            session.run("UPDATE wide SET tail = 2").await;
            session.run("DELETE FROM wide").await;
            let events = session.events(start).await;
            let catalog = session.catalogs().await;
            let columns: Vec<Column> = catalog["wide"].iter().map(column::column).collect();
            let mut compared = Compared::default();
            let mut others = Some((columns.as_slice(), &mut compared));
            let rows = decode(&events, "wide", Some(&catalog["wide"]), &mut others);
            let count = count(&compared, Decoder::MysqlCommon, |_| true);
            assert!(count >= 2000, "{metadata}/{image}: {count} compared");
            check(&format!("{metadata}/{image}"), &expected, &rows);
            let absent = rows
                .iter()
                .flat_map(|row| [&row.before, &row.after])
                .flatten()
                .flatten()
                .filter(|cell| matches!(cell, Cell::Absent))
                .count();
            assert_eq!(
                absent > 0,
                image != "FULL",
                "{image}: {absent} absent values"
            );
        }
    }
    session.close().await;
}

/// `binlog_row_value_options=PARTIAL_JSON`: the places stay right, and a
/// difference is no value.
pub async fn partial_json_updates_keep_the_other_columns(url: &str) {
    let mut session = Session::open(url).await;
    session.set_metadata("FULL").await;
    session
        .run("CREATE TABLE partial (id INT PRIMARY KEY, a JSON, n INT, b JSON, tail VARCHAR(9))")
        .await;
    session
        .run(
            "INSERT INTO partial VALUES (1, JSON_OBJECT('k', REPEAT('x', 99)), 5, '[1, 2]', 'end')",
        )
        .await;
    session
        .run("SET binlog_row_value_options = 'PARTIAL_JSON'")
        .await;
    session.run("SET binlog_row_image = MINIMAL").await;
    let start = session.position().await;
    session
        .run("UPDATE partial SET a = JSON_SET(a, '$.k', 'short'), n = 6, b = '[3]', tail = 'new'")
        .await;
    let events = session.events(start).await;
    assert!(events.iter().any(|event| event_type(event) == 39));
    let catalog = session.catalogs().await;
    let columns: Vec<Column> = catalog["partial"].iter().map(column::column).collect();
    let mut compared = Compared::default();
    let mut others = Some((columns.as_slice(), &mut compared));
    let rows = decode(&events, "partial", None, &mut others);
    assert_eq!(count(&compared, Decoder::MysqlCommon, |_| true), 4);
    let [row] = rows.as_slice() else {
        panic!("one row, not {}", rows.len())
    };
    let text = |text: &str| Cell::Text(text.as_bytes().to_vec());
    assert_eq!(
        row.after.as_deref().unwrap(),
        [
            Cell::Absent,
            Cell::Absent,
            text("6"),
            text("[3]"),
            text("new")
        ]
    );
    session.close().await;
}

/// Sets of which only ASCII is converted, or nothing.
const UNKNOWN_SETS: [&str; 9] = [
    "armscii8", "cp850", "cp852", "dec8", "geostd8", "hp8", "keybcs2", "macce", "swe7",
];

/// Every character of every set: what we convert to utf8mb4, the server converts
/// to the same. Elsewhere the row is refused, and in sets of one byte that we
/// know the server prints `?` there.
pub async fn every_character_set_converts_as_the_server_does(url: &str) {
    let mut session = Session::open(url).await;
    session.set_metadata("FULL").await;
    session.run("SET cte_max_recursion_depth = 100000").await;
    let sets: Vec<(String, u32)> = session
        .conn
        .query(
            "SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS
             WHERE CHARACTER_SET_NAME NOT IN ('binary') ORDER BY 1",
        )
        .await
        .unwrap();
    let mut wrong = Vec::new();
    for (set, widest) in sets {
        session
            .run(&format!(
                "CREATE TABLE cs_{set} (id INT PRIMARY KEY, v VARCHAR(4) CHARACTER SET {set})"
            ))
            .await;
        let start = session.position().await;
        let one = "SELECT 0 n UNION ALL SELECT n + 1 FROM s WHERE n < 255";
        let two = "SELECT 32768 n UNION ALL SELECT n + 1 FROM s WHERE n < 65535";
        let mut forms = vec![(one, "LPAD(HEX(n), 2, '0')".to_owned())];
        if widest > 1 {
            forms.push((two, "HEX(n)".to_owned()));
        }
        if matches!(set.as_str(), "ujis" | "eucjpms") {
            forms.push((two, "CONCAT('8F', HEX(n))".to_owned()));
        }
        if set == "gb18030" {
            for second in ["30", "31", "32", "36", "39"] {
                forms.push((two, format!("CONCAT('81{second}', HEX(n))")));
                forms.push((one, format!("CONCAT('82{second}81', LPAD(HEX(n), 2, '0'))")));
                forms.push((one, format!("CONCAT('94{second}A8', LPAD(HEX(n), 2, '0'))")));
            }
        }
        session.run("SET sql_mode = ''").await;
        for (index, (numbers, hex)) in forms.iter().enumerate() {
            // CONVERT gives NULL for what is malformed in the set.
            session
                .run(&format!(
                    "INSERT INTO cs_{set} WITH RECURSIVE s AS ({numbers})
                     SELECT {index} * 100000 + n, CONVERT(UNHEX({hex}) USING {set}) FROM s"
                ))
                .await;
        }
        let expected = session.printed(&format!("cs_{set}"), "id, v").await;
        let bytes = session.printed(&format!("cs_{set}"), "id, HEX(v)").await;
        let events = session.events(start).await;
        let rows = decode(&events, &format!("cs_{set}"), None, &mut None);
        assert_eq!(rows.len(), expected.len());
        let (mut same, mut refused) = (0, 0);
        for ((row, expected), bytes) in rows.iter().zip(&expected).zip(&bytes) {
            let printed = expected[1].as_deref();
            let Some(after) = &row.after else {
                refused += 1;
                if widest == 1 && !UNKNOWN_SETS.contains(&set.as_str()) {
                    assert_eq!(printed, Some(&b"?"[..]), "{set} {bytes:?}");
                }
                continue;
            };
            let cell = &after[1];
            if cell.printed() == printed {
                same += 1;
            } else {
                wrong.push(format!(
                    "{set} {}: server {:?}, ours {cell:?}",
                    String::from_utf8_lossy(bytes[1].as_deref().unwrap()),
                    String::from_utf8_lossy(printed.unwrap()),
                ));
            }
        }
        println!("{set}: {same} the same, {refused} refused");
        // Of big5 and eucjpms a documented range, of ucs2 halves of surrogates.
        let refused_max = match set.as_str() {
            "big5" => 700,
            "eucjpms" => 2_800,
            "ucs2" => 2_048,
            _ => refused,
        };
        assert!(refused <= refused_max, "{set}: {refused} values refused");
        assert!(
            same >= 128 || set == "swe7",
            "{set}: {same} values converted"
        );
        session.run(&format!("DROP TABLE cs_{set}")).await;
    }
    session.close().await;
    for line in wrong.iter().take(100) {
        println!("{line}");
    }
    assert!(wrong.is_empty(), "{} characters differ", wrong.len());
}

fn is_bit(column: &mysql_async::Column) -> bool {
    column.column_type() == mysql_async::consts::ColumnType::MYSQL_TYPE_BIT
}

fn number(bits: &[u8]) -> Vec<u8> {
    let number = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    bits.iter().fold(0, number).to_string().into_bytes()
}

/// A connection and the database that the test fills.
struct Session {
    conn: Conn,
    url: String,
}

impl Session {
    async fn open(url: &str) -> Self {
        let mut conn = Conn::new(Opts::from_url(url).unwrap()).await.unwrap();
        for statement in [
            "SET time_zone = '+00:00'",
            "SET NAMES utf8mb4",
            "SET sql_mode = 'ALLOW_INVALID_DATES'",
            "SET SESSION binlog_row_image = FULL",
            &format!("DROP DATABASE IF EXISTS {DATABASE}"),
            &format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"),
            &format!("USE {DATABASE}"),
        ] {
            conn.query_drop(statement).await.unwrap();
        }
        Self {
            conn,
            url: url.to_owned(),
        }
    }

    async fn close(mut self) {
        self.run(&format!("DROP DATABASE {DATABASE}")).await;
        self.set_metadata("FULL").await;
        self.conn.disconnect().await.unwrap();
    }

    async fn run(&mut self, statement: &str) {
        if let Err(error) = self.conn.query_drop(statement).await {
            let shown: String = statement.chars().take(300).collect();
            panic!("{error}: {shown}");
        }
    }

    async fn set_metadata(&mut self, metadata: &str) {
        self.run(&format!("SET GLOBAL binlog_row_metadata = {metadata}"))
            .await;
    }

    async fn position(&mut self) -> (Vec<u8>, u64) {
        let row: mysql_async::Row = match self.conn.query_first("SHOW BINARY LOG STATUS").await {
            Ok(row) => row.unwrap(),
            Err(_) => self
                .conn
                .query_first("SHOW MASTER STATUS")
                .await
                .unwrap()
                .unwrap(),
        };
        (row.get(0).unwrap(), row.get(1).unwrap())
    }

    async fn printed(&mut self, table: &str, columns: &str) -> Vec<Printed> {
        let rows: Vec<mysql_async::Row> = self
            .conn
            .query(format!("SELECT {columns} FROM {table} ORDER BY id"))
            .await
            .unwrap();
        rows.into_iter()
            .map(|row| {
                let columns = row.columns();
                let values = row.unwrap().into_iter().zip(columns.iter());
                values
                    .map(|(value, column)| match value {
                        mysql_async::Value::NULL => None,
                        mysql_async::Value::Bytes(bytes) if is_bit(column) => Some(number(&bytes)),
                        mysql_async::Value::Bytes(bytes) => Some(bytes),
                        other => panic!("{other:?} is not of the text protocol"),
                    })
                    .collect()
            })
            .collect()
    }

    async fn catalogs(&mut self) -> BTreeMap<String, Vec<CatalogColumn>> {
        let rows: Vec<(String, String, String, Option<String>, bool)> = self
            .conn
            .query(format!(
                "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLUMN_KEY = 'PRI'
                 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{DATABASE}'
                 ORDER BY TABLE_NAME, ORDINAL_POSITION"
            ))
            .await
            .unwrap();
        let mut catalogs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (table, name, column_type, charset, primary_key) in rows {
            catalogs.entry(table).or_default().push(CatalogColumn {
                name,
                column_type,
                charset,
                primary_key,
            });
        }
        catalogs
    }

    async fn events(&mut self, (file, position): (Vec<u8>, u64)) -> Vec<Event> {
        let conn = Conn::new(Opts::from_url(&self.url).unwrap()).await.unwrap();
        let request = BinlogStreamRequest::new(4_000_000_001)
            .with_non_blocking()
            .with_filename(&file)
            .with_pos(position);
        let mut stream = conn.get_binlog_stream(request).await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event.unwrap());
        }
        events
    }
}

fn event_type(event: &Event) -> u8 {
    event.header().event_type_raw()
}

/// A value that outlives its event.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Absent,
    Null,
    Text(Vec<u8>),
    Bytes(Vec<u8>),
}

impl Cell {
    fn new(value: &Value<'_>) -> Self {
        let mut text = Vec::new();
        match value {
            Value::Absent | Value::Partial => Self::Absent,
            Value::Null => Self::Null,
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            other => {
                assert!(other.write_text(&mut text));
                Self::Text(text)
            }
        }
    }

    fn printed(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => panic!("an absent value prints nothing"),
            Self::Null => None,
            Self::Text(bytes) | Self::Bytes(bytes) => Some(bytes),
        }
    }
}

struct DecodedRow {
    op: Op,
    before: Option<Vec<Cell>>,
    after: Option<Vec<Cell>>,
}

/// Decodes every row of `table`, comparing each event with other decoders'
/// readings.
fn decode(
    events: &[Event],
    table: &str,
    catalog: Option<&Vec<CatalogColumn>>,
    others: &mut Option<(&[Column], &mut Compared)>,
) -> Vec<DecodedRow> {
    let mut decoder: Option<(u64, RowDecoder, TableMapEvent<'_>)> = None;
    let mut mysql_cdc = MysqlCdc::new();
    let mut read_by_mysql_cdc = false;
    let mut decoded = Vec::new();
    for event in events {
        let kind = event_type(event);
        if kind == TABLE_MAP {
            let map = TableMap::parse(event.data()).unwrap();
            if map.schema != DATABASE || map.table != table {
                continue;
            }
            let layout = TableLayout::new(&map, catalog.map(Vec::as_slice))
                .unwrap_or_else(|error| panic!("{error}: {catalog:?}, {map:?}"));
            if catalog.is_none() {
                assert!(!TableLayout::needs_catalog(&map).unwrap());
            }
            assert_eq!(layout.schema.primary_key, [0]);
            let all: Vec<usize> = (0..layout.column_count()).collect();
            let theirs = event.read_event::<TableMapEvent<'_>>().unwrap();
            if let Some((columns, _)) = others {
                let has_labels = !TableLayout::needs_catalog(&map).unwrap();
                read_by_mysql_cdc = mysql_cdc.map(columns, has_labels, event.data());
            }
            let ours = RowDecoder::new(Arc::new(layout), &all);
            decoder = Some((map.table_id, ours, theirs));
        }
        if !event_type::carries_rows(kind) {
            continue;
        }
        let Some((id, decoder, map)) = &decoder else {
            continue;
        };
        if rows::table_id(event.data()).unwrap() != *id {
            continue;
        }
        let parsed = RowsEvent::parse(kind, event.data()).unwrap();
        let mut rows = decoder.rows(parsed).unwrap();
        let mut fields = Vec::new();
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => panic!("{table}: {error}"),
            };
            // Inserts of what we do not convert.
            let unknown = |value: &Value<'_>| matches!(value, Value::Undecodable(_));
            if table.starts_with("cs_") && row.after.is_some_and(|after| after.iter().any(unknown))
            {
                decoded.push(DecodedRow {
                    op: Op::Insert,
                    before: None,
                    after: None,
                });
                continue;
            }
            let cells = |image: Option<&[Value<'_>]>| {
                image.map(|values| values.iter().map(Cell::new).collect::<Vec<_>>())
            };
            fields.push(
                [row.before, row.after]
                    .map(|image| image.map(|values| values.iter().map(field).collect::<Vec<_>>())),
            );
            decoded.push(DecodedRow {
                op: row.op,
                before: cells(row.before),
                after: cells(row.after),
            });
        }
        let Some((columns, compared)) = others else {
            continue;
        };
        let Some(EventData::RowsEvent(data)) = event.read_data().unwrap() else {
            panic!("no rows event")
        };
        others::check_mysql_common(columns, &fields, map, &data, compared);
        // It does not know partially updated JSON.
        if read_by_mysql_cdc && kind != 39 {
            mysql_cdc.check(columns, &fields, kind, event.data(), compared);
        }
    }
    decoded
}

/// How many values of some columns were compared.
fn count(compared: &Compared, decoder: Decoder, of: impl Fn(&str) -> bool) -> usize {
    let chosen = compared
        .0
        .iter()
        .filter(|((whose, label), _)| *whose == decoder && of(label));
    chosen.map(|(_, count)| count).sum()
}

fn field(value: &Value<'_>) -> Field {
    let mut text = Vec::new();
    match value {
        Value::Absent => Field::Absent,
        Value::Partial => Field::Partial,
        Value::Null => Field::Null,
        other => {
            other.write_text(&mut text);
            Field::Text(text)
        }
    }
}

/// Each expected row is inserted, then updated in its last column, then deleted.
fn check(what: &str, expected: &[Printed], rows: &[DecodedRow]) {
    for op in [Op::Insert, Op::Update, Op::Delete] {
        let mut of_op: Vec<_> = rows.iter().filter(|row| row.op == op).collect();
        assert_eq!(of_op.len(), expected.len(), "{what}: {op} rows");
        let id = |row: &DecodedRow| -> u32 {
            let image = row.before.as_ref().or(row.after.as_ref()).unwrap();
            let text = String::from_utf8(image[0].printed().unwrap().to_vec()).unwrap();
            text.parse().unwrap()
        };
        of_op.sort_by_key(|row| id(row));
        for (row, expected) in of_op.iter().zip(expected) {
            let unchanged = expected.len() - 1;
            let full = expected.len();
            let images = match op {
                Op::Insert => [(&row.before, 0), (&row.after, full)],
                Op::Update => [(&row.before, full), (&row.after, unchanged)],
                Op::Delete => [(&row.before, unchanged), (&row.after, 0)],
            };
            for (image, columns) in images {
                let Some(image) = image else {
                    assert_eq!(columns, 0, "{what}: {op} lacks an image");
                    continue;
                };
                for (column, (cell, expected)) in
                    image.iter().zip(expected).take(columns).enumerate()
                {
                    if matches!(cell, Cell::Absent) {
                        continue;
                    }
                    assert_eq!(
                        cell.printed().map(String::from_utf8_lossy),
                        expected.as_deref().map(String::from_utf8_lossy),
                        "{what}: {op}, column {column}"
                    );
                    assert_eq!(cell.printed(), expected.as_deref());
                    let is_end = cell.printed() == Some(b"end");
                    assert!(!is_end || matches!(cell, Cell::Text(_)), "{what}: {cell:?}");
                }
            }
        }
    }
}
