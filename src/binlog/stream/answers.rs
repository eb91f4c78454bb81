//! Limits on the time that the server may take.

use std::time::Duration;

use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;

/// Time that the server may take to answer a question of several statements.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// After this many heartbeats without a byte the connection counts as dead.
pub(super) const HEARTBEATS_MISSED_MAX: u32 = 3;

/// Limits the time of a question: a server that freezes in the middle of one
/// would hold up the stream for ever.
pub(super) async fn answered<T>(
    connector: &Connector,
    question: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, question).await {
        Ok(answer) => answer,
        Err(_) => {
            Err(connector.unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
        }
    }
}

pub(super) fn ended(connector: &Connector) -> SourceError {
    SourceError::Ended {
        address: connector.address().to_owned(),
    }
}
