//! Where reading stands, over files and beyond 4 GiB.

use super::history::*;
use crate::binlog::events::event_type::*;
use crate::binlog::events::header::{ARTIFICIAL_FLAG, IGNORABLE_FLAG};
use crate::binlog::reader::offset::next_offset;

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
fn known_transactions_at_a_files_beginning_are_passed_over_and_no_others() {
    let known = format!("{UUID_TEXT}:1-2");
    let mut stream = Stream::at(position(4, Some(&known)));
    let begun = stream.committed();
    let of = |number: Option<u64>| match number {
        Some(number) => (GTID, gtid(number)),
        None => (ANONYMOUS_GTID, gtid(0)),
    };
    let mut transaction = |number: Option<u64>| {
        let mut told = Vec::new();
        for (event_type, body) in [
            of(number),
            (QUERY, query("shop", "BEGIN")),
            (TABLE_MAP, table_map(USERS, "shop", "users")),
            (WRITE_ROWS, insert(USERS, 1)),
            (XID, vec![0; 8]),
        ] {
            told.push(stream.write(event_type, &body));
        }
        told.retain(|step| !step.is_empty());
        (told, stream.committed())
    };
    assert_eq!(transaction(Some(1)), (vec![], begun.clone()));
    let (told, committed) = transaction(None);
    assert_eq!(told, ["insert shop.users", "commit"], "it is in no set");
    assert_ne!(committed, begun);
    // What the set has may stand behind what it lacks: it comes once more.
    assert_eq!(transaction(Some(2)).0, ["insert shop.users", "commit"]);
    assert_eq!(transaction(Some(3)).0, ["insert shop.users", "commit"]);
    // Reading begins there again, and a statement is a transaction of its own.
    let mut stream = Stream::at(position(4, Some(&known)));
    stream.write(GTID, &gtid(1));
    assert_eq!(stream.write(QUERY, &query("shop", "DROP TABLE users")), "");
    stream.write(GTID, &gtid(3));
    assert_ne!(stream.write(QUERY, &query("shop", "DROP TABLE users")), "");
    // Nobody knows what an event of an unknown type begins.
    let mut stream = Stream::at(position(4, Some(&known)));
    stream.write(GTID, &gtid(1));
    assert_ne!(stream.write(200, &[]), "");
    stream.write(TABLE_MAP, &table_map(USERS, "shop", "users"));
    assert_eq!(
        stream.write(WRITE_ROWS, &insert(USERS, 1)),
        "insert shop.users"
    );
}
