//! `evictd health`: one line and an exit code, for probes.

use std::time::Duration;

use super::CommandError;
use crate::cli::{Global, HealthArgs};
use crate::config;
use crate::telemetry::http;

/// Time that the daemon may take to answer. Probes of container runtimes wait
/// for longer by default.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the daemon.
#[expect(clippy::print_stdout, reason = "the answer")]
pub async fn run(global: &Global, options: &HealthArgs) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    let failed = |message: String| CommandError::failed(anyhow::Error::msg(message));
    let Some(listen) = config.metrics_listen else {
        return Err(failed(
            "no daemon can be asked: set metrics.listen and restart evictd".to_owned(),
        ));
    };
    let path = if options.ready { "/readyz" } else { "/healthz" };
    match http::ask(listen, path, PATIENCE).await {
        Ok((true, line)) => {
            println!("{}", line.trim_end());
            Ok(())
        }
        Ok((false, line)) => Err(failed(line.trim_end().to_owned())),
        Err(error) => Err(failed(format!(
            "no evictd answers at {listen}: {error}; check that it runs"
        ))),
    }
}
