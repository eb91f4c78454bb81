//! The source of a replay, from the beginning of the range to its end.

use std::sync::Arc;

use super::range::{Range, bound, server_id};
use crate::binlog::connection::connector::Connector;
use crate::binlog::stream::{Source, StreamSettings};
use crate::cli::ReplayArgs;
use crate::config::Config;
use crate::evict::plan_item::RuleInterest;
use crate::evict::tail::Tail;
use crate::model::position::{Bound, OnGap};

/// The source of a replay: it begins at the range and ends by itself.
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
    // A server that is asked by GTIDs leaves out what is known, and may have
    // nothing to send that would lead to the end.
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
    let since_us = options.since.map_or(0, |since| since.as_microsecond());
    // A gap is for the operator, who named the range.
    Tail::new(
        source,
        rules,
        OnGap::Halt,
        Some(Arc::clone(&range.server_uuid)),
    )
    .since(u64::try_from(since_us).unwrap_or(0))
}
