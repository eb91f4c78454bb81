//! The source that reads the range.

use std::sync::Arc;

use super::range::{Range, bound, server_id};
use crate::binlog::connection::connector::Connector;
use crate::binlog::stream::{Source, StreamSettings};
use crate::cli::ReplayArgs;
use crate::config::Config;
use crate::evict::plan_item::RuleInterest;
use crate::evict::tail::Tail;
use crate::model::CommitTime;
use crate::model::position::{Bound, OnGap};

/// Opens the source at the beginning of the range. It ends where the range
/// does.
pub(super) fn open_tail(
    config: &mut Config,
    connector: Connector,
    range: &Range,
    options: &ReplayArgs,
) -> Tail {
    let rules = Arc::new(std::mem::take(&mut config.rules));
    let mut until = vec![Bound::Offset {
        file: Arc::clone(&range.end.file),
        offset: range.end.offset,
    }];
    // A server that is asked by GTIDs leaves out known transactions, and may
    // have nothing to send that reaches the offset.
    if range.from.gtids.is_some() {
        until.push(bound(&range.end));
    }
    until.extend(range.to.clone());
    let mut source = Source::new(
        connector,
        StreamSettings {
            server_id: server_id(config),
            heartbeat: config.source.heartbeat,
        },
        RuleInterest(Arc::clone(&rules)),
        range.from.clone(),
    )
    .until(until);
    if let Some(begun_s) = range.file_begun_s {
        source.expect_file_begun(begun_s);
    }
    // The operator named the range, and has to know of a gap in it.
    Tail::new(
        source,
        rules,
        OnGap::Halt,
        Some(Arc::clone(&range.server_uuid)),
    )
    .since(options.since.and_then(CommitTime::from_timestamp))
}
