//! The source of a turn, from the stored position on.

use std::sync::Arc;

use crate::binlog::connection::connector::Connector;
use crate::binlog::server::{Server, since};
use crate::binlog::stream::{Source, StreamSettings};
use crate::checkpoint::{Checkpoint, CheckpointStore, Stored};
use crate::command::parts::derived_server_id;
use crate::command::{CommandError, store};
use crate::config::{CheckpointConfig, Config};
use crate::evict::plan_item::RuleInterest;
use crate::evict::tail::Tail;
use crate::model::position::Start;

/// Whether plans are acted on or only printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Acted on, in an epoch that is not earlier than the lock was granted.
    Live {
        granted_at_ms: u64,
    },
    DryRun,
}

/// Opens the source at the checkpoint, or at the configured start.
pub(super) async fn open_tail(
    config: Config,
    connector: Connector,
    mut server: Server,
    checkpoint: &mut CheckpointStore,
    mode: Mode,
) -> Result<Tail, CommandError> {
    let uuid: Arc<str> = server.facts().server_uuid.as_str().into();
    let settings = stream_settings(&config, mode);
    let mut file_begun_s = None;
    let mut columns_of = None;
    let mut lost = None;
    let stored = match mode {
        Mode::Live { granted_at_ms } => checkpoint.lead(granted_at_ms).await?,
        Mode::DryRun => checkpoint.load().await?,
    };
    let (position, uuid) = match (stored, &config.checkpoint) {
        (Some(stored), _) => {
            file_begun_s = stored.file_begun_s;
            columns_of = stored.columns_of();
            (stored.position(), Arc::from(stored.server_uuid.as_str()))
        }
        // Over, never under: Redis cannot tell a lost key from one that never
        // was. The position is stored once everything is invalidated.
        (None, CheckpointConfig::Redis { .. }) => {
            lost = Some(format!(
                "there is no checkpoint {}: it was lost, or this is the first start (if so, \
                 `evictd checkpoint set current` beforehand avoids invalidating everything)",
                store::place(&config)
            ));
            (server.locate(&Start::Earliest).await?, uuid)
        }
        (None, CheckpointConfig::File { .. }) => {
            let position = server.locate(&config.source.start).await?;
            if mode != Mode::DryRun {
                // Nothing lost: a crash before the first commit begins here
                // again.
                if !position.file.is_empty() {
                    let begun = since::begun_s(&connector, settings.server_id, &position.file);
                    file_begun_s = Some(begun.await?);
                }
                checkpoint
                    .store(&Stored::new(&position, &uuid, None).begun_at(file_begun_s))
                    .await?;
            }
            (position, uuid)
        }
    };
    tracing::info!(
        source = connector.address(),
        version = server.facts().version,
        server_uuid = server.facts().server_uuid,
        position = %position,
        gtids = position.gtids.as_ref().map(ToString::to_string),
        epoch = (mode != Mode::DryRun).then(|| checkpoint.epoch()),
        "starting"
    );
    let rules = Arc::new(config.rules);
    let interest = RuleInterest(Arc::clone(&rules));
    let mut source = Source::new(connector, settings, interest, position);
    if let Some(begun_s) = file_begun_s {
        source.expect_file_begun(begun_s);
    }
    if let Some(place) = columns_of {
        source.read_with_columns_of(place);
    }
    let tail = Tail::new(source, rules, config.source.on_gap, Some(uuid));
    Ok(match lost {
        Some(reason) => tail.after_loss(&reason),
        None => tail,
    })
}

fn stream_settings(config: &Config, mode: Mode) -> StreamSettings {
    let server_id = match (config.source.server_id, mode) {
        (Some(id), Mode::Live { .. }) => id,
        (None, Mode::Live { .. }) => derived_server_id(&config.name),
        // Under the daemon's id a dry run would disconnect the daemon.
        (_, Mode::DryRun) => derived_server_id(&format!("{}/dry-run", config.name)),
    };
    StreamSettings {
        server_id,
        heartbeat: config.source.heartbeat,
    }
}
