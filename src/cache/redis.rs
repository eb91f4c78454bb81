//! Deletions in one Redis server.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind,
};

use super::{Cache, CacheError};
use crate::model::KeySet;

/// Keys in one UNLINK. Long commands hold up other clients for as long as they
/// run; a thousand keys take well under a millisecond.
const KEYS_PER_COMMAND: usize = 1_000;

/// How many keys one SCAN call looks at. It blocks the server for that long.
const SCAN_COUNT: usize = 1_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// One Redis server.
///
/// The connection is dropped at every failure and made anew at the next call.
/// That covers a demotion too: a server that became a replica answers READONLY
/// on the old connection for ever.
pub struct Redis {
    client: Client,
    address: String,
    connection: Option<MultiplexedConnection>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client holds the password.
        f.debug_struct("Redis")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Prepares connections to `url`, which holds no password.
    pub fn new(url: &str, password: Option<&str>) -> Result<Self, CacheError> {
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
            connection: None,
        })
    }

    /// Another connection to the same server, not made yet.
    pub fn another(&self) -> Self {
        Self {
            client: self.client.clone(),
            address: self.address.clone(),
            connection: None,
        }
    }

    /// Asks the server whether it is there and may be used.
    pub async fn check(&mut self) -> Result<(), CacheError> {
        let mut connection = self.connection().await?;
        let answer: Result<(), _> = redis::cmd("PING").query_async(&mut connection).await;
        answer.map_err(|error| self.failed(&error))
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, CacheError> {
        if let Some(connection) = &self.connection {
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
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Names the failure and gives the connection up.
    fn failed(&mut self, error: &RedisError) -> CacheError {
        self.connection = None;
        let address = self.address.clone();
        let reason = error.to_string();
        let unavailable = |code| CacheError::Unavailable {
            address: address.clone(),
            code,
            reason: reason.clone(),
        };
        let refused = |code, remedy| CacheError::Refused {
            address: address.clone(),
            code,
            reason: reason.clone(),
            remedy,
        };
        match error.kind() {
            ErrorKind::AuthenticationFailed => refused(
                "authentication",
                "check redis.password and the user in redis.url",
            ),
            ErrorKind::Server(ServerErrorKind::NoPerm) => refused(
                "no-permission",
                "grant the ACL user +unlink, +scan, +incr and +ping on the keys",
            ),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => unavailable("read-only"),
            ErrorKind::Server(ServerErrorKind::BusyLoading) => unavailable("loading"),
            ErrorKind::Server(
                ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot,
            ) => refused(
                "cluster",
                "this server is part of a cluster; use a single primary",
            ),
            // The client has no kind of its own for it.
            _ if error.code() == Some("NOAUTH") => refused("authentication", "set redis.password"),
            ErrorKind::Server(_) => unavailable("server-error"),
            _ if error.is_timeout() => unavailable("timeout"),
            _ if error.is_connection_refusal() => unavailable("connection-refused"),
            _ => unavailable("connection"),
        }
    }
}

/// All keys, in commands of [`KEYS_PER_COMMAND`].
fn unlink(keys: &[&KeySet]) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    let mut all = keys.iter().flat_map(|keys| keys.iter()).peekable();
    while all.peek().is_some() {
        let command = pipeline.cmd("UNLINK");
        for key in all.by_ref().take(KEYS_PER_COMMAND) {
            command.arg(key);
        }
    }
    pipeline
}

impl Cache for Redis {
    async fn delete(&mut self, keys: &[&KeySet]) -> Result<u64, CacheError> {
        if keys.iter().all(|keys| keys.is_empty()) {
            return Ok(0);
        }
        let mut connection = self.connection().await?;
        let pipeline = unlink(keys);
        let deleted: Result<Vec<u64>, _> = pipeline.query_async(&mut connection).await;
        match deleted {
            Ok(counts) => Ok(counts.iter().sum()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn increment(&mut self, key: &[u8]) -> Result<(), CacheError> {
        let mut connection = self.connection().await?;
        let answer: Result<i64, _> = redis::cmd("INCR")
            .arg(key)
            .query_async(&mut connection)
            .await;
        answer.map(drop).map_err(|error| self.failed(&error))
    }

    /// SCAN returns every key that is there from its beginning to its end, some
    /// of them twice (Redis manual, "Scan guarantees").
    async fn delete_matching(&mut self, glob: &[u8]) -> Result<u64, CacheError> {
        let mut connection = self.connection().await?;
        let mut deleted = 0;
        let mut cursor = 0_u64;
        loop {
            let asked_at = Instant::now();
            let scanned: Result<(u64, Vec<Vec<u8>>), _> = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(glob)
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .query_async(&mut connection)
                .await;
            let (next, found) = scanned.map_err(|error| self.failed(&error))?;
            let mut keys = KeySet::default();
            found.iter().for_each(|key| {
                keys.insert(key);
            });
            deleted += self.delete(&[&keys]).await?;
            if next == 0 {
                return Ok(deleted);
            }
            cursor = next;
            // Others get at least half of the server's time.
            tokio::time::sleep(asked_at.elapsed()).await;
        }
    }
}
