//! The fate of a rule that does not fit, and of a queue, a distribution or a shard
//! that does not answer, when a daemon starts.

use std::time::Duration;

use super::{CommandError, Exit};

/// Time that a daemon that worked before gives the queue and the distributions to
/// answer at the start.
const PATHS_WITHIN: Duration = Duration::from_secs(5);

/// The fate of a rule that does not fit the tables as they are now, and of a server
/// that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfits {
    /// It is refused, and with it the configuration: somebody is there to correct
    /// it.
    Refused,
    /// It counts as it does for a daemon that runs while a table changes: what
    /// cannot be planned row by row widens (Over, never under).
    Degraded,
}

impl Misfits {
    /// Asks for what only paths need. A daemon that worked before deletes keys
    /// without it, and does not wait for it long.
    pub async fn pass_over_paths(
        self,
        asks: impl Future<Output = Result<(), CommandError>>,
    ) -> Result<(), CommandError> {
        if self == Misfits::Refused {
            return asks.await;
        }
        let asked = tokio::time::timeout(PATHS_WITHIN, asks).await;
        let asked = asked.unwrap_or_else(|_| {
            let seconds = PATHS_WITHIN.as_secs();
            Err(CommandError::unreachable(format!(
                "SQS and CloudFront have not answered within {seconds} s"
            )))
        });
        self.pass_over(asked, |error| {
            tracing::error!(
                error,
                "paths cannot go to CloudFront: keys are deleted all the same, and paths wait"
            );
        })
    }

    /// A buffer that does not last as long as the position. Whoever worked before
    /// goes on with it.
    pub fn pass_over_buffer(self, problem: Option<String>) -> Result<(), CommandError> {
        let refused = problem.map_or(Ok(()), |problem| Err(CommandError::configuration(problem)));
        self.pass_over(refused, |error| {
            tracing::error!(error, "paths that wait can be lost");
        })
    }

    /// The outcome of asking a cluster, a part of which may be away. A daemon that
    /// worked before deletes what it can.
    pub fn pass_over_shards(self, asked: Result<(), CommandError>) -> Result<(), CommandError> {
        match asked {
            Err(error) if error.exit != Exit::Unreachable => Err(error),
            asked => self.pass_over(asked, |error| {
                tracing::error!(
                    error,
                    "a part of the cluster does not answer: keys are deleted where it does, and the others are tried again"
                );
            }),
        }
    }

    fn pass_over(
        self,
        asked: Result<(), CommandError>,
        log: impl FnOnce(String),
    ) -> Result<(), CommandError> {
        match asked {
            Err(error) if self == Misfits::Degraded => {
                log(format!("{:#}", error.cause));
                Ok(())
            }
            asked => asked,
        }
    }
}
