use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::FormatDescriptionEvent;

use super::watermark::next_offset;
use super::*;
use crate::binlog::events::event_type::*;

mod damage;

/// Wants everything in `shop`, and cannot handle `shop.broken`.
struct Shop;

impl Interest for Shop {
    type Table = TableName;

    fn wants(&self, table: &TableName) -> bool {
        &*table.schema == "shop"
    }

    fn bind(&self, layout: TableLayout) -> Result<TableName, String> {
        match &*layout.schema.name.table {
            "broken" => Err("no rule fits".to_owned()),
            _ => Ok(layout.schema.name.clone()),
        }
    }
}

/// A server that writes events one after the other, and a reader of them.
struct Stream {
    assembler: Assembler<Shop>,
    /// Where the server stands.
    offset: u64,
}

const UUID: [u8; 16] = [0x11; 16];
const UUID_TEXT: &str = "11111111-1111-1111-1111-111111111111";
const USERS: u64 = 71;

fn position(offset: u64, gtids: Option<&str>) -> Position {
    Position {
        file: "bin.000001".into(),
        offset,
        gtids: gtids.map(|set| set.parse().unwrap()),
    }
}

fn event(event_type: u8, flags: u16, log_pos: u32, body: &[u8]) -> Event {
    let size = u32::try_from(19 + body.len()).unwrap();
    let mut bytes = 1_700_000_000_u32.to_le_bytes().to_vec();
    bytes.push(event_type);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(log_pos.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(body);
    let format = FormatDescriptionEvent::new(BinlogVersion::Version4);
    Event::read(&format.into(), bytes.into()).unwrap()
}

fn query(schema: &str, sql: &str) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.push(u8::try_from(schema.len()).unwrap());
    body.extend([0; 4]);
    body.extend(schema.bytes());
    body.push(0);
    body.extend(sql.bytes());
    body
}

fn gtid(number: u64) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(UUID);
    body.extend(number.to_le_bytes());
    body
}

fn table_map(id: u64, schema: &str, table: &str) -> Vec<u8> {
    let mut body = id.to_le_bytes()[..6].to_vec();
    body.extend([1, 0]);
    for name in [schema, table] {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend(name.bytes());
        body.push(0);
    }
    // One INT, no metadata, not nullable.
    body.extend([1, 3, 0, 0]);
    body
}

fn insert(id: u64, value: u32) -> Vec<u8> {
    let mut body = id.to_le_bytes()[..6].to_vec();
    body.extend([1, 0, 2, 0, 1, 1, 0]);
    body.extend(value.to_le_bytes());
    body
}

fn rotate(file: &str, offset: u64) -> Vec<u8> {
    let mut body = offset.to_le_bytes().to_vec();
    body.extend(file.bytes());
    body
}

/// The preparation's event, whose xid nobody reads.
fn xa_prepare(one_phase: bool) -> Vec<u8> {
    let mut body = vec![u8::from(one_phase)];
    for number in [1_u32, 1, 0] {
        body.extend(number.to_le_bytes());
    }
    body.push(b'a');
    body
}

fn id_column() -> Vec<CatalogColumn> {
    vec![CatalogColumn {
        name: "id".to_owned(),
        column_type: "int".to_owned(),
        charset: None,
        primary_key: true,
    }]
}

impl Stream {
    fn at(position: Position) -> Self {
        let offset = position.offset;
        Self {
            assembler: Assembler::new(Shop, position),
            offset,
        }
    }

    /// What a step comes to, as text.
    fn step(&mut self, event: Event) -> String {
        match self.assembler.feed(event) {
            Step::Quiet => String::new(),
            Step::Item(Item::Commit) => "commit".to_owned(),
            Step::Item(Item::Rows(table, payload)) => {
                let op = payload.parse().unwrap().op;
                format!("{op} {table}")
            }
            Step::Item(Item::TablesChanged(tables)) => {
                let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
                format!("changed {}", names.join(" "))
            }
            Step::Item(Item::Statement(dml)) => {
                let names: Vec<String> = dml.targets.iter().map(ToString::to_string).collect();
                format!("statement on {}", names.join(" "))
            }
            Step::Item(Item::AnyChanged(reason)) => reason.to_string(),
            Step::Item(Item::Undecodable(table, reason)) => {
                format!("undecodable {table}: {reason}")
            }
            Step::NeedsCatalog(table, event) => {
                let columns = (&*table.table != "gone").then(id_column);
                self.assembler.learn(table, columns);
                self.step(event)
            }
        }
    }

    /// The server writes an event, and the reader gets it.
    fn write(&mut self, event_type: u8, body: &[u8]) -> String {
        self.write_flagged(event_type, 0, body)
    }

    fn write_flagged(&mut self, event_type: u8, flags: u16, body: &[u8]) -> String {
        self.offset += u64::try_from(19 + body.len()).unwrap();
        let low = u32::try_from(self.offset & 0xffff_ffff).unwrap();
        self.step(event(event_type, flags, low, body))
    }

    /// An event out of a compressed payload, which has no place of its own.
    fn unpack(&mut self, event_type: u8, body: &[u8]) -> String {
        self.step(event(event_type, 0, 0, body))
    }

    /// One transaction that inserts a row into `shop.users`.
    fn transaction(&mut self, number: u64) -> Vec<String> {
        let steps = vec![
            self.write(GTID, &gtid(number)),
            self.write(QUERY, &query("shop", "BEGIN")),
            self.write(TABLE_MAP, &table_map(USERS, "shop", "users")),
            self.write(WRITE_ROWS, &insert(USERS, 7)),
            self.write(XID, &[0; 8]),
        ];
        steps.into_iter().filter(|step| !step.is_empty()).collect()
    }

    /// Prepares an XA transaction with rows of these tables, and says what came
    /// besides the rows and the preparation's end.
    fn prepare(&mut self, xid: &str, tables: &[(&str, &str)]) -> Vec<String> {
        let mut said = vec![
            self.write(GTID, &gtid(1)),
            self.write(QUERY, &query("", &format!("XA START {xid}"))),
        ];
        for (id, (schema, table)) in (USERS..).zip(tables) {
            said.push(self.write(TABLE_MAP, &table_map(id, schema, table)));
            said.push(self.write(WRITE_ROWS, &insert(id, 1)));
        }
        said.push(self.write(QUERY, &query("", &format!("XA END {xid}"))));
        said.push(self.write(XA_PREPARE, &xa_prepare(false)));
        said.retain(|step| !step.is_empty() && !step.starts_with("insert ") && step != "commit");
        said
    }

    /// An XA statement that is a transaction by itself.
    fn xa(&mut self, sql: &str) -> String {
        assert_eq!(self.write(GTID, &gtid(2)), "");
        let said = self.write(QUERY, &query("", sql));
        assert!(!self.assembler.in_transaction(), "{sql}");
        assert_eq!(self.assembler.position().offset, self.offset, "{sql}");
        said
    }

    fn committed(&self) -> String {
        let position = self.assembler.position();
        match &position.gtids {
            Some(gtids) => format!("{position} {gtids}"),
            None => position.to_string(),
        }
    }
}

#[test]
fn offsets_pass_four_gibibytes() {
    assert_eq!(next_offset(4, 120), 120);
    assert_eq!(next_offset(0xffff_fff0, 0x10), 0x1_0000_0010);
    assert_eq!(next_offset(0x1_0000_0010, 0x90), 0x1_0000_0090);
    assert_eq!(next_offset(0x3_ffff_ffff, 0), 0x4_0000_0000);
    assert_eq!(
        next_offset(u64::MAX, 0),
        u64::MAX,
        "a place that no file has"
    );
}

#[test]
fn a_transactions_rows_come_one_event_at_a_time_and_then_its_commit() {
    let mut stream = Stream::at(position(4, Some("")));
    assert_eq!(stream.transaction(1), ["insert shop.users", "commit"]);
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1", stream.offset)
    );
    assert_eq!(
        stream.assembler.gtid().unwrap().to_string(),
        format!("{UUID_TEXT}:1")
    );
    assert_eq!(stream.assembler.committed_at_us(), 1_700_000_001_000_000);
    assert_eq!(stream.transaction(2), ["insert shop.users", "commit"]);
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1-2", stream.offset)
    );
}

#[test]
fn the_position_never_advances_inside_a_transaction() {
    let mut stream = Stream::at(position(4, Some("")));
    stream.transaction(1);
    let before = stream.committed();
    let steps: [(u8, Vec<u8>); 8] = [
        (GTID, gtid(2)),
        (QUERY, query("shop", "BEGIN")),
        (TABLE_MAP, table_map(USERS, "shop", "users")),
        (WRITE_ROWS, insert(USERS, 1)),
        (QUERY, query("shop", "SAVEPOINT `s`")),
        (QUERY, query("shop", "ROLLBACK TO `s`")),
        (TABLE_MAP, table_map(USERS + 1, "other", "t")),
        (WRITE_ROWS, insert(USERS + 1, 1)),
    ];
    for (event_type, body) in steps {
        stream.write(event_type, &body);
        assert_eq!(stream.committed(), before);
        assert_eq!(stream.assembler.reading(), ("bin.000001", stream.offset));
    }
    assert_eq!(stream.write(XID, &[0; 8]), "commit");
    assert_ne!(stream.committed(), before);
}

#[test]
fn a_statement_that_changes_the_layout_is_a_transaction_of_its_own() {
    let mut stream = Stream::at(position(4, Some("")));
    assert_eq!(stream.write(GTID, &gtid(1)), "");
    assert_eq!(
        stream.write(QUERY, &query("shop", "ALTER TABLE users ADD c INT")),
        "commit"
    );
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1", stream.offset)
    );
    stream.write(GTID, &gtid(2));
    let truncated = stream.write(QUERY, &query("shop", "TRUNCATE users"));
    assert!(
        truncated.starts_with("changed ") && truncated.contains("shop.users"),
        "{truncated}"
    );
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1-2", stream.offset)
    );
    // Without a GTID event too.
    assert_eq!(stream.write(QUERY, &query("", "FLUSH TABLES")), "commit");
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1-2", stream.offset)
    );
}

#[test]
fn a_statement_inside_a_transaction_does_not_end_it() {
    let mut stream = Stream::at(position(4, Some("")));
    stream.write(GTID, &gtid(1));
    stream.write(QUERY, &query("shop", "BEGIN"));
    assert!(
        stream
            .write(QUERY, &query("shop", "DELETE FROM users"))
            .contains("shop.users")
    );
    assert_eq!(stream.committed(), "bin.000001:4 ");
    assert_eq!(stream.write(QUERY, &query("shop", "COMMIT")), "commit");
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1", stream.offset)
    );
}

#[test]
fn reading_goes_on_in_the_next_file_at_the_offset_that_the_body_names() {
    let mut stream = Stream::at(position(4, None));
    stream.transaction(1);
    // The header says where the event ends in the old file.
    assert_eq!(stream.write(ROTATE, &rotate("bin.000002", 4)), "");
    assert_eq!(stream.committed(), "bin.000002:4");
    stream.offset = 4;
    // The server announces the file once more, with an event of its making.
    stream.step(event(ROTATE, ARTIFICIAL_FLAG, 0, &rotate("bin.000002", 4)));
    assert_eq!(stream.committed(), "bin.000002:4");
    stream.transaction(2);
    assert_eq!(stream.committed(), format!("bin.000002:{}", stream.offset));
}

#[test]
fn the_rotate_at_the_streams_beginning_moves_nothing() {
    let mut stream = Stream::at(position(500, None));
    stream.step(event(
        ROTATE,
        ARTIFICIAL_FLAG,
        0,
        &rotate("bin.000001", 500),
    ));
    assert_eq!(stream.committed(), "bin.000001:500");
    // By GTID a server begins at the file's beginning and leaves out what is known.
    let mut stream = Stream::at(position(500, Some("")));
    stream.step(event(ROTATE, ARTIFICIAL_FLAG, 0, &rotate("bin.000001", 4)));
    stream.offset = 4;
    stream.write_flagged(PREVIOUS_GTIDS, IGNORABLE_FLAG, &[0; 8]);
    assert_eq!(stream.committed(), "bin.000001:500 ");
    stream.offset = 600;
    stream.transaction(1);
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1", stream.offset)
    );
}

#[test]
fn heartbeats_say_nothing_of_the_position() {
    let mut stream = Stream::at(position(4, None));
    for event_type in [HEARTBEAT, HEARTBEAT_V2] {
        assert_eq!(stream.step(event(event_type, 0, 9_000, b"bin.000001")), "");
        assert_eq!(stream.committed(), "bin.000001:4");
        assert_eq!(stream.assembler.reading().1, 4);
    }
}

#[test]
fn a_files_previous_gtids_are_adopted_where_the_set_is_not_known() {
    let mut previous = 1_u64.to_le_bytes().to_vec();
    previous.extend(UUID);
    // One interval, its end exclusive.
    for number in [1_u64, 1, 6] {
        previous.extend(number.to_le_bytes());
    }
    let mut stream = Stream::at(position(4, None));
    stream.write_flagged(PREVIOUS_GTIDS, IGNORABLE_FLAG, &previous);
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1-5", stream.offset)
    );
    stream.transaction(6);
    assert!(stream.committed().ends_with(":1-6"));

    let mut known = Stream::at(position(4, Some("22222222-2222-2222-2222-222222222222:1")));
    known.write_flagged(PREVIOUS_GTIDS, IGNORABLE_FLAG, &previous);
    assert!(
        known
            .committed()
            .ends_with(" 22222222-2222-2222-2222-222222222222:1")
    );
}

#[test]
fn a_file_passes_four_gibibytes_while_it_is_read() {
    let mut stream = Stream::at(position(0xffff_ffb0, None));
    assert_eq!(stream.transaction(1), ["insert shop.users", "commit"]);
    assert!(stream.offset > u64::from(u32::MAX));
    assert_eq!(stream.committed(), format!("bin.000001:{}", stream.offset));
    stream.transaction(2);
    assert_eq!(stream.committed(), format!("bin.000001:{}", stream.offset));
}

#[test]
fn what_lies_before_an_offset_that_the_server_cannot_be_asked_for_is_passed_over() {
    let start = 0x1_0000_0200;
    let mut stream = Stream::at(position(start, None));
    // Such a stream begins at the file's beginning.
    stream.step(event(ROTATE, ARTIFICIAL_FLAG, 0, &rotate("bin.000001", 4)));
    stream.offset = 4;
    assert_eq!(stream.transaction(1), [""; 0]);
    stream.offset = 0x1_0000_0100 - 146;
    stream.step(event(XID, 0, 0xffff_0000, &[0; 8]));
    assert_eq!(stream.transaction(2), [""; 0]);
    assert_eq!(stream.committed(), format!("bin.000001:{start}"));
    stream.offset = start - 27;
    assert_eq!(stream.write(XID, &[0; 8]), "");
    assert_eq!(stream.transaction(3), ["insert shop.users", "commit"]);
    assert_eq!(stream.committed(), format!("bin.000001:{}", stream.offset));
}

#[test]
fn an_unknown_event_means_anything_unless_it_may_be_ignored() {
    let mut stream = Stream::at(position(4, None));
    assert_eq!(
        stream.write(99, &[]),
        "event type 99 is unknown and not marked as ignorable"
    );
    assert_eq!(stream.write_flagged(99, IGNORABLE_FLAG, &[]), "");
    for aurora in [100, 101] {
        assert_eq!(stream.write(aurora, &[1, 2, 3]), "");
    }
    assert_eq!(stream.committed(), format!("bin.000001:{}", stream.offset));
    let incident = stream.write(INCIDENT, &[1, 0, 0]);
    assert_eq!(
        incident,
        "the server logged an incident: changes may be missing from the binlog"
    );
}

#[test]
fn an_event_that_cannot_be_read_means_anything() {
    let mut stream = Stream::at(position(4, Some("")));
    for (event_type, body) in [
        (GTID, &[1][..]),
        (QUERY, &[0; 5]),
        (TABLE_MAP, &[1]),
        (ROTATE, &[0; 3]),
        (WRITE_ROWS, &[1]),
    ] {
        let said = stream.write(event_type, body);
        let expected = format!("an event of type {event_type} cannot be decoded: ");
        assert!(said.starts_with(&expected), "{event_type}: {said}");
    }
}

#[test]
fn rows_need_a_table_map_unless_they_are_the_dummy() {
    let mut stream = Stream::at(position(4, None));
    let said = stream.write(WRITE_ROWS, &insert(5, 1));
    assert_eq!(
        said,
        "an event of type 30 cannot be decoded: no table map stands before the rows"
    );
    assert_eq!(stream.write(WRITE_ROWS, &insert(0x00ff_ffff, 1)), "");
}

#[test]
fn tables_are_wanted_unwanted_or_unusable() {
    let mut stream = Stream::at(position(4, None));
    stream.write(QUERY, &query("", "BEGIN"));
    let mut rows_of = |id, schema, table| {
        assert_eq!(stream.write(TABLE_MAP, &table_map(id, schema, table)), "");
        stream.write(WRITE_ROWS, &insert(id, 1))
    };
    assert_eq!(rows_of(1, "shop", "users"), "insert shop.users");
    assert_eq!(rows_of(2, "shop", "users"), "insert shop.users");
    assert_eq!(rows_of(3, "other", "users"), "");
    assert_eq!(
        rows_of(4, "shop", "broken"),
        "undecodable shop.broken: no rule fits"
    );
    assert!(rows_of(5, "shop", "gone").starts_with("undecodable shop.gone: "));
}

/// The payload event's body: its fields, and no payload of its own.
fn payload(uncompressed: u64) -> Vec<u8> {
    let mut body = vec![1, 1, 0, 2, 1, 0, 3, 9, 254];
    body.extend(uncompressed.to_le_bytes());
    body.push(0);
    body
}

#[test]
fn a_compressed_transaction_ends_where_its_payload_does() {
    let begin = query("shop", "BEGIN");
    let (map, rows) = (table_map(USERS, "shop", "users"), insert(USERS, 7));
    let size = 19 * 4 + begin.len() + map.len() + rows.len() + 8;
    for gtids in [None, Some("")] {
        let mut stream = Stream::at(position(4, gtids));
        stream.write(GTID, &gtid(1));
        assert_eq!(
            stream.write(TRANSACTION_PAYLOAD, &payload(u64::try_from(size).unwrap())),
            ""
        );
        assert_eq!(stream.unpack(QUERY, &begin), "");
        assert_eq!(stream.unpack(TABLE_MAP, &map), "");
        assert_eq!(stream.unpack(WRITE_ROWS, &rows), "insert shop.users");
        assert!(stream.committed().starts_with("bin.000001:4"));
        assert_eq!(stream.unpack(XID, &[0; 8]), "commit");
        assert!(
            stream
                .committed()
                .starts_with(&format!("bin.000001:{}", stream.offset))
        );
        assert_eq!(stream.write(GTID, &gtid(2)), "");
    }
}

#[test]
fn a_compressed_transaction_that_was_not_unpacked_means_anything() {
    let mut stream = Stream::at(position(4, Some("")));
    stream.write(GTID, &gtid(1));
    stream.write(TRANSACTION_PAYLOAD, &payload(1_000));
    stream.unpack(QUERY, &query("shop", "BEGIN"));
    let left = 1_000 - 19 - query("shop", "BEGIN").len();
    assert_eq!(
        stream.write(GTID, &gtid(2)),
        format!(
            "an event of type 40 cannot be decoded: {left} bytes of a compressed transaction were not decoded"
        )
    );
    // It is acted on now, so that its GTID need not come again.
    assert_eq!(stream.committed(), format!("bin.000001:4 {UUID_TEXT}:1"));
}

#[test]
fn after_a_rewind_an_unfinished_transaction_comes_again_whole() {
    let mut stream = Stream::at(position(4, Some("")));
    stream.transaction(1);
    let (committed, offset) = (stream.committed(), stream.offset);
    stream.write(GTID, &gtid(2));
    stream.write(QUERY, &query("shop", "BEGIN"));
    stream.assembler.rewind();
    assert_eq!(stream.committed(), committed);
    stream.offset = offset;
    assert_eq!(stream.transaction(2), ["insert shop.users", "commit"]);
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1-2", stream.offset)
    );
}

const XID_A: &str = "X'61',X'',1";
const USERS_ROWS: &[(&str, &str)] = &[("shop", "users")];

fn any(sql: &str) -> String {
    format!("a statement changed rows without row events: {sql}")
}

#[test]
fn the_commit_of_a_prepared_transaction_means_the_tables_that_it_touched() {
    for (tables, expected) in [
        (USERS_ROWS, "changed shop.users"),
        (
            &[
                ("shop", "users"),
                ("other", "t"),
                ("shop", "orders"),
                ("shop", "users"),
            ],
            "changed shop.orders shop.users",
        ),
        (&[("shop", "broken")], "changed shop.broken"),
        (&[("other", "t")], "commit"),
        (&[], "commit"),
    ] {
        // The second time, the table maps are known.
        let mut stream = Stream::at(position(4, None));
        for _ in 0..2 {
            stream.prepare(XID_A, tables);
            stream.transaction(3);
            assert_eq!(stream.xa("XA COMMIT  X'61', X'',1"), expected, "{tables:?}");
            // Ended once, its xid means nothing any more.
            let again = "XA COMMIT X'61',X'',1";
            assert_eq!(stream.xa(again), any(again));
        }
    }
}

#[test]
fn rolling_back_a_prepared_transaction_changes_nothing() {
    let mut stream = Stream::at(position(4, None));
    assert_eq!(stream.xa("XA ROLLBACK X'61',X'',1"), "commit");
    stream.prepare(XID_A, USERS_ROWS);
    assert_eq!(stream.xa("XA ROLLBACK X'61',X'',1"), "commit");
    let commit = "XA COMMIT X'61',X'',1";
    assert_eq!(stream.xa(commit), any(commit));
}

#[test]
fn a_commit_in_one_phase_is_an_ordinary_one() {
    let mut stream = Stream::at(position(4, None));
    stream.write(GTID, &gtid(1));
    stream.write(QUERY, &query("", "XA START X'61',X'',1"));
    stream.write(TABLE_MAP, &table_map(USERS, "shop", "users"));
    assert_eq!(
        stream.write(WRITE_ROWS, &insert(USERS, 1)),
        "insert shop.users"
    );
    stream.write(QUERY, &query("", "XA END X'61',X'',1"));
    assert_eq!(stream.write(XA_PREPARE, &xa_prepare(true)), "commit");
    assert_eq!(stream.committed(), format!("bin.000001:{}", stream.offset));
    let commit = "XA COMMIT X'61',X'',1";
    assert_eq!(stream.xa(commit), any(commit), "nothing is remembered");
}

#[test]
fn what_a_prepared_transaction_did_besides_rows_becomes_visible_with_it_too() {
    for (sql, expected) in [
        (
            "REPAIR TABLE users",
            "changed shop.REPAIR shop.TABLE shop.repair shop.table shop.users",
        ),
        // Maybe through triggers, and thus more than it names.
        (
            "DELETE FROM users",
            "a statement changed rows without row events: XA COMMIT X'61',X'',1",
        ),
        (
            "CALL p()",
            "a statement changed rows without row events: XA COMMIT X'61',X'',1",
        ),
    ] {
        let mut stream = Stream::at(position(4, None));
        stream.write(GTID, &gtid(1));
        stream.write(QUERY, &query("", "XA START X'61',X'',1"));
        assert_ne!(stream.write(QUERY, &query("shop", sql)), "", "{sql}");
        stream.write(QUERY, &query("", "XA END X'61',X'',1"));
        assert_eq!(stream.write(XA_PREPARE, &xa_prepare(false)), "commit");
        assert_eq!(stream.xa("XA COMMIT X'61',X'',1"), expected, "{sql}");
    }
    // Rows without a table map.
    let mut stream = Stream::at(position(4, None));
    stream.write(GTID, &gtid(1));
    stream.write(QUERY, &query("", "XA START X'61',X'',1"));
    stream.write(WRITE_ROWS, &insert(5, 1));
    stream.write(XA_PREPARE, &xa_prepare(false));
    let commit = "XA COMMIT X'61',X'',1";
    assert_eq!(stream.xa(commit), any(commit));
}

#[test]
fn more_prepared_transactions_than_are_remembered_mean_anything() {
    let mut stream = Stream::at(position(4, None));
    for number in 0..=1_000 {
        stream.prepare(&format!("X'{number:04x}',X'',1"), USERS_ROWS);
    }
    // One that is remembered may be prepared anew.
    stream.prepare("X'0000',X'',1", &[("shop", "orders")]);
    for (number, expected) in [(0, "orders"), (1, "users"), (999, "users")] {
        let said = stream.xa(&format!("XA COMMIT X'{number:04x}',X'',1"));
        assert_eq!(said, format!("changed shop.{expected}"));
    }
    let beyond = "XA COMMIT X'03e8',X'',1";
    assert_eq!(stream.xa(beyond), any(beyond));
    // There is room again.
    stream.prepare("X'03e8',X'',1", USERS_ROWS);
    assert_eq!(stream.xa(beyond), "changed shop.users");

    let names: Vec<String> = (0..=100).map(|number| format!("t{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| ("shop", name.as_str())).collect();
    stream.prepare(XID_A, &many);
    let commit = "XA COMMIT X'61',X'',1";
    assert_eq!(stream.xa(commit), any(commit), "too many tables");
}

#[test]
fn prepared_transactions_outlive_a_rewind_and_no_gap() {
    let commit = "XA COMMIT X'61',X'',1";
    let mut stream = Stream::at(position(4, None));
    stream.prepare(XID_A, USERS_ROWS);
    // Rewound within a preparation: it is read, and remembered, again.
    let offset = stream.offset;
    stream.write(GTID, &gtid(2));
    stream.write(QUERY, &query("", "XA START X'62',X'',1"));
    stream.assembler.rewind();
    stream.offset = offset;
    stream.prepare("X'62',X'',1", &[("shop", "orders")]);
    assert_eq!(stream.xa(commit), "changed shop.users");
    assert_eq!(stream.xa("XA COMMIT X'62',X'',1"), "changed shop.orders");

    stream.prepare(XID_A, USERS_ROWS);
    let offset = stream.offset;
    stream.assembler.restart(position(offset, None));
    assert_eq!(stream.xa(commit), any(commit));
}

#[test]
fn a_transaction_that_was_prepared_for_another_interest_means_anything() {
    let commit = "XA COMMIT X'61',X'',1";
    let mut stream = Stream::at(position(4, None));
    stream.prepare(XID_A, USERS_ROWS);
    stream.assembler.set_interest(Shop);
    assert_eq!(stream.xa(commit), any(commit));
    stream.prepare(XID_A, USERS_ROWS);
    assert_eq!(stream.xa(commit), "changed shop.users");
}

/// The body of a statement whose client used a character set, by collation.
fn query_in(collation: u16, schema: &str, sql: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.push(u8::try_from(schema.len()).unwrap());
    body.extend([0, 0, 7, 0, 4]);
    for id in [collation, 45, 45] {
        body.extend(id.to_le_bytes());
    }
    body.extend(schema.bytes());
    body.push(0);
    body.extend(sql);
    body
}

#[test]
fn a_statement_whose_names_cannot_be_read_means_anything() {
    const UTF8: u16 = 255;
    const LATIN1: u16 = 8;
    for (collation, sql, known) in [
        (UTF8, "TRUNCATE größe".as_bytes(), true),
        (33, "TRUNCATE größe".as_bytes(), true),
        (LATIN1, b"TRUNCATE users", true),
        (LATIN1, b"TRUNCATE gr\xf6\xdfe", false),
        (UTF8, b"TRUNCATE gr\xf6\xdfe", false),
        // Which would be valid UTF-8 as well.
        (LATIN1, "TRUNCATE größe".as_bytes(), false),
        // In GBK a letter may end like a quote or a backslash.
        (
            28,
            b"ALTER TABLE a COMMENT '\x81\\', TRUNCATE PARTITION p",
            false,
        ),
    ] {
        let mut stream = Stream::at(position(4, None));
        let said = stream.write(QUERY, &query_in(collation, "shop", sql));
        let expected = if known {
            "changed shop.T"
        } else {
            "a statement changed"
        };
        assert!(said.starts_with(expected), "{collation}: {said}");
    }
    // What ends and begins transactions is ASCII, whatever the client speaks.
    let mut stream = Stream::at(position(4, None));
    let savepoint = query_in(LATIN1, "shop", b"SAVEPOINT `gr\xf6\xdfe`");
    assert_eq!(stream.write(QUERY, &savepoint), "");
}
