//! SIGHUP: the configuration is read again and checked as at the start, while
//! the turn in hand goes on. What is found fit is handed to [`super::turns`],
//! which ends that turn in order and begins the next one with it.
//!
//! A configuration is taken over as a whole or not at all.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::display;
use super::shown::Shown;
use super::turn::Checked;
use crate::cli::{Global, Role};
use crate::command::CommandError;
use crate::config::{self, CheckpointConfig, Config};
use crate::telemetry::{metric, systemd};

/// Time that servers may take to say whether the configuration fits them.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// A configuration that was asked for and found fit.
pub(super) struct Takeover {
    pub(super) checked: Checked,
    /// Bound to its `metrics.listen`, where nothing of this daemon listens yet.
    pub(super) listener: Option<TcpListener>,
    /// Told when the configuration is in use, and from which position on where
    /// it reads; or why it is not.
    pub(super) done: oneshot::Sender<Result<Option<String>, CommandError>>,
}

/// SIGHUP from now on.
pub(super) fn hangups() -> Result<Signal, CommandError> {
    signal(SignalKind::hangup()).map_err(CommandError::failed)
}

/// Refuses every reload: a dry run keeps the configuration that it began with.
pub(super) fn refuse(mut hangups: Signal, shown: watch::Sender<Shown>) {
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            begin();
            let error = "a dry run keeps the configuration that it began with: start it again";
            end(Err(CommandError::configuration(error.to_owned())), &shown);
        }
    });
}

/// Loads the configuration at each signal. Ends with the process.
pub(super) fn follow(
    mut hangups: Signal,
    global: &Global,
    role: Role,
    config: &Config,
    shown: watch::Sender<Shown>,
) -> mpsc::Receiver<Takeover> {
    let (takeovers, receiver) = mpsc::channel(1);
    let reload = Reload {
        path: global.config.clone(),
        role,
        first: config.clone(),
        takeovers,
    };
    tokio::spawn(async move {
        let mut in_use = reload.first.clone();
        while hangups.recv().await.is_some() {
            begin();
            let outcome = Box::pin(reload.load(&mut in_use)).await;
            end(outcome, &shown);
        }
    });
    receiver
}

/// What a reload did.
struct TakenOver {
    rules: usize,
    sha256: String,
    /// From where on changes are planned with the rules, where any are.
    position: Option<String>,
}

struct Reload {
    path: PathBuf,
    role: Role,
    /// Its name and the place of its checkpoint stay for as long as the process
    /// runs: they say whose lock and whose position it has.
    first: Config,
    takeovers: mpsc::Sender<Takeover>,
}

impl Reload {
    async fn load(&self, in_use: &mut Config) -> Result<TakenOver, CommandError> {
        let config = config::load(&self.path)?;
        let fixed = fixed_fields(&self.first, &config);
        if !fixed.is_empty() {
            return Err(CommandError::configuration(format!(
                "{}: a restart is needed for {}; nothing else was taken over either",
                self.path.display(),
                fixed.join(", ")
            )));
        }
        let listener = display::bind(&config, in_use.metrics_listen).await?;
        let checking = Checked::new(config.clone(), &self.path, self.role);
        let checked = tokio::time::timeout(CHECK_MAX, Box::pin(checking)).await;
        let checked = checked.map_err(|_| {
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
        let ending = || CommandError::failed(anyhow::anyhow!("the daemon is ending"));
        self.takeovers.send(takeover).await.map_err(|_| ending())?;
        let position = outcome.await.map_err(|_| ending())??;
        let taken_over = TakenOver {
            rules: config.rules.iter().count(),
            sha256: crate::command::status::daemon::hash(&config.text),
            position,
        };
        *in_use = config;
        Ok(taken_over)
    }
}

/// The fields that differ and stay what they were when the process began.
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
        out.push("redis, where the checkpoint is");
    }
    out
}

/// The service manager waits from here on until the reload is over.
fn begin() {
    tracing::info!("SIGHUP: loading the configuration again");
    systemd::reload_begins();
}

/// Taken over or refused, the service runs on.
fn end(outcome: Result<TakenOver, CommandError>, shown: &watch::Sender<Shown>) {
    systemd::reload_ends();
    let label = if outcome.is_ok() {
        "applied"
    } else {
        "refused"
    };
    metrics::counter!(metric::CONFIG_RELOADS, "outcome" => label).increment(1);
    match outcome {
        Ok(TakenOver {
            rules,
            sha256,
            position,
        }) => {
            tracing::info!(
                rules,
                position,
                sha256,
                "the configuration was loaded again and is in use"
            );
        }
        Err(error) => {
            let reason = format!("{:#}", error.cause);
            // Whoever reads the log finds the status as it says.
            shown.send_modify(|shown| {
                shown.daemon.loaded.refused = Some((Timestamp::now(), reason.clone()));
            });
            tracing::error!(
                error = reason,
                "the configuration was not loaded again: the one before stays in use"
            );
        }
    }
}
