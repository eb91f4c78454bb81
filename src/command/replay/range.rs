//! The positions between which changes are replayed.

use std::sync::Arc;

use crate::binlog::connection::connector::Connector;
use crate::binlog::server::Server;
use crate::binlog::server::since;
use crate::checkpoint::{Checkpoint, Stored};
use crate::cli::ReplayArgs;
use crate::command::CommandError;
use crate::command::parts::derived_server_id;
use crate::command::store;
use crate::config::Config;
use crate::model::Position;
use crate::model::position::{Bound, FIRST_EVENT_OFFSET, Start};

/// The range of the binlog that is replayed.
pub(super) struct Range {
    pub(super) from: Position,
    /// The server that `from` is a position of.
    pub(super) server_uuid: Arc<str>,
    /// When the binlog file at `from` was begun, if a checkpoint says so.
    pub(super) file_begun_s: Option<u32>,
    pub(super) to: Option<Bound>,
    /// The position at which it ends, as `--to` takes it.
    pub(super) goal: String,
    /// The end of the server's binlog when the replay began.
    pub(super) end: Position,
}

impl Range {
    pub(super) async fn locate(
        server: &mut Server,
        connector: &Connector,
        config: &Config,
        options: &ReplayArgs,
    ) -> Result<Self, CommandError> {
        let end = server.status().await?;
        let mut server_uuid: Arc<str> = server.facts().server_uuid.as_str().into();
        let mut file_begun_s = None;
        let from = match (&options.from, options.since) {
            (Some(Start::Checkpoint), _) => {
                let stored = stored(config).await?;
                server_uuid = stored.server_uuid.as_str().into();
                file_begun_s = stored.file_begun_s;
                stored.position()
            }
            (Some(start), _) => {
                let position = server.locate(start).await?;
                server.check_boundary(&position).await?;
                position
            }
            (None, Some(since)) => {
                since::file_at(server, connector, server_id(config), since.as_second()).await?
            }
            (None, None) => {
                return Err(CommandError::configuration(
                    "replay needs --from or --since".to_owned(),
                ));
            }
        };
        let to = match &options.to {
            None | Some(Start::Current) => None,
            Some(Start::Earliest) => {
                return Err(CommandError::configuration(
                    "--to earliest leaves nothing to replay".to_owned(),
                ));
            }
            Some(Start::Checkpoint) => Some(bound(&stored(config).await?.position())),
            Some(Start::Offset { file, offset }) => Some(Bound::Offset {
                file: Arc::clone(file),
                offset: *offset,
            }),
            Some(Start::Gtids(set)) => Some(Bound::Gtids(set.clone())),
        };
        if to
            .as_ref()
            .is_some_and(|to| to.reached(&from) && *to != bound(&from))
        {
            return Err(CommandError::configuration(format!(
                "--to lies before --from ({}): nothing was replayed",
                name(&from)
            )));
        }
        let unknown = from.gtids.is_none() && from.offset != FIRST_EVENT_OFFSET;
        if let (Some(Bound::Gtids(_)), true) = (&to, unknown) {
            return Err(CommandError::configuration(format!(
                "--to is a GTID set, and it is not known which transactions are before --from {from}: name a file and offset, or a --from that is a GTID set or the beginning of a file"
            )));
        }
        let goal = match &to {
            None => end.to_string(),
            Some(Bound::Offset { file, offset }) => format!("{file}:{offset}"),
            Some(Bound::Gtids(set)) => set.to_string(),
        };
        Ok(Self {
            from,
            server_uuid,
            file_begun_s,
            to,
            goal,
            end,
        })
    }

    pub(super) fn name(&self) -> String {
        name(&self.from)
    }
}

/// A position as `--from` takes it.
pub(super) fn name(position: &Position) -> String {
    match &position.gtids {
        Some(gtids) if !gtids.is_empty() => gtids.to_string(),
        _ => position.to_string(),
    }
}

pub(super) fn bound(position: &Position) -> Bound {
    match &position.gtids {
        Some(gtids) if !gtids.is_empty() => Bound::Gtids(gtids.clone()),
        _ => Bound::Offset {
            file: Arc::clone(&position.file),
            offset: position.offset,
        },
    }
}

async fn stored(config: &Config) -> Result<Stored, CommandError> {
    let stored = store::open(config)?.load().await?;
    stored.ok_or_else(|| {
        CommandError::configuration(format!(
            "there is no checkpoint {}; name a position",
            store::place(config)
        ))
    })
}

/// The replica id of a replay. Under the daemon's id it would disconnect the
/// daemon.
pub(super) fn server_id(config: &Config) -> u32 {
    derived_server_id(&format!("{}/replay", config.name))
}
