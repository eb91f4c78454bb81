//! From the command line to the end of the process.

use std::time::Duration;

use super::display::{Display, open_ledger};
use super::reload::Reload;
use super::turns::Turns;
use super::{dry_run, inheritance, reload, systemd, turn};
use crate::cli::{Global, Role, RunArgs};
use crate::command::CommandError;
use crate::command::shutdown::{LEDGER_GRACE, on_signal};
use crate::config;
use crate::ledger::Ledger;
use crate::telemetry::log::LogLevel;

/// Time that the service manager may take to hear that the process is stopping.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
pub async fn run(global: &Global, options: &RunArgs, log: &LogLevel) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    turn::check_role(&config, options.role, options.dry_run)?;
    let shutdown = on_signal().map_err(CommandError::failed)?;
    // From here on SIGHUP does not end the process.
    let hangups = reload::hangups()?;
    let opened = async {
        let ledger = if options.dry_run {
            Ledger::off()
        } else {
            open_ledger(&config).await?
        };
        Display::new(global, log, role(options), &config, ledger).await
    };
    let display = inheritance::judged(&config, options.role, opened.await).await?;
    let told_stopping = systemd::report(display.shown().subscribe(), &shutdown)?;
    let process = shutdown.clone();
    let shown = display.shown().clone();
    let outcome = if options.dry_run {
        reload::refuse(hangups, shown.clone());
        let reports = display.reports();
        let (path, format) = (&global.config, options.format);
        Box::pin(dry_run::run(config, path, format, reports, shutdown)).await
    } else {
        let (path, role) = (&global.config, options.role);
        let reload = Reload::new(path, role, &config, shown.clone());
        let reloads = reload::follow(hangups, reload.clone());
        let turns = Turns::new(path, role, (config, display), (reload, reloads), shutdown);
        Box::pin(turns.run()).await
    };
    let ledger = shown.borrow().reports.ledger.clone();
    ledger.flush(LEDGER_GRACE).await;
    // An idle daemon can end before the manager is told that it is about to.
    if let Some(told) = told_stopping
        && process.is_cancelled()
    {
        tokio::time::timeout(TOLD_WITHIN, told.cancelled())
            .await
            .ok();
    }
    outcome
}

/// The name that the status has for the role.
fn role(options: &RunArgs) -> &'static str {
    match options.role {
        _ if options.dry_run => "dry-run",
        Role::All => "all",
        Role::Tail => "tail",
        Role::Drain => "drain",
    }
}
