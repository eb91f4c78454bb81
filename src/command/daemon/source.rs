//! The source of a turn, from the stored position on.

use std::sync::Arc;

use crate::binlog::connection::connector::Connector;
use crate::binlog::server::{Server, since};
use crate::binlog::stream::{Source, StreamSettings};
use crate::checkpoint::{Checkpoint, CheckpointStore, Stored, StoredBy};
use crate::command::parts::derived_server_id;
use crate::command::{CommandError, store};
use crate::config::{CheckpointConfig, Config};
use crate::evict::plan_item::RuleInterest;
use crate::evict::tail::Tail;
use crate::model::CacheRuns;
use crate::model::position::Start;

/// Whether plans are acted on or only printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Acted on, in an epoch that is not earlier than the lock was granted.
    Live {
        granted_at_ms: u64,
        /// Whether another process may have led until then.
        stood_by: bool,
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
    let mut at_end = false;
    let mut lost = None;
    let mut cache_runs = CacheRuns::default();
    let mut buffer = None;
    let stored = match mode {
        Mode::Live { granted_at_ms, .. } => checkpoint.lead(granted_at_ms).await?,
        Mode::DryRun => checkpoint.load().await?,
    };
    if let (Some(by), Mode::Live { stood_by, .. }) =
        (stored.as_ref().and_then(|stored| stored.by.as_ref()), mode)
    {
        compare(by, &config, stood_by);
    }
    let (position, uuid) = match (stored, nothing_stored(&config, mode)) {
        (Some(stored), _) => {
            file_begun_s = stored.file_begun_s;
            columns_of = stored.columns_of();
            cache_runs = Arc::new(stored.cache_runs.clone());
            buffer.clone_from(&stored.buffer);
            (stored.position(), Arc::from(stored.server_uuid.as_str()))
        }
        // Over, never under: the position is stored once everything is
        // invalidated.
        (None, Some(why)) => {
            let place = store::place(&config);
            lost = Some(format!("there is no checkpoint {place}: {why}"));
            (server.locate(&Start::Earliest).await?, uuid)
        }
        (None, None) => {
            at_end = config.source.start == Start::Current;
            let position = server.locate(&config.source.start).await?;
            if mode != Mode::DryRun {
                // Nothing lost: a crash before the first commit begins here again.
                if position.has_place() {
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
    if at_end {
        source.begin_at_end();
    }
    if let Some(begun_s) = file_begun_s {
        source.expect_file_begun(begun_s);
    }
    if let Some(place) = columns_of {
        source.read_with_columns_of(place);
    }
    let mut tail = Tail::new(source, rules, config.source.on_gap, Some(uuid));
    tail.done_in(cache_runs);
    tail.accepted_by = buffer;
    Ok(match lost {
        Some(reason) => tail.after_loss(&reason),
        None => tail,
    })
}

/// Why changes are lost where no position is stored; `None` at a first start.
fn nothing_stored(config: &Config, mode: Mode) -> Option<&'static str> {
    match (&config.checkpoint, mode) {
        // Redis cannot tell a lost key from one that never was.
        (CheckpointConfig::Redis { .. }, _) => Some(
            "it was lost, or this is the first start (if so, `evictd checkpoint set current` \
             beforehand avoids invalidating everything)",
        ),
        (CheckpointConfig::File { .. }, Mode::Live { stood_by: true, .. }) => Some(
            "the evictd that led until now stores its position elsewhere, on its own machine; \
             standbys on other machines need checkpoint.store = \"redis\"",
        ),
        (CheckpointConfig::File { .. }, _) => None,
    }
}

/// Says so if this process works with another configuration than the leader
/// before.
fn compare(by: &StoredBy, config: &Config, stood_by: bool) {
    let now = store::stored_by(config);
    if by.config_sha256 == now.config_sha256 {
        return;
    }
    let (before, now) = (&by.config_sha256, &now.config_sha256);
    if stood_by {
        tracing::warn!(
            before,
            now,
            "the evictd that led before had another configuration (SHA-256): see that the file is the same on all machines"
        );
    } else {
        tracing::info!(
            before,
            now,
            "the configuration is another one than that of the stored position (SHA-256)"
        );
    }
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
