//! The command line, as types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::pipeline::dry_run::PlanFormat;
use crate::telemetry::log::LogFormat;

/// Turns committed MySQL row changes into Redis deletions and CloudFront
/// invalidations.
#[derive(Debug, Parser)]
#[command(name = "evictd", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, \
    3 a dependency is unreachable, 4 halted on a gap."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The configuration
    #[arg(long, global = true, env = "EVICTD_CONFIG", value_name = "FILE")]
    #[arg(default_value = "/etc/evictd/evictd.toml")]
    pub config: PathBuf,

    /// What is logged: error, warn, info, debug, trace, or directives per module
    #[arg(long, global = true, env = "EVICTD_LOG", value_name = "LEVEL")]
    #[arg(default_value = "info")]
    pub log_level: String,

    /// How log lines on standard error look
    #[arg(long, global = true, env = "EVICTD_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(default_value = "text")]
    pub log_format: OutputFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow the binlog and invalidate what changes
    Run(Run),
    /// Send buffered paths to CloudFront, or put dead letters back
    Drain(Drain),
    /// Show how the daemon does, what is wrong and since when
    Status(Status),
    /// Say in one line whether the daemon works, for probes
    Health(Health),
}

/// `evictd drain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd drain --config shop.toml        the same as `evictd run --role drain`\n  \
    evictd drain --redrive                 once what made them dead letters is mended")]
pub struct Drain {
    /// Make messages of the dead letters again, print how many, and end
    #[arg(long)]
    pub redrive: bool,
}

/// `evictd status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd status --config shop.toml\n  \
    evictd status --json | jq .lag_seconds\n\n\
    It asks the daemon at metrics.listen. If none answers there, it shows the\n\
    checkpoint and the ledger from disk and ends with exit code 3.")]
pub struct Status {
    /// Print one JSON object, as /status has it
    #[arg(long)]
    pub json: bool,
}

/// `evictd health`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd health                          is it alive? for a container's health check\n  \
    evictd health --ready                  is it connected and not behind?\n\n\
    Exit codes: 0 yes, 1 no or nobody answers at metrics.listen.")]
pub struct Health {
    /// Ask whether it is connected and not behind, not only whether it makes progress
    #[arg(long)]
    pub ready: bool,
}

/// `evictd run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd run --config shop.toml\n  \
    evictd run --dry-run --format json     plan only: no cache, buffer or checkpoint is touched\n  \
    evictd run --role drain                only send buffered paths to CloudFront")]
pub struct Run {
    /// Print every planned invalidation and touch nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Which half of the work to do
    #[arg(long, value_name = "ROLE", default_value = "all")]
    pub role: Role,

    /// How a dry run prints plans on standard output
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        requires = "dry_run"
    )]
    pub format: OutputFormat,
}

/// Which half of the work a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Both
    All,
    /// From the binlog to cache and buffer
    Tail,
    /// From the buffer to CloudFront
    Drain,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<OutputFormat> for PlanFormat {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Text => PlanFormat::Text,
            OutputFormat::Json => PlanFormat::Json,
        }
    }
}

impl From<OutputFormat> for LogFormat {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Text => LogFormat::Text,
            OutputFormat::Json => LogFormat::Json,
        }
    }
}
