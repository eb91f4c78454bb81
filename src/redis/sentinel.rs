//! The primary that sentinels name.

use std::collections::VecDeque;

use redis::{FromRedisValue, RedisError, Value};

use super::address::Address;
use super::error::RequestError;
use super::server::ServerConnection;
use super::target::Access;

/// A primary. The sentinels are asked for its address at every new connection.
pub(crate) struct SentinelPrimary {
    access: Access,
    master: String,
    sentinels: VecDeque<ServerConnection>,
    primary: Option<ServerConnection>,
}

impl SentinelPrimary {
    /// A primary called `master`, which `access` tells how to connect to.
    pub(crate) fn new(
        access: Access,
        master: &str,
        sentinels: impl IntoIterator<Item = ServerConnection>,
    ) -> Self {
        Self {
            access,
            master: master.to_owned(),
            sentinels: sentinels.into_iter().collect(),
            primary: None,
        }
    }

    /// Other connections to the same servers, not made yet.
    pub(crate) fn another(&self) -> Self {
        let sentinels = self.sentinels.iter().map(ServerConnection::another);
        Self::new(self.access.clone(), &self.master, sentinels)
    }

    /// The primary that the first sentinel to answer names. A sentinel can be
    /// late, so that the server itself has to say that it is a primary.
    pub(crate) async fn primary(&mut self) -> Result<&mut ServerConnection, RequestError> {
        let primary = match self.primary.take() {
            Some(primary) => primary,
            None => {
                let address = self.locate().await?;
                let mut primary = ServerConnection::new(&self.access, &address);
                let role = primary.send_one(redis::cmd("ROLE")).await?;
                let is_primary = match &role {
                    Value::Array(role) => role.first() == Some(&Value::BulkString("master".into())),
                    _ => false,
                };
                if !is_primary {
                    return Err(RequestError::Unavailable {
                        address: primary.address().to_string(),
                        code: "read-only",
                        reason: format!(
                            "the sentinels name it as the primary of {}, but it is a replica",
                            self.master
                        ),
                    });
                }
                primary
            }
        };
        Ok(self.primary.insert(primary))
    }

    pub(crate) fn master(&self) -> &str {
        &self.master
    }

    /// Asks for the primary's address again at the next call.
    pub(crate) fn reset(&mut self) {
        self.primary = None;
    }

    /// Drops the connection, and makes the error one for the caller.
    pub(crate) fn failed(&mut self, error: &RedisError) -> RequestError {
        match self.primary.take() {
            Some(mut primary) => primary.failed(error),
            None => RequestError::Unavailable {
                address: self.master.clone(),
                code: "connection",
                reason: error.to_string(),
            },
        }
    }

    async fn locate(&mut self) -> Result<Address, RequestError> {
        let mut failure = RequestError::Refused {
            address: self.master.clone(),
            code: "sentinel",
            reason: "no sentinel is configured".to_owned(),
            remedy: "set redis.sentinel.urls",
        };
        for _ in 0..self.sentinels.len() {
            let Some(sentinel) = self.sentinels.front_mut() else {
                break;
            };
            match ask(sentinel, &self.master).await {
                Ok(address) => return Ok(address),
                Err(error) => failure = error,
            }
            self.sentinels.rotate_left(1);
        }
        Err(failure)
    }
}

async fn ask(sentinel: &mut ServerConnection, master: &str) -> Result<Address, RequestError> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = sentinel.send_one(question).await?;
    let address = Option::<(String, u16)>::from_redis_value(answer)
        .map_err(|error| sentinel.failed(&error.into()))?;
    let (host, port) = address.ok_or_else(|| RequestError::Refused {
        address: sentinel.address().to_string(),
        code: "sentinel",
        reason: format!("the sentinel knows no primary called {master}"),
        remedy: "correct redis.sentinel.master",
    })?;
    let host = host.into();
    Ok(Address { host, port })
}
