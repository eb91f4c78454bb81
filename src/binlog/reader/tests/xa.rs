//! XA transactions: what becomes visible at their commit.

use super::history::*;
use crate::binlog::events::event_type::*;

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
