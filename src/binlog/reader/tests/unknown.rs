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

#[test]
fn table_ids_are_forgotten_between_statements_and_never_within_one() {
    const IDS: u64 = 100_000;
    let mut stream = Stream::at(position(4, None));
    stream.write(QUERY, &query("", "BEGIN"));
    // A server gives a table another id whenever it opens it anew.
    for id in 1..IDS {
        let schema = if id % 2 == 0 { "shop" } else { "other" };
        stream.write(TABLE_MAP, &table_map(id, schema, "users"));
        let said = stream.write(WRITE_ROWS, &insert(id, 1));
        assert_eq!(said, if id % 2 == 0 { "insert shop.users" } else { "" });
    }
    assert!(stream.assembler.tables.len() < 5_000);
    // All table maps of a statement stand before its rows.
    for id in IDS..2 * IDS {
        stream.write(TABLE_MAP, &table_map(id, "shop", "users"));
    }
    for id in IDS..2 * IDS {
        let mut rows = insert(id, 1);
        // Not the last of the statement.
        rows[6] = u8::from(id == 2 * IDS - 1);
        assert_eq!(stream.write(WRITE_ROWS, &rows), "insert shop.users");
    }
    assert!(stream.assembler.tables.is_empty());
}

#[test]
fn layouts_are_bounded_and_learnt_anew() {
    let mut stream = Stream::at(position(4, None));
    stream.write(QUERY, &query("", "BEGIN"));
    let names = (0..30_000).chain(0..3).map(|number| format!("t{number}"));
    for (id, name) in (1..).zip(names) {
        stream.write(TABLE_MAP, &table_map(id, "shop", &name));
        let said = stream.write(WRITE_ROWS, &insert(id, 1));
        assert_eq!(said, format!("insert shop.{name}"));
        stream.write(TABLE_MAP, &table_map(id + 100_000, "other", &name));
        stream.write(WRITE_ROWS, &insert(id + 100_000, 1));
    }
    assert!(stream.assembler.layouts.len() <= 10_000);
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
fn a_statement_is_read_in_the_character_set_of_its_client() {
    const UTF8: u16 = 255;
    const LATIN1: u16 = 8;
    const BINARY: u16 = 63;
    const DEC8: u16 = 3;
    const GBK: u16 = 28;
    for (collation, sql, names) in [
        (UTF8, "TRUNCATE größe".as_bytes(), &["größe"][..]),
        (33, "TRUNCATE größe".as_bytes(), &["größe"]),
        (BINARY, "TRUNCATE größe".as_bytes(), &["größe"]),
        (LATIN1, b"TRUNCATE users", &["users"]),
        (LATIN1, b"TRUNCATE gr\xf6\xdfe", &["größe"]),
        (LATIN1, b"TRUNCATE users /* gr\xf6\xdfe */", &["users"]),
        // The server writes names in UTF-8, in statements that it puts together.
        (
            LATIN1,
            "DROP TABLE `größe`".as_bytes(),
            &["größe", "grã¶ãÿe"],
        ),
        // A letter may end like a quote or a backslash.
        (
            GBK,
            b"ALTER TABLE a COMMENT '\x81\\', TRUNCATE PARTITION p",
            &["a"],
        ),
        // Which cannot be converted.
        (UTF8, b"TRUNCATE gr\xf6\xdfe", &[]),
        (BINARY, b"ALTER TABLE a COMMENT 'gr\xf6\xdfe'", &[]),
        (DEC8, b"TRUNCATE gr\xf6\xdfe", &[]),
        (9_999, b"TRUNCATE gr\xf6\xdfe", &[]),
    ] {
        let mut stream = Stream::at(position(4, None));
        let said = stream.write(QUERY, &query_in(collation, "shop", sql));
        if names.is_empty() {
            assert!(
                said.starts_with("a statement changed"),
                "{collation}: {said}"
            );
        }
        for name in names {
            let words: Vec<&str> = said.split(' ').collect();
            assert!(
                words[0] == "changed" && words.contains(&&*format!("shop.{name}")),
                "{collation}: {name}: {said}"
            );
        }
    }
    // What ends and begins transactions is ASCII, whatever the client speaks.
    let mut stream = Stream::at(position(4, None));
    let savepoint = query_in(DEC8, "shop", b"SAVEPOINT `gr\xf6\xdfe`");
    assert_eq!(stream.write(QUERY, &savepoint), "");
}

#[test]
fn columns_that_matter_and_databases_that_are_dropped_are_handed_on() {
    let mut stream = Stream::at(position(4, None));
    let mut said = |sql: &str| stream.write(QUERY, &query("shop", sql));
    assert_eq!(
        said("ALTER TABLE users ADD price INT"),
        "changed shop.users"
    );
    assert_eq!(said("ALTER TABLE users ADD note INT"), "commit");
    assert_eq!(said("DROP DATABASE Shop"), "dropped Shop");
}

/// A reader before this one read rows with the columns that the server had when its binlog ended there.
#[test]
fn a_statement_on_columns_means_the_table_up_to_the_place_that_rows_were_read_with() {
    let alter = query("shop", "ALTER TABLE users ADD COLUMN a INT");
    // Words that are no tables may be among the names.
    let widened = |said: String| said.starts_with("changed ") && said.contains(" shop.users");
    let mut stream = Stream::at(position(4, None));
    assert_eq!(stream.write(QUERY, &alter), "commit");
    let mut place = position(stream.offset + 1, None);
    stream.assembler.read_with_columns_of(place.clone());
    assert_eq!(stream.assembler.columns_of(), Some(&place));
    let elsewhere = query("other", "ALTER TABLE users ADD COLUMN b INT");
    place.offset = stream.offset + 1_000;
    stream.assembler.read_with_columns_of(place.clone());
    assert_eq!(stream.write(QUERY, &elsewhere), "commit");
    while stream.assembler.columns_of().is_some() {
        assert!(widened(stream.write(QUERY, &alter)));
    }
    assert!(stream.offset >= place.offset);
    assert_eq!(stream.write(QUERY, &alter), "commit");
    // Numbers of files are compared, and not their names.
    for (file, ahead) in [("bin.999999", false), ("bin.1000000", true)] {
        place.file = file.into();
        let mut stream = Stream::at(crate::model::Position {
            file: "bin.1000000".into(),
            ..position(4, None)
        });
        stream.assembler.read_with_columns_of(place.clone());
        assert_eq!(stream.assembler.columns_of().is_some(), ahead, "{file}");
    }
}
