//! SIGHUP: the configuration is read again and checked as at the start, while
//! the current turn goes on. One that fits is handed to [`super::turns`], which
//! ends that turn in order and begins the next one with it.
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

/// Time that the servers may take to answer while a configuration is checked.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// A configuration that a reload asked for and that fits the servers.
pub(super) struct Takeover {
    pub(super) checked: Checked,
    /// Bound to its `metrics.listen`, unless this daemon listens there already.
    pub(super) listener: Option<TcpListener>,
    /// Is told once the configuration is in use, with the position that reading
    /// began at, if it reads; or why it is not in use.
    pub(super) done: oneshot::Sender<Result<Option<String>, CommandError>>,
}

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

/// The line that is logged for a reload that was taken over.
struct TakenOver {
    rules: usize,
    sha256: String,
    /// The position from which on changes are planned with the new rules, if
    /// this process reads the binlog.
    position: Option<String>,
}

struct Reload {
    path: PathBuf,
    role: Role,
    /// The configuration that the process began with. Its name and the place of
    /// its checkpoint stay, since they say whose lock and position it has.
    first: Config,
    takeovers: mpsc::Sender<Takeover>,
}

impl Reload {
    async fn load(&self, in_use: &mut Config) -> Result<TakenOver, CommandError> {
        let config = config::load(&self.path)?;
        let fixed = fixed_fields(&self.first, &config);
        if !fixed.is_empty() {
            return Err(CommandError::configuration(format!(
                "{}: a restart is needed to change {}; nothing of the file was taken over",
                self.path.display(),
                fixed.join(", ")
            )));
        }
        let listener = display::bind(&config, in_use.metrics_listen).await?;
        let checking = Checked::new(config.clone(), &self.path, self.role);
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

/// Ends a reload. The service runs on, whether it was taken over or refused.
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
