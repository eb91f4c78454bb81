//! Events, tables and statements that cannot be known.

use super::history::*;
use crate::binlog::events::event_type::*;
use crate::binlog::events::header::IGNORABLE_FLAG;

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
