//! A connection to Redis that is made when it is needed.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, Value,
};

use super::error;
use crate::cache::CacheError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server says to one command.
pub(super) type Answer = Result<Value, RedisError>;

/// A connection to one server.
///
/// It is dropped at every failure and made anew at the next call. That covers a
/// demotion too: a server that became a replica answers READONLY on the old
/// connection for ever.
pub(super) struct Connection {
    client: Client,
    address: String,
    open: Option<MultiplexedConnection>,
}

impl Connection {
    /// Prepares connections to `url`, which holds no password.
    pub(super) fn new(url: &str, password: Option<&str>) -> Result<Self, CacheError> {
        let without_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let address = without_scheme
            .rsplit_once('@')
            .map_or(without_scheme, |(_, host)| host)
            .to_owned();
        let invalid = |error: RedisError| CacheError::Refused {
            address: address.clone(),
            code: "invalid-url",
            reason: error.to_string(),
            remedy: "correct redis.url",
        };
        let mut info = url.into_connection_info().map_err(invalid)?;
        if let Some(password) = password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let client = Client::open(info).map_err(invalid)?;
        Ok(Self {
            client,
            address,
            open: None,
        })
    }

    /// Another connection to the same server, not made yet.
    pub(super) fn another(&self) -> Self {
        Self {
            client: self.client.clone(),
            address: self.address.clone(),
            open: None,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends all commands in one round trip, and gives each one's own answer, in
    /// their order. All keys of a command have to be in one hash slot.
    ///
    /// The errors among the answers are about their command alone: WRONGTYPE,
    /// NOPERM, NOSCRIPT or ERR. Any other failure is the whole call's, which may
    /// have done any part of it.
    pub(super) async fn run(&mut self, commands: Vec<Cmd>) -> Result<Vec<Answer>, CacheError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        pipeline.ignore_errors();
        for command in commands {
            pipeline.add_command(command);
        }
        let mut connection = self.open().await?;
        let answers: Result<Vec<Answer>, _> = pipeline.query_async(&mut connection).await;
        let answers = answers.map_err(|error| self.failed(&error))?;
        let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
        match errors
            .into_iter()
            .find(|it| !error::concerns_one_command(it))
        {
            Some(error) => Err(self.failed(error)),
            None => Ok(answers),
        }
    }

    /// Sends one command, any error of which is the call's.
    pub(super) async fn run_one(&mut self, command: Cmd) -> Result<Value, CacheError> {
        let answer = self.run(vec![command]).await?.pop();
        let missing = || Err((ErrorKind::UnexpectedReturnType, "no answer").into());
        answer
            .unwrap_or_else(missing)
            .map_err(|error| self.failed(&error))
    }

    async fn open(&mut self) -> Result<MultiplexedConnection, CacheError> {
        if let Some(connection) = &self.open {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| self.failed(&error))?;
        self.open = Some(connection.clone());
        Ok(connection)
    }

    /// Names the failure and gives the connection up.
    pub(super) fn failed(&mut self, error: &RedisError) -> CacheError {
        self.open = None;
        error::named(error, &self.address)
    }
}
