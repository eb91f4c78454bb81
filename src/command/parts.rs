//! Parts that several commands build from the configuration in the same way.

use std::sync::Arc;

use tokio::sync::watch;

use super::{CommandError, preflight};
use crate::binlog::server::replica_lag::{AURORA_TABLE, ReplicaLag};
use crate::buffer::{Buffer, Sender};
use crate::config::{Config, SettleConfig};
use crate::evict::bulk_paths::{BulkGuard, BulkRule, BulkRules};
use crate::evict::path_sink::ToBuffer;
use crate::evict::settling::Settling;

/// For each rule, how many paths at once are too many, and the wildcards that
/// are sent in their place.
pub(super) fn bulk_rules(config: &Config) -> BulkRules {
    let rule = |bulk: &crate::config::Bulk| BulkRule {
        threshold: bulk.threshold,
        wildcards: bulk.wildcards.clone(),
    };
    config
        .bulk
        .iter()
        .map(|bulk| (bulk.rule.as_str().into(), rule(bulk)))
        .collect()
}

/// The sink that puts paths into `buffer`, for each configured distribution.
pub(super) fn path_sink<B: Buffer>(config: &Config, buffer: Arc<B>, sender: Sender) -> ToBuffer<B> {
    let distributions = config
        .cloudfront
        .iter()
        .flat_map(|section| &section.distributions)
        .map(|distribution| {
            let (name, id) = (&distribution.name, &distribution.id);
            (name.as_str().into(), id.as_str().into())
        });
    ToBuffer::new(
        buffer,
        config.name.as_str().into(),
        distributions,
        BulkGuard::new(bulk_rules(config)),
        sender,
    )
}

/// When keys are deleted a second time. If that depends on the lag of the
/// readers, a task begins to follow it.
pub(super) fn settling(config: &Config) -> Result<Settling, CommandError> {
    match config.redis.settle_after {
        SettleConfig::Off => Ok(Settling::Off),
        SettleConfig::Fixed(after) => Ok(Settling::After(after)),
        SettleConfig::ReplicaLag { min, max } => {
            let connector = preflight::connector(&config.source)?;
            let (publish, applied) = watch::channel(None);
            // Ends with the pipeline, which listens.
            tokio::spawn(ReplicaLag::new(connector, AURORA_TABLE).follow(publish, min, max));
            Ok(Settling::Readers { min, max, applied })
        }
    }
}

/// A replica id that is stable for this name on this machine, and far from the
/// small numbers that people choose.
pub(super) fn derived_server_id(name: &str) -> u32 {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    crc32fast::hash(format!("{name}@{}", host.trim()).as_bytes()) | 0x8000_0000
}

/// Region, credentials and endpoints, found as every AWS tool finds them.
pub(crate) async fn aws_config() -> aws_config::SdkConfig {
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .load()
        .await
}
