//! A dry run: plans are printed, and nothing is touched.

use std::io::{self, BufWriter};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::source::{Mode, open_tail};
use crate::cli::OutputFormat;
use crate::command::shutdown::unless;
use crate::command::{CommandError, preflight, store};
use crate::config::Config;
use crate::evict::tail::Tail;
use crate::plans::lines::{self, DryRunError};
use crate::progress::board::Reports;

/// Prints plans from the stored position on, until `shutdown`.
pub(super) async fn run(
    mut config: Config,
    config_path: &Path,
    format: OutputFormat,
    reports: Reports,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let opening = async {
        let connector = preflight::connector(&config.source)?;
        let server = preflight::server(&connector, &mut config, config_path).await?;
        let mut checkpoint = store::open(&config)?;
        open_tail(config, connector, server, &mut checkpoint, Mode::DryRun).await
    };
    let Some(tail) = unless(&shutdown, Box::pin(opening)).await.transpose()? else {
        return Ok(());
    };
    print_plans(tail.reporting(reports), format, shutdown).await
}

/// Prints what `tail` reads until its end or `shutdown`.
pub(crate) async fn print_plans(
    tail: Tail,
    format: OutputFormat,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let out = BufWriter::new(io::stdout());
    match lines::run(tail, out, format.into(), shutdown).await {
        Ok(()) => Ok(()),
        Err(DryRunError::Halted(gap)) => Err(gap.into()),
        // `evictd run --dry-run | head` is not a failure.
        Err(DryRunError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CommandError::failed(error)),
    }
}
