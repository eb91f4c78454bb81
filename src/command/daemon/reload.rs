//! SIGHUP: the configuration is read again and checked as at the start, while
//! the current turn goes on. One that fits is handed to [`super::turns`], which
//! ends that turn in order and begins the next one with it.
//!
//! A configuration is taken over as a whole or not at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::display;
use super::shown::Shown;
use super::turn::Checked;
use crate::cli::Role;
use crate::command::CommandError;
use crate::command::misfits::Misfits;
use crate::config::{self, CheckpointConfig, Config};
use crate::telemetry::{metric, systemd};

/// Time that the servers may take to answer while a configuration is checked.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// A configuration that a reload asked for and that fits the servers.
pub(super) struct Takeover {
    pub(super) checked: Checked,
    /// Bound to its `metrics.listen`, unless this daemon listens there already.
    pub(super) listener: Option<TcpListener>,
    pub(super) done: Done,
}

/// Is told once a configuration is in use, with the position that reading began
/// at, if this process reads; or why it is not in use.
pub(super) type Done = oneshot::Sender<Result<Option<String>, CommandError>>;

/// Catches SIGHUP from now on.
pub(super) fn hangups() -> Result<Signal, CommandError> {
    signal(SignalKind::hangup()).map_err(CommandError::failed)
}

/// Refuses every reload: a dry run keeps the configuration that it began with.
pub(super) fn refuse(mut hangups: Signal, shown: watch::Sender<Shown>) {
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            begin();
            let error = "a dry run keeps the configuration that it began with: restart it";
            let refused = CommandError::configuration(error.to_owned());
            systemd::reload_ends();
            say(Err(refused), &shown);
        }
    });
}

/// Loads the configuration at each signal. Ends with the process.
pub(super) fn follow(mut hangups: Signal, reload: Reload) -> mpsc::Receiver<Takeover> {
    let (takeovers, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            begin();
            let outcome = Box::pin(reload.load(&takeovers)).await;
            systemd::reload_ends();
            say(outcome, &reload.shown);
        }
    });
    receiver
}

/// The outcome of a configuration that is handed over.
type Pending = BoxFuture<'static, Result<ReloadEnd, CommandError>>;

/// The end of a reload that was not refused.
enum ReloadEnd {
    InUse {
        rules: usize,
        sha256: String,
        /// The position from which on changes are planned with the new rules, if
        /// this process reads the binlog.
        position: Option<String>,
    },
    /// The process ends, or a later reload came first.
    Dropped,
}

/// Reads the configuration's file again.
#[derive(Clone)]
pub(super) struct Reload {
    path: PathBuf,
    role: Role,
    /// The configuration that the process began with. Its name and the place of
    /// its checkpoint stay, since they say whose lock and position it has.
    first: Config,
    shown: watch::Sender<Shown>,
}

impl Reload {
    pub(super) fn new(
        path: &Path,
        role: Role,
        first: &Config,
        shown: watch::Sender<Shown>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            role,
            first: first.clone(),
            shown,
        }
    }

    /// Loads the file for SIGHUP.
    async fn load(&self, takeovers: &mpsc::Sender<Takeover>) -> Result<ReloadEnd, CommandError> {
        let (takeover, outcome) = self.read(Misfits::Refused).await?;
        match takeovers.send(takeover).await {
            Ok(()) => outcome.await,
            Err(_) => Ok(ReloadEnd::Dropped),
        }
    }

    /// Loads the file for a process that takes over, and has read `text` in it
    /// before; `None` if it holds the same, or is refused. The rest is said once
    /// it is known.
    pub(super) async fn again(&self, text: &str) -> Option<Takeover> {
        if std::fs::read_to_string(&self.path).is_ok_and(|now| now == text) {
            return None;
        }
        tracing::info!("the configuration's file has changed since it was read: loading it again");
        let shown = self.shown.clone();
        // The leader before may have run with it.
        match Box::pin(self.read(Misfits::Degraded)).await {
            Ok((takeover, outcome)) => {
                tokio::spawn(async move { say(outcome.await, &shown) });
                Some(takeover)
            }
            Err(error) => {
                say(Err(error), &shown);
                tracing::error!(
                    "running with an older configuration than the evictd that led before may have had: see that its file is right here, and send SIGHUP"
                );
                None
            }
        }
    }

    /// Reads and checks the file. Returns the configuration to be taken over, and
    /// what becomes of it.
    async fn read(&self, misfits: Misfits) -> Result<(Takeover, Pending), CommandError> {
        let config = config::load(&self.path)?;
        let fixed = fixed_fields(&self.first, &config);
        if !fixed.is_empty() {
            return Err(CommandError::configuration(format!(
                "{}: a restart is needed to change {}; nothing of the file was taken over",
                self.path.display(),
                fixed.join(", ")
            )));
        }
        let listens = self.shown.borrow().listens;
        let listener = display::bind(&config, listens).await?;
        let checking = Checked::new(config.clone(), &self.path, self.role, misfits);
        let checked = tokio::time::timeout(CHECK_MAX, Box::pin(checking))
            .await
            .map_err(|_| {
                CommandError::unreachable(format!(
                    "the servers that {} names did not all answer within {} s",
                    self.path.display(),
                    CHECK_MAX.as_secs()
                ))
            })??;
        let (done, outcome) = oneshot::channel();
        let takeover = Takeover {
            checked,
            listener,
            done,
        };
        let outcome = async move {
            let Ok(outcome) = outcome.await else {
                return Ok(ReloadEnd::Dropped);
            };
            Ok(ReloadEnd::InUse {
                position: outcome?,
                rules: config.rules.iter().count(),
                sha256: crate::command::status::daemon::hash(&config.text),
            })
        };
        Ok((takeover, outcome.boxed()))
    }
}

/// The changed fields among those that stay as they were when the process
/// began.
fn fixed_fields(first: &Config, wanted: &Config) -> Vec<&'static str> {
    let mut out = Vec::new();
    if first.name != wanted.name {
        out.push("name");
    }
    if first.checkpoint != wanted.checkpoint {
        out.push("checkpoint");
    }
    let in_redis = matches!(first.checkpoint, CheckpointConfig::Redis { .. });
    let (before, after) = (&first.redis, &wanted.redis);
    if in_redis && (before.url != after.url || before.layout != after.layout) {
        out.push("redis (which holds the checkpoint)");
    }
    out
}

/// Begins a reload. The service manager waits from here on until it is over.
fn begin() {
    tracing::info!("SIGHUP: loading the configuration again");
    systemd::reload_begins();
}

/// Says how a reload ended. The daemon runs on, whether it was taken over or
/// refused.
fn say(outcome: Result<ReloadEnd, CommandError>, shown: &watch::Sender<Shown>) {
    let count = |outcome: &'static str| {
        metrics::counter!(metric::CONFIG_RELOADS, "outcome" => outcome).increment(1);
    };
    match outcome {
        Ok(ReloadEnd::InUse {
            rules,
            sha256,
            position,
        }) => {
            count("applied");
            tracing::info!(
                rules,
                position,
                sha256,
                "the configuration was loaded again and is in use"
            );
        }
        Ok(ReloadEnd::Dropped) => {
            tracing::info!("the configuration that was loaded again is not needed any more");
        }
        Err(error) => {
            count("refused");
            let reason = format!("{:#}", error.cause);
            // Set first, so that whoever reads the log finds it in the status.
            shown.send_modify(|shown| {
                shown.daemon.loaded.refused = Some((Timestamp::now(), reason.clone()));
            });
            tracing::error!(
                error = reason,
                "the configuration was not loaded again: the previous one stays in use"
            );
        }
    }
}
