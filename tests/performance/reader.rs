//! What the daemon does between the socket and Redis, without either: events out of bytes, rows, plans, batches.

use std::sync::Arc;

use bytes::BytesMut;
use evictd::binlog::events::cutter::{Arrival, Events};
use evictd::binlog::reader::{Assembler, Step};
use evictd::config;
use evictd::evict::batch::Batch;
use evictd::evict::plan_item::{RuleInterest, plan_item};
use evictd::model::Position;
use evictd::rules::{RenderBuffers, Rules};

/// Where the daemon hands a batch on.
const BATCH_BYTES_MAX: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"\xfebin";

/// Reads binlogs and plans what they mean.
pub struct Reader {
    events: Events,
    assembler: Assembler<RuleInterest>,
    rules: Arc<Rules>,
    scratch: RenderBuffers,
    batch: Batch,
    keys: usize,
}

impl Reader {
    /// `rules` are `[[rule]]` tables of a configuration.
    pub fn new(rules: &str) -> Self {
        let text = format!(
            "name = \"performance\"\n[source]\nurl = \"mysql://evictd@127.0.0.1\"\n\
             [redis]\nurl = \"redis://127.0.0.1\"\n{rules}"
        );
        let config = config::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let rules = Arc::new(config.rules);
        let position = Position {
            file: "binlog.000001".into(),
            offset: 4,
            gtids: None,
        };
        Self {
            events: Events::default(),
            assembler: Assembler::new(RuleInterest(Arc::clone(&rules)), position),
            rules,
            scratch: RenderBuffers::default(),
            batch: Batch::default(),
            keys: 0,
        }
    }

    /// Reads every event of a binlog file's bytes.
    pub fn read(&mut self, file: &[u8]) {
        for event in events(file) {
            self.feed(event);
        }
    }

    /// Keys that were planned to be deleted, equal ones of one batch once.
    pub fn keys(&self) -> usize {
        self.keys + self.batch.keys()
    }

    pub fn feed(&mut self, event: &[u8]) {
        let Some(Arrival::Event(event)) = self.events.feed(BytesMut::from(event), true) else {
            panic!("the binlog is damaged");
        };
        let step = match self.assembler.feed(event) {
            Step::NeedsCatalog(table, event) => {
                self.assembler.learn(table, None);
                self.assembler.feed(event)
            }
            step => step,
        };
        let Step::Item(item) = step else { return };
        self.batch.committed_at(self.assembler.committed_at());
        let widened = plan_item(
            &self.rules,
            item,
            &mut self.scratch,
            &mut self.batch,
            |_, _| {},
        );
        assert!(widened.is_none(), "{widened:?}");
        if self.batch.size() >= BATCH_BYTES_MAX {
            self.keys += self.batch.take().keys();
        }
    }
}

/// The events of a binlog file, one by one.
pub fn events(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = file.strip_prefix(&MAGIC).expect("it is a binlog");
    std::iter::from_fn(move || {
        let size = rest.get(9..13)?.first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        let (event, left) = rest.split_at_checked(size)?;
        rest = left;
        Some(event)
    })
}
