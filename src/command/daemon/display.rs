//! What others see of the daemon: its status, its log level and its listener. A
//! reload replaces all of them at once.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::http;
use super::shown::Shown;
use crate::cli::Global;
use crate::command::CommandError;
use crate::command::shutdown::LEDGER_GRACE;
use crate::command::status::daemon::{Daemon, Loaded};
use crate::config::{CheckpointConfig, Config};
use crate::ledger::{self, Ledger};
use crate::progress::board::Reports;
use crate::telemetry::exposition;
use crate::telemetry::log::{LOG_LEVEL, LogLevel};

/// The daemon as others see it.
pub(super) struct Display {
    shown: watch::Sender<Shown>,
    log: LogLevel,
    /// The level that the command line names. It takes precedence over the
    /// configuration's.
    log_level: Option<String>,
    listener: Option<AbortHandle>,
}

impl Display {
    /// Shows a daemon that begins with `config`. Its records go to `ledger`,
    /// which is off in a dry run.
    ///
    /// # Errors
    ///
    /// The log level cannot be understood, or nothing can listen at
    /// `metrics.listen`.
    pub(super) async fn new(
        global: &Global,
        log: &LogLevel,
        role: &str,
        config: &Config,
        ledger: Ledger,
    ) -> Result<Self, CommandError> {
        let reports = Reports {
            ledger,
            ..Reports::default()
        };
        let daemon = Daemon {
            name: config.name.clone(),
            role: role.to_owned(),
            started_at: Timestamp::now(),
            lag_max: config.lag_max,
            loaded: Loaded::of(&config.text),
        };
        let mut display = Self {
            shown: watch::Sender::new(Shown {
                daemon,
                reports,
                listens: None,
            }),
            log: log.clone(),
            log_level: global.log_level.clone(),
            listener: None,
        };
        display.set_log_level(config)?;
        let listener = display.bind(config).await?;
        display.listen(config, listener)?;
        Ok(display)
    }

    /// The sources of the status, for those who show it.
    pub(super) fn shown(&self) -> &watch::Sender<Shown> {
        &self.shown
    }

    /// The receivers of what the tasks of a turn report.
    pub(super) fn reports(&self) -> Reports {
        self.shown.borrow().reports.clone()
    }

    /// Shows a daemon that works with `config` from now on. `listener` is bound
    /// to its `metrics.listen`, unless this daemon listens there already.
    ///
    /// # Errors
    ///
    /// The ledger cannot be opened. Nothing has changed then.
    pub(super) async fn show(
        &mut self,
        before: &Config,
        config: &Config,
        listener: Option<TcpListener>,
    ) -> Result<(), CommandError> {
        let ledger = if before.ledger_dir == config.ledger_dir {
            None
        } else {
            Some(open_ledger(config).await?)
        };
        self.set_log_level(config)?;
        self.listen(config, listener)?;
        let mut replaced = None;
        self.shown.send_modify(|shown| {
            shown.daemon.lag_max = config.lag_max;
            shown.daemon.loaded = Loaded::of(&config.text);
            replaced = ledger.map(|ledger| std::mem::replace(&mut shown.reports.ledger, ledger));
            let distributions = config.cloudfront.iter();
            let distributions = distributions.flat_map(|section| &section.distributions);
            let has_edge = |name: &str| distributions.clone().any(|known| *known.name == *name);
            shown.reports.board.next_turn(has_edge);
        });
        if let Some(ledger) = replaced {
            ledger.flush(LEDGER_GRACE).await;
        }
        Ok(())
    }

    /// Shows the rules that do not fit their tables, and why.
    pub(super) fn misfits(&self, misfits: Vec<String>) {
        self.shown
            .send_modify(|shown| shown.daemon.loaded.misfits = misfits);
    }

    /// A listener at `metrics.listen`, unless this daemon listens there already
    /// or the field is not set.
    pub(super) async fn bind(&self, config: &Config) -> Result<Option<TcpListener>, CommandError> {
        let listens = self.shown.borrow().listens;
        bind(config, listens).await
    }

    fn listen(
        &mut self,
        config: &Config,
        listener: Option<TcpListener>,
    ) -> Result<(), CommandError> {
        if let Some(address) = config.metrics_listen {
            if let Some(listener) = listener {
                let metrics = exposition::install(&config.name)
                    .map_err(|error| refused(address, &error.to_string()))?;
                let serving = http::serve(listener, metrics, self.shown.subscribe());
                self.stop_listening();
                self.listener = Some(serving);
                self.shown
                    .send_modify(|shown| shown.listens = Some(address));
            }
            http::from_zero(config);
        } else {
            self.stop_listening();
        }
        Ok(())
    }

    fn stop_listening(&mut self) {
        if let Some(serving) = self.listener.take() {
            serving.abort();
            self.shown.send_modify(|shown| shown.listens = None);
        }
    }

    fn set_log_level(&self, config: &Config) -> Result<(), CommandError> {
        match (&self.log_level, &config.log_level) {
            (Some(given), Some(level)) if given != level => {
                tracing::info!(
                    "log.level has no effect, since --log-level or EVICTD_LOG says {given}"
                );
            }
            (Some(_), _) => {}
            (None, level) => {
                let level = level.as_deref().unwrap_or(LOG_LEVEL);
                self.log
                    .set(level)
                    .map_err(|error| CommandError::configuration(error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// A listener at `metrics.listen`, unless it is not set, or is `serving`
/// already.
pub(super) async fn bind(
    config: &Config,
    serving: Option<SocketAddr>,
) -> Result<Option<TcpListener>, CommandError> {
    match config.metrics_listen {
        Some(address) if serving != Some(address) => TcpListener::bind(address)
            .await
            .map(Some)
            .map_err(|error| match error.kind() {
                ErrorKind::AddrInUse => CommandError::unreachable(format!(
                    "metrics.listen {address}: another process listens there (`ss -ltnp` names it): end it, or name another port"
                )),
                _ => refused(address, &error.to_string()),
            }),
        _ => Ok(None),
    }
}

fn refused(address: SocketAddr, reason: &str) -> CommandError {
    CommandError::configuration(format!("metrics.listen {address}: {reason}"))
}

/// Opens the ledger that `[ledger]` describes.
pub(super) async fn open_ledger(config: &Config) -> Result<Ledger, CommandError> {
    let Some(dir) = config.ledger_dir.as_deref() else {
        tracing::info!(
            "ledger.dir is not set: gaps and dead letters are only in this log and in the status"
        );
        return Ok(Ledger::off());
    };
    // Opening the checkpoint reports what is wrong with its directory.
    if !holds_the_checkpoint(dir, &config.checkpoint) {
        ledger::check_directory(dir)?;
    }
    Ok(Ledger::open(dir, &config.name).await)
}

fn holds_the_checkpoint(dir: &Path, checkpoint: &CheckpointConfig) -> bool {
    match checkpoint {
        CheckpointConfig::File { path } => path.parent() == Some(dir),
        CheckpointConfig::Redis { .. } => false,
    }
}
