//! The connection to one server.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, Value};
use tokio::time::Instant;

use super::address::Address;
use super::error;
use super::error::RequestError;
use super::target::Access;
use crate::telemetry::{metric, repeating};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for which a server waits for its replicas to acknowledge.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(1);

/// The answer to one command.
pub(crate) type Reply = Result<Value, RedisError>;

/// The answers to commands, and why some have none.
pub(crate) struct Answers {
    /// In the order of the commands; `None` for a command that failed.
    pub(crate) replies: Vec<Option<Reply>>,
    /// Why commands failed, if any did: the last reason.
    pub(crate) failure: Option<RequestError>,
}

/// One server, connected to when it is needed.
///
/// The connection is dropped at every failure and made anew at the next call.
/// That covers a demotion, too: a server that became a replica answers READONLY
/// on the old connection for ever. A connection that a token opened is made anew
/// before the server would close it.
pub(crate) struct ServerConnection {
    access: Access,
    address: Address,
    open: Option<OpenConnection>,
}

struct OpenConnection {
    connection: MultiplexedConnection,
    made_at: Instant,
}

impl ServerConnection {
    /// A server that is not connected to yet.
    pub(crate) fn new(access: &Access, address: &Address) -> Self {
        Self {
            access: access.clone(),
            address: address.clone(),
            open: None,
        }
    }

    /// Another connection to the same server, not made yet.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.access, &self.address)
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends all commands in one round trip, and returns the answer to each.
    pub(crate) async fn send(
        &mut self,
        commands: &mut Pipeline,
    ) -> Result<Vec<Reply>, RequestError> {
        let mut connection = self.open().await?;
        let answers: Result<Vec<Reply>, _> =
            commands.ignore_errors().query_async(&mut connection).await;
        answers.map_err(|error| self.failed(&error))
    }

    /// Sends changes in one round trip, which succeed only once so many replicas
    /// have acknowledged them.
    pub(crate) async fn change(
        &mut self,
        commands: &mut Pipeline,
        replicas: u16,
    ) -> Result<Vec<Reply>, RequestError> {
        if replicas == 0 {
            return self.send(commands).await;
        }
        let timeout_ms = u64::try_from(REPLICAS_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        commands.cmd("WAIT").arg(replicas).arg(timeout_ms);
        let mut answers = self.send(commands).await?;
        let acknowledged = answers
            .pop()
            .unwrap_or_else(no_answer)
            .and_then(|value| Ok(redis::from_redis_value::<u16>(value)?));
        match acknowledged {
            Ok(count) if count >= replicas => Ok(answers),
            Ok(count) => Err(RequestError::Unavailable {
                address: self.address.to_string(),
                code: "replicas",
                reason: format!(
                    "{count} of {replicas} replicas acknowledged within {} s",
                    REPLICAS_TIMEOUT.as_secs()
                ),
            }),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Sends one command. An error in its answer fails the call.
    pub(crate) async fn send_one(&mut self, command: Cmd) -> Result<Value, RequestError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let answer = self.send(&mut pipeline).await?.pop();
        answer
            .unwrap_or_else(no_answer)
            .map_err(|error| self.failed(&error))
    }

    /// Whether the next command goes over a connection that is made already.
    pub(crate) fn is_open(&self) -> bool {
        self.usable().is_some()
    }

    fn usable(&self) -> Option<&OpenConnection> {
        let lasts = self.access.connection_lasts();
        let open = self.open.as_ref()?;
        lasts
            .is_none_or(|lasts| open.made_at.elapsed() < lasts)
            .then_some(open)
    }

    /// Drops the connection to a server that is not the one that was meant.
    pub(crate) fn foreign(&mut self) -> RequestError {
        self.open = None;
        let address = self.address.to_string();
        metrics::counter!(metric::CACHE_NODES_REFUSED).increment(1);
        repeating!(
            error,
            &address,
            { address },
            "another cluster's node has the address of one of this cluster's: nothing is deleted there"
        );
        RequestError::Unavailable {
            address,
            code: "other-cluster",
            reason: "it is a node of another cluster by now".to_owned(),
        }
    }

    async fn open(&mut self) -> Result<MultiplexedConnection, RequestError> {
        if let Some(open) = self.usable() {
            return Ok(open.connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let made_at = Instant::now();
        let client = self.access.client(&self.address).await?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| self.failed(&error))?;
        self.open = Some(OpenConnection {
            connection: connection.clone(),
            made_at,
        });
        Ok(connection)
    }

    /// The answers to commands, unless one of them says that the server can do
    /// nothing at the moment: it loads, follows another, or misses its majority.
    pub(crate) fn whole(&mut self, answers: Vec<Reply>) -> Result<Vec<Reply>, RequestError> {
        let concerns_all = |error: &&RedisError| {
            error.redirect_node().is_none()
                && !error::concerns_one_command(error)
                && !error::fails_alone(error)
        };
        let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        match errors.find(concerns_all) {
            Some(error) => Err(self.failed(error)),
            None => Ok(answers),
        }
    }

    /// Drops the connection, which took too long for the caller.
    pub(crate) fn silent(&mut self, after: Duration) -> RequestError {
        self.open = None;
        RequestError::Unavailable {
            address: self.address.to_string(),
            code: "timeout",
            reason: format!("no answer within {} s", after.as_secs()),
        }
    }

    /// Drops the connection, and makes the error one for the caller.
    pub(crate) fn failed(&mut self, error: &RedisError) -> RequestError {
        self.open = None;
        error::named(error, &self.address)
    }
}

/// The answer to a command that got none. A pipeline has as many answers as
/// commands; should it not, that is a failure like any other.
pub(crate) fn no_answer() -> Reply {
    Err((ErrorKind::UnexpectedReturnType, "no answer").into())
}
