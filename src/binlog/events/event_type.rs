//! The types in the headers of events (MySQL source,
//! `libs/mysql/binlog/event/binlog_event.h`).

pub const QUERY: u8 = 2;
pub const STOP: u8 = 3;
pub const ROTATE: u8 = 4;
pub const INTVAR: u8 = 5;
pub const APPEND_BLOCK: u8 = 9;
pub const RAND: u8 = 13;
pub const USER_VAR: u8 = 14;
pub const FORMAT_DESCRIPTION: u8 = 15;
pub const XID: u8 = 16;
pub const BEGIN_LOAD_QUERY: u8 = 17;
pub const EXECUTE_LOAD_QUERY: u8 = 18;
pub const TABLE_MAP: u8 = 19;
/// Rows events before MySQL 5.6, without extra data.
pub const WRITE_ROWS_V1: u8 = 23;
pub const UPDATE_ROWS_V1: u8 = 24;
pub const DELETE_ROWS_V1: u8 = 25;
pub const INCIDENT: u8 = 26;
pub const HEARTBEAT: u8 = 27;
pub const IGNORABLE: u8 = 28;
pub const ROWS_QUERY: u8 = 29;
pub const WRITE_ROWS: u8 = 30;
pub const UPDATE_ROWS: u8 = 31;
pub const DELETE_ROWS: u8 = 32;
pub const GTID: u8 = 33;
pub const ANONYMOUS_GTID: u8 = 34;
pub const PREVIOUS_GTIDS: u8 = 35;
pub const TRANSACTION_CONTEXT: u8 = 36;
pub const VIEW_CHANGE: u8 = 37;
pub const XA_PREPARE: u8 = 38;
/// With differences of JSON documents in place of documents.
pub const PARTIAL_UPDATE_ROWS: u8 = 39;
pub const TRANSACTION_PAYLOAD: u8 = 40;
pub const HEARTBEAT_V2: u8 = 41;
/// A GTID with a tag, since MySQL 8.3.
pub const TAGGED_GTID: u8 = 42;
/// Of Aurora's own, without changes of rows.
pub const AURORA: std::ops::RangeInclusive<u8> = 100..=101;

/// Whether events of this type carry changes of rows.
#[inline]
pub fn carries_rows(event_type: u8) -> bool {
    matches!(
        event_type,
        WRITE_ROWS_V1
            | UPDATE_ROWS_V1
            | DELETE_ROWS_V1
            | WRITE_ROWS
            | UPDATE_ROWS
            | DELETE_ROWS
            | PARTIAL_UPDATE_ROWS
    )
}
