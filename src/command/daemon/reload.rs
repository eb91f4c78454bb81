//! SIGHUP: the configuration is read again, and what of it can change while the
//! daemon runs does.
//!
//! It is checked as at the start, and taken over as a whole or not at all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};

use super::bulk_rules;
use super::http;
use crate::cli::Global;
use crate::command::{CommandError, preflight};
use crate::config::{self, CloudFrontConfig, Config};
use crate::edge::budget::Budget;
use crate::evict::bulk_paths::BulkRules;
use crate::evict::switch::Switcher;
use crate::model::{Current, GuardPattern};
use crate::rules::budget_exempt::AlwaysPaths;
use crate::telemetry::log::LogLevel;
use crate::telemetry::{metric, systemd};

/// How long the source may take to say whether the rules fit.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// The configuration in use.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// When it was read.
    pub at: Timestamp,
    /// The beginning of its SHA-256.
    pub hash: String,
    /// When another one was refused since then, and why.
    pub refused: Option<(Timestamp, String)>,
}

impl Loaded {
    /// One that was read just now.
    pub fn of(text: &str) -> Self {
        let mut hash = hex::encode(Sha256::digest(text));
        hash.truncate(12);
        Self {
            at: Timestamp::now(),
            hash,
            refused: None,
        }
    }
}

/// What goes by a configuration and takes over parts of another one.
pub struct InUse {
    /// What plans, if anything does.
    pub rules: Option<Switcher>,
    /// What deletions of whole tables spare.
    pub guards: Current<Vec<GuardPattern>>,
    /// When a rule's paths go as its wildcards.
    pub bulk: Current<BulkRules>,
    /// Paths that are sent as they are.
    pub always: Current<AlwaysPaths>,
    /// What counts the month's paths, if anything does.
    pub book: Option<Arc<Budget>>,
}

impl InUse {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        let always = config.cloudfront.as_ref().map(|it| it.always.clone());
        Self {
            rules: None,
            guards: Current::new(config.rules.guard_patterns()),
            bulk: Current::new(bulk_rules(config)),
            always: Current::new(always.unwrap_or_default()),
            book: None,
        }
    }
}

/// A configuration that was taken over.
struct Applied {
    rules: usize,
    /// From where on changes are planned with them, where any are.
    position: Option<String>,
}

/// What SIGHUP loads and who takes it over; the signal no longer ends the
/// process.
#[derive(Clone)]
pub struct Reload {
    shared: Arc<Shared>,
}

struct Shared {
    global: Global,
    log: LogLevel,
    /// The configuration in use, as it is written. Kept while another one is
    /// being taken over.
    running: Mutex<String>,
    loaded: Current<Loaded>,
    taker: watch::Sender<Taker>,
}

/// Who takes over what is loaded.
#[derive(Clone)]
enum Taker {
    /// Whoever is about to be there.
    Starting,
    /// A dry run keeps what it began with.
    Nobody,
    InUse(Arc<InUse>),
}

impl Reload {
    /// Notes signals from now on. They are acted on once there is somebody to
    /// take over what is loaded.
    pub fn new(global: &Global, log: &LogLevel, config: &Config) -> Result<Self, CommandError> {
        let reload = Self {
            shared: Arc::new(Shared {
                global: global.clone(),
                log: log.clone(),
                running: Mutex::new(config.text.clone()),
                loaded: Current::new(Loaded::of(&config.text)),
                taker: watch::Sender::new(Taker::Starting),
            }),
        };
        reload.shared.set_log_level(config)?;
        let hangups = signal(SignalKind::hangup()).map_err(CommandError::failed)?;
        // Ends with the process.
        tokio::spawn(follow(hangups, Arc::clone(&reload.shared)));
        Ok(reload)
    }

    /// The configuration's file.
    pub fn path(&self) -> &Path {
        &self.shared.global.config
    }

    /// The configuration in use, for whoever asks.
    pub fn loaded(&self) -> Current<Loaded> {
        self.shared.loaded.clone()
    }

    /// The configuration to start with. None is loaded before
    /// [`Reload::goes_to`].
    pub async fn starts(&self) -> Result<Config, CommandError> {
        self.shared.taker.send_replace(Taker::Starting);
        Ok(config::parse(&self.shared.running.lock().await)?)
    }

    /// From now on `in_use` takes over what is loaded, and nobody else.
    pub fn goes_to(&self, in_use: InUse) {
        let taker = Taker::InUse(Arc::new(in_use));
        self.shared.taker.send_replace(taker);
    }

    /// From now on what is loaded is refused.
    pub fn goes_nowhere(&self) {
        self.shared.taker.send_replace(Taker::Nobody);
    }
}

/// Loads the configuration at each signal, for ever.
async fn follow(mut hangups: Signal, shared: Arc<Shared>) {
    let mut takers = shared.taker.subscribe();
    while hangups.recv().await.is_some() {
        begin();
        let taker = takers.wait_for(|taker| !matches!(taker, Taker::Starting));
        let taker = match taker.await {
            Ok(taker) => taker.clone(),
            Err(_) => return,
        };
        let outcome = match taker {
            Taker::InUse(in_use) => Box::pin(shared.load(&in_use)).await,
            Taker::Starting | Taker::Nobody => Err(CommandError::configuration(
                "a dry run keeps the configuration that it began with: start it again".to_owned(),
            )),
        };
        // Whoever reads the log finds the status and the metrics as it says.
        end(outcome.is_ok());
        match outcome {
            Ok(Applied { rules, position }) => {
                let sha256 = shared.loaded.get().hash.clone();
                tracing::info!(
                    rules,
                    position,
                    sha256,
                    "the configuration was loaded again and is in use"
                );
            }
            Err(error) => {
                let reason = format!("{:#}", error.cause);
                let before = Loaded::clone(&shared.loaded.get());
                shared.loaded.set(Loaded {
                    refused: Some((Timestamp::now(), reason.clone())),
                    ..before
                });
                tracing::error!(
                    error = reason,
                    "the configuration was not loaded again: the one before stays in use"
                );
            }
        }
    }
}

impl Shared {
    async fn load(&self, in_use: &InUse) -> Result<Applied, CommandError> {
        let path = &self.global.config;
        let mut running = self.running.lock().await;
        let mut config = config::load(path)?;
        let changed = config::needs_restart(&running, &config.text)?;
        if !changed.is_empty() {
            return Err(CommandError::configuration(format!(
                "{}: a restart is needed for {}; nothing else was taken over either",
                path.display(),
                changed.join(", ")
            )));
        }
        if in_use.rules.is_some() {
            let connector = preflight::connector(&config.source)?;
            let checking = preflight::server(&connector, &mut config, path);
            let checked = tokio::time::timeout(CHECK_MAX, checking).await;
            checked.map_err(|_| {
                CommandError::unreachable(format!(
                    "MySQL at {} did not say within {} s whether the rules fit its tables",
                    connector.address(),
                    CHECK_MAX.as_secs()
                ))
            })??;
        }
        self.set_log_level(&config)?;
        let loaded = Loaded::of(&config.text);
        let rules = config.rules.iter().count();
        http::from_zero(&config);
        let position = take_over(&mut config, in_use).await?;
        *running = config.text;
        self.loaded.set(loaded);
        Ok(Applied { rules, position })
    }

    /// What the command line says counts for more.
    fn set_log_level(&self, config: &Config) -> Result<(), CommandError> {
        match (&self.global.log_level, &config.log_level) {
            (Some(given), Some(level)) if given != level => {
                tracing::info!("log.level has no effect: --log-level or EVICTD_LOG says {given}");
            }
            (Some(_), _) => {}
            (None, level) => {
                let level = level.as_deref().unwrap_or(crate::command::LOG_LEVEL);
                let set = self.log.set(level);
                set.map_err(|error| CommandError::configuration(error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// Everything changes at one moment, between two transactions. Returns the
/// position of it, where something is read.
async fn take_over(config: &mut Config, in_use: &InUse) -> Result<Option<String>, CommandError> {
    let InUse {
        guards,
        bulk,
        always,
        book,
        rules,
    } = in_use;
    let wanted = InUse::new(config);
    let cloudfront = config.cloudfront.as_ref();
    let limits = cloudfront.map(CloudFrontConfig::path_budgets);
    let limits = limits.unwrap_or_default();
    let (guards, bulk, always, book) = (guards.clone(), bulk.clone(), always.clone(), book.clone());
    let along = move || {
        guards.set(wanted.guards.get());
        bulk.set(wanted.bulk.get());
        always.set(wanted.always.get());
        if let Some(book) = book {
            book.set_limits(limits);
        }
    };
    let Some(switcher) = rules else {
        along();
        return Ok(None);
    };
    let rules = Arc::new(std::mem::take(&mut config.rules));
    let position = switcher
        .switch(rules, along)
        .await
        .ok_or_else(|| CommandError::failed(anyhow::anyhow!("nothing is read any more")))?;
    Ok(Some(position.to_string()))
}

/// The service manager waits from here on until the reload is over.
fn begin() {
    tracing::info!("SIGHUP: loading the configuration again");
    systemd::reload_begins();
}

/// Refused or not, the service runs on.
fn end(applied: bool) {
    systemd::reload_ends();
    let outcome = match applied {
        true => "applied",
        false => "refused",
    };
    metrics::counter!(metric::CONFIG_RELOADS, "outcome" => outcome).increment(1);
}
