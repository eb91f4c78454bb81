//! The source's address, and which server new connections to it reach.
//!
//! The problem: DNS or a virtual IP is switched to another server, and the one
//! before lives on. Connections that are open stay with it. It sends heartbeats,
//! answers every question, and nothing is written to it any more.
//!
//! The idea: a new connection now and then, beside the reading, says who is there
//! now, and whether anything can be written to it.

use std::time::Duration;

use tokio::sync::watch;

use super::questions::Server;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;
use crate::binlog::reader::Interest;

/// Time between two connections. Each is a login, with TLS where that is
/// configured.
const LOOKED_EVERY: Duration = Duration::from_secs(10);

/// Time that the server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The address, to be looked at on behalf of someone's interest.
#[derive(Debug)]
pub struct SourceAddress<I> {
    connector: Connector,
    interest: I,
}

/// The server that a new connection found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedServer {
    /// The server that answered.
    pub server_uuid: String,
    /// Why wanted changes are not in its binlog; `None` if all are.
    pub left_out: Option<String>,
    /// Nobody can write to it, and it is not a replica of a server to which
    /// somebody can.
    pub unwritten: bool,
}

/// A look at the address; the error is why nobody could be reached.
pub type Look = Result<ReachedServer, String>;

impl<I: Interest> SourceAddress<I> {
    /// Does not connect before the first look.
    pub fn new(connector: Connector, interest: I) -> Self {
        Self {
            connector,
            interest,
        }
    }

    /// Looks for ever, and tells what it found.
    pub async fn watch(self, looks: watch::Sender<Option<Look>>) {
        loop {
            tokio::time::sleep(LOOKED_EVERY).await;
            let look = tokio::time::timeout(ANSWER_TIMEOUT, self.look()).await;
            let look = look.unwrap_or_else(|_| {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Err(self
                    .connector
                    .unreachable(format!("no answer within {seconds} s")))
            });
            looks.send_replace(Some(look.map_err(|error| error.to_string())));
        }
    }

    async fn look(&self) -> Result<ReachedServer, SourceError> {
        let mut server = Server::connect(&self.connector).await?;
        let left_out = server.left_out(|table| self.interest.wants(table)).await?;
        let unwritten = server.facts().read_only && !server.is_replica().await?;
        let server_uuid = server.facts().server_uuid.clone();
        server.disconnect().await;
        Ok(ReachedServer {
            server_uuid,
            left_out,
            unwritten,
        })
    }
}
