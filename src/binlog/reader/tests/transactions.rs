//! Transactions of rows and of statements, compressed or not.

use super::history::*;
use crate::binlog::events::event_type::*;

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
    assert_eq!(
        stream.assembler.committed_at().unwrap().micros(),
        1_700_000_001_000_000
    );
    assert_eq!(stream.transaction(2), ["insert shop.users", "commit"]);
    assert_eq!(
        stream.committed(),
        format!("bin.000001:{} {UUID_TEXT}:1-2", stream.offset)
    );
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
    assert_eq!(stream.committed(), format!("{UUID_TEXT}:1 {UUID_TEXT}:1"));
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
