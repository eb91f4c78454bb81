//! A server that writes a history of events, and a reader of them.

use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::FormatDescriptionEvent;

use crate::binlog::decode::catalog::CatalogColumn;
use crate::binlog::decode::layout::TableLayout;
use crate::binlog::events::event::Event;
use crate::binlog::events::event_type::*;
use crate::binlog::reader::{Assembler, Interest, Item, Step};
use crate::model::{Position, TableName};

/// Wants everything in `shop`, and cannot handle `shop.broken`.
pub(super) struct Shop;

impl Interest for Shop {
    type Table = TableName;

    fn wants(&self, table: &TableName) -> bool {
        &*table.schema == "shop"
    }

    fn reads(&self, table: &TableName, column: &str) -> bool {
        table == &TableName::new("shop", "users") && column == "price"
    }

    fn bind(&self, layout: TableLayout) -> Result<TableName, String> {
        match &*layout.schema.name.table {
            "broken" => Err("no rule fits".to_owned()),
            _ => Ok(layout.schema.name.clone()),
        }
    }
}

/// A server that writes events one after the other, and a reader of them.
pub(super) struct Stream {
    pub(super) assembler: Assembler<Shop>,
    /// Where the server stands.
    pub(super) offset: u64,
}

pub(super) const UUID: [u8; 16] = [0x11; 16];
pub(super) const UUID_TEXT: &str = "11111111-1111-1111-1111-111111111111";
pub(super) const USERS: u64 = 71;

pub(super) fn position(offset: u64, gtids: Option<&str>) -> Position {
    Position {
        file: "bin.000001".into(),
        offset,
        gtids: gtids.map(|set| set.parse().unwrap()),
    }
}

pub(super) fn event(event_type: u8, flags: u16, log_pos: u32, body: &[u8]) -> Event {
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

pub(super) fn query(schema: &str, sql: &str) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.push(u8::try_from(schema.len()).unwrap());
    body.extend([0; 4]);
    body.extend(schema.bytes());
    body.push(0);
    body.extend(sql.bytes());
    body
}

pub(super) fn gtid(number: u64) -> Vec<u8> {
    let mut body = vec![1];
    body.extend(UUID);
    body.extend(number.to_le_bytes());
    body
}

pub(super) fn table_map(id: u64, schema: &str, table: &str) -> Vec<u8> {
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

pub(super) fn insert(id: u64, value: u32) -> Vec<u8> {
    let mut body = id.to_le_bytes()[..6].to_vec();
    body.extend([1, 0, 2, 0, 1, 1, 0]);
    body.extend(value.to_le_bytes());
    body
}

pub(super) fn rotate(file: &str, offset: u64) -> Vec<u8> {
    let mut body = offset.to_le_bytes().to_vec();
    body.extend(file.bytes());
    body
}

/// The preparation's event, whose xid nobody reads.
pub(super) fn xa_prepare(one_phase: bool) -> Vec<u8> {
    let mut body = vec![u8::from(one_phase)];
    for number in [1_u32, 1, 0] {
        body.extend(number.to_le_bytes());
    }
    body.push(b'a');
    body
}

pub(super) fn id_column() -> Vec<CatalogColumn> {
    vec![CatalogColumn {
        name: "id".to_owned(),
        column_type: "int".to_owned(),
        charset: None,
        primary_key: true,
    }]
}

impl Stream {
    pub(super) fn at(position: Position) -> Self {
        let offset = position.offset;
        Self {
            assembler: Assembler::new(Shop, position),
            offset,
        }
    }

    /// The result of a step, as text.
    pub(super) fn step(&mut self, event: Event) -> String {
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
            Step::Item(Item::DatabaseDropped(name)) => format!("dropped {name}"),
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
    pub(super) fn write(&mut self, event_type: u8, body: &[u8]) -> String {
        self.write_flagged(event_type, 0, body)
    }

    pub(super) fn write_flagged(&mut self, event_type: u8, flags: u16, body: &[u8]) -> String {
        self.offset += u64::try_from(19 + body.len()).unwrap();
        let low = u32::try_from(self.offset & 0xffff_ffff).unwrap();
        self.step(event(event_type, flags, low, body))
    }

    /// An event out of a compressed payload, which has no place of its own.
    pub(super) fn unpack(&mut self, event_type: u8, body: &[u8]) -> String {
        self.step(event(event_type, 0, 0, body))
    }

    /// One transaction that inserts a row into `shop.users`.
    pub(super) fn transaction(&mut self, number: u64) -> Vec<String> {
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
    pub(super) fn prepare(&mut self, xid: &str, tables: &[(&str, &str)]) -> Vec<String> {
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
    pub(super) fn xa(&mut self, sql: &str) -> String {
        assert_eq!(self.write(GTID, &gtid(2)), "");
        let said = self.write(QUERY, &query("", sql));
        assert!(!self.assembler.in_transaction(), "{sql}");
        assert_eq!(self.assembler.position().offset, self.offset, "{sql}");
        said
    }

    pub(super) fn committed(&self) -> String {
        let position = self.assembler.position();
        match &position.gtids {
            Some(gtids) => format!("{position} {gtids}"),
            None => position.to_string(),
        }
    }
}
