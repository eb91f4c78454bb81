//! Any bytes as a stream of events: out of packets, through compressed
//! transactions and the assembler, to the plans of rules.
//!
//! The input is one event after the other, each behind two bytes of length. The
//! highest bit of the length leaves the size in the event's header as it is;
//! otherwise it is corrected, so that more than headers is tried.

#![no_main]

use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use evictd::binlog::reader::{Assembler, Interest, Item, Step};
use evictd::binlog::events::cutter::{Arrival, Events};
use evictd::binlog::decode::layout::TableLayout;
use evictd::binlog::decode::row::RowDecoder;
use evictd::config;
use evictd::model::invalidation::{Action, Plan, Widening};
use evictd::model::{Position, TableName};
use evictd::rules::{Rules, RenderBuffers, TablePlanner};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let text = r#"
        name = "fuzz"
        [source]
        url = "mysql://evictd@127.0.0.1"
        [redis]
        url = "redis://127.0.0.1"
        [[rule]]
        name = "every table"
        tables = ["*.*"]
        keys = ["all"]
        [[rule]]
        name = "users"
        tables = ["shop.users"]
        version = "version"
        keys = ["user:{id}:v{version}", "slug:{slug|lower}"]
        paths = ["/users/{slug}"]
    "#;
    config::parse(text).expect("the rules are valid").rules
});

struct Table {
    decoder: RowDecoder,
    planner: TablePlanner,
}

struct Ruled;

impl Interest for Ruled {
    type Table = Table;

    fn wants(&self, table: &TableName) -> bool {
        RULES.wants(table)
    }

    fn bind(&self, layout: TableLayout) -> Result<Table, String> {
        let planner = RULES.bind(&layout.schema).map_err(|error| error.message)?;
        let decoder = RowDecoder::new(Arc::new(layout), planner.projection());
        Ok(Table { decoder, planner })
    }
}

/// Takes plans and does nothing.
struct Nowhere;

impl Plan for Nowhere {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        black_box((rule, &action));
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        black_box((rule, reason));
    }
}

fuzz_target!(|input: &[u8]| {
    let position = Position {
        file: "bin.000001".into(),
        offset: 4,
        gtids: input.first().is_some_and(|byte| byte % 2 == 0).then(Default::default),
    };
    let mut assembler = Assembler::new(Ruled, position);
    let mut events = Events::default();
    let mut scratch = RenderBuffers::default();
    let mut rest = input;
    while let Some(([low, high], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes([*low, high & 0x7f])).min(after.len());
        let (event, after) = after.split_at(length);
        rest = after;
        let mut event = event.to_vec();
        if high & 0x80 == 0
            && let Some(size) = event.get_mut(9..13)
        {
            let length = u32::try_from(length).unwrap_or_default();
            size.copy_from_slice(&length.to_le_bytes());
        }
        // In two pieces, as packets may come.
        let (first, second) = event.split_at(length / 2);
        for (piece, last) in [(first, false), (second, true)] {
            if let Some(arrival) = events.feed(BytesMut::from(piece), last) {
                act(&mut assembler, arrival, &mut scratch);
            }
            while let Some(arrival) = events.unpacked() {
                act(&mut assembler, arrival, &mut scratch);
            }
        }
    }
    black_box((assembler.reading_gtids(), assembler.reading_at()));
});

fn act(assembler: &mut Assembler<Ruled>, arrival: Arrival, scratch: &mut RenderBuffers) {
    let mut step = match arrival {
        Arrival::Event(event) => assembler.feed(event),
        Arrival::Unreadable { event_type, reason } => assembler.feed_unreadable(event_type, reason),
    };
    if let Step::NeedsCatalog(table, event) = step {
        assembler.learn(table, None);
        step = assembler.feed(event);
    }
    match step {
        Step::Quiet => {}
        Step::NeedsCatalog(..) => panic!("the catalog was given"),
        Step::Item(Item::Commit) => {
            black_box(assembler.position());
        }
        Step::Item(Item::TablesChanged(tables)) => {
            for table in &tables {
                RULES.widen_table(table, Widening::Statement, &mut Nowhere);
            }
        }
        Step::Item(Item::DatabaseDropped(name)) => {
            RULES.widen_database(&name, Widening::Statement, &mut Nowhere);
        }
        Step::Item(Item::Statement(dml)) => {
            for table in &dml.targets {
                RULES.widen_table(table, Widening::Statement, &mut Nowhere);
            }
        }
        Step::Item(Item::AnyChanged(reason)) => {
            black_box(reason.to_string());
            RULES.widen_all(Widening::Undecodable, &mut Nowhere);
        }
        Step::Item(Item::Undecodable(table, _)) => {
            RULES.widen_table(&table, Widening::Undecodable, &mut Nowhere);
        }
        Step::Item(Item::Rows(table, payload)) => {
            let Ok(mut rows) = payload.parse().and_then(|event| table.decoder.rows(event)) else {
                return;
            };
            while let Ok(Some(change)) = rows.next_row() {
                table.planner.plan(&change, scratch, &mut Nowhere);
            }
        }
    }
}
