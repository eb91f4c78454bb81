//! The command line, as types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::position::Start;
use crate::plans::lines::PlanFormat;
use crate::telemetry::log::LogFormat;

/// Turns committed MySQL row changes into Redis deletions and CloudFront
/// invalidations.
#[derive(Debug, Parser)]
#[command(name = "evictd", version, propagate_version = true)]
#[command(after_help = "Examples:\n  \
    evictd check --config shop.toml           find what is wrong before the first start\n  \
    evictd run --config shop.toml             the daemon\n  \
    evictd replay --since 2026-11-23T03:00:00Z    invalidate last night's changes once more\n\n\
    Exit codes: 0 done, 1 failed, 2 usage or configuration, \
    3 a dependency is unreachable, 4 halted on a gap.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The configuration file
    #[arg(long, global = true, env = "EVICTD_CONFIG", value_name = "FILE")]
    #[arg(default_value = "/etc/evictd/evictd.toml")]
    pub config: PathBuf,

    /// The log level: error, warn, info, debug, trace, or directives for each module
    /// [default: for a daemon log.level of its configuration, otherwise info]
    #[arg(long, global = true, env = "EVICTD_LOG", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// The format of the log on standard error
    #[arg(long, global = true, env = "EVICTD_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(default_value = "text")]
    pub log_format: OutputFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow the binlog and invalidate what changes
    Run(RunArgs),
    /// Invalidate once more what changed in a range of the binlog
    Replay(ReplayArgs),
    /// Print what binlog files on disk would invalidate; needs no server
    Plan(PlanArgs),
    /// Explain what one change would invalidate, and why or why not
    Explain(ExplainArgs),
    /// Show, set or remove the stored position
    Checkpoint(CheckpointArgs),
    /// Check the configuration, the servers and the distributions
    Check(CheckArgs),
    /// Send buffered paths to CloudFront, or put dead letters back
    Drain(DrainArgs),
    /// Show how the daemon is doing, what is wrong and since when
    Status(StatusArgs),
    /// Say in one line whether the daemon works, for probes
    Health(HealthArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(ManArgs),
}

/// `evictd completions`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd completions bash > /etc/bash_completion.d/evictd\n  \
    evictd completions zsh > ~/.zfunc/_evictd\n  \
    evictd completions fish > ~/.config/fish/completions/evictd.fish")]
pub struct CompletionsArgs {
    /// The shell that completes the command line
    pub shell: clap_complete::Shell,
}

/// `evictd man`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  evictd man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The directory to write evictd.1 and a page for each command to
    pub directory: PathBuf,
}

/// `evictd check`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd check --config shop.toml\n  \
    evictd check --offline                    check the configuration alone, as in a build\n  \
    evictd check --format json | jq '.paths[] | select(.level == \"error\")'\n\n\
    Exit codes: 0 without errors (warnings and notes are not errors), 2 if a setting is\n\
    wrong, 3 if all that is wrong is that a server does not answer.")]
pub struct CheckArgs {
    /// Do not ask any server
    #[arg(long)]
    pub offline: bool,

    /// The format of the findings
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: OutputFormat,
}

/// `evictd checkpoint`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd checkpoint show --format json\n  \
    evictd checkpoint set mysql-bin.000042:4\n  \
    evictd checkpoint set 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-4711\n  \
    evictd checkpoint clear                   let the next start begin at source.start\n\n\
    A running daemon has its checkpoint to itself: stop the daemon before `set` and `clear`.")]
pub struct CheckpointArgs {
    /// What to do with the stored position
    #[command(subcommand)]
    pub action: CheckpointAction,
}

/// What to do with the stored position.
#[derive(Debug, Subcommand)]
pub enum CheckpointAction {
    /// Print the position, its GTID set, its server and its age
    Show {
        /// The format of the answer
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: OutputFormat,
    },
    /// Store a position that the server has
    Set {
        /// FILE:OFFSET, a GTID set, `earliest` or `current`
        #[arg(value_name = "POSITION")]
        position: Start,
    },
    /// Remove the stored position
    Clear,
}

/// `evictd explain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd explain --table shop.users --before '{\"id\": 7, \"slug\": \"ada\"}' --after '{\"id\": 7, \"slug\": \"grace\"}'\n  \
    evictd explain --table shop.users --after '{\"id\": 8}' --online     with the server's columns\n\n\
    Columns are typed by their JSON values; with --online, by the server. A column\n\
    that is left out counts as missing from the row image.")]
pub struct ExplainArgs {
    /// The table, such as shop.users
    #[arg(long, value_name = "DATABASE.TABLE")]
    pub table: String,

    /// The row before the change, as a JSON object; leave it out for an insert
    #[arg(long, value_name = "JSON")]
    pub before: Option<String>,

    /// The row after the change, as a JSON object; leave it out for a delete
    #[arg(long, value_name = "JSON")]
    pub after: Option<String>,

    /// Ask the server for the types of the columns and for foreign keys
    #[arg(long)]
    pub online: bool,

    /// The format of the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: OutputFormat,
}

/// `evictd replay`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd replay --since 2026-11-23T03:00:00Z --dry-run      print what it would invalidate\n  \
    evictd replay --from mysql-bin.000041:4 --to mysql-bin.000042:4\n  \
    evictd replay --from checkpoint --table 'shop.users' --only cache\n\n\
    A position is FILE:OFFSET, a GTID set, `checkpoint`, `earliest` or `current`. The\n\
    replay ends at --to, or where the binlog ended when it began. It may run beside the\n\
    daemon, and leaves the daemon's checkpoint alone. After Ctrl-C it says where to go on,\n\
    and ends with exit code 1.")]
pub struct ReplayArgs {
    /// Where to begin
    #[arg(long, value_name = "POSITION", required_unless_present = "since")]
    pub from: Option<Start>,

    /// Where to end
    #[arg(long, value_name = "POSITION")]
    pub to: Option<Start>,

    /// Leave out what was committed before this time, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub since: Option<jiff::Timestamp>,

    /// Only changes of these tables, such as shop.users or 'shop_*.users'
    #[arg(long, value_name = "GLOB")]
    pub table: Option<String>,

    /// Only keys, or only paths
    #[arg(long, value_name = "HALF")]
    pub only: Option<Half>,

    /// Print every planned invalidation and touch nothing
    #[arg(long)]
    pub dry_run: bool,

    /// The format of the plans that a dry run prints
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        requires = "dry_run"
    )]
    pub format: OutputFormat,
}

/// One half of what a change invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Half {
    /// Keys of the cache
    Cache,
    /// Paths of the edge
    Edge,
}

impl Half {
    /// As the command line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Half::Cache => "cache",
            Half::Edge => "edge",
        }
    }
}

/// `evictd plan`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd plan --binlog mysql-bin.000041 mysql-bin.000042\n  \
    evictd plan --format json --binlog mysql-bin.000042 | jq 'select(.rule == \"users\")'\n  \
    evictd plan --diff new.toml --binlog mysql-bin.000042   print what new.toml would do differently\n\n\
    Files come from the server's data directory, or from\n  \
    mysqlbinlog --read-from-remote-server --raw --host HOST --user USER --password mysql-bin.000042")]
pub struct PlanArgs {
    /// Binlog files, in the order of their numbers
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub binlog: Vec<PathBuf>,

    /// Another configuration: print what it would do differently
    #[arg(long, value_name = "FILE")]
    pub diff: Option<PathBuf>,

    /// The format of the plans
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: OutputFormat,
}

/// `evictd drain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd drain --config shop.toml        the same as `evictd run --role drain`\n  \
    evictd drain --redrive                 put dead letters back, once their cause is mended")]
pub struct DrainArgs {
    /// Put the dead letters back into the queue, print how many, and end
    #[arg(long)]
    pub redrive: bool,
}

/// `evictd status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd status --config shop.toml\n  \
    evictd status --json | jq .lag_seconds\n\n\
    The daemon is asked at metrics.listen. If none answers there, the checkpoint and the\n\
    ledger are shown from disk, and the exit code is 3.")]
pub struct StatusArgs {
    /// Print the answer of /status, one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `evictd health`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd health                          does it make progress? for a container's health check\n  \
    evictd health --ready                  is it connected and not behind?\n\n\
    Exit codes: 0 yes, 1 no, or no daemon answers at metrics.listen.")]
pub struct HealthArgs {
    /// Ask whether the daemon is connected and not behind, not only whether it makes progress
    #[arg(long)]
    pub ready: bool,
}

/// `evictd run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    evictd run --config shop.toml\n  \
    evictd run --dry-run --format json     print plans; touch no cache, buffer or checkpoint\n  \
    evictd run --role drain                send buffered paths to CloudFront, and do nothing else")]
pub struct RunArgs {
    /// Print every planned invalidation and touch nothing
    #[arg(long)]
    pub dry_run: bool,

    /// The part of the work to do
    #[arg(long, value_name = "ROLE", default_value = "all")]
    pub role: Role,

    /// The format of the plans that a dry run prints
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        requires = "dry_run"
    )]
    pub format: OutputFormat,
}

/// The part of the work that a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything
    All,
    /// From the binlog to the cache and the buffer
    Tail,
    /// From the buffer to CloudFront
    Drain,
}

/// The format of an answer, of plans or of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// For programs: one JSON object a line
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
