//! The end of the binlog: how much is left to read.

use std::time::Duration;

use super::questions::Server;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;

/// Time that the server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server where its binlog ends, on a connection of its own.
#[derive(Debug)]
pub struct BinlogEnd {
    connector: Connector,
    server: Option<Server>,
}

impl BinlogEnd {
    /// Does not connect before the first question.
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            server: None,
        }
    }

    /// Asks on a new connection from now on.
    pub fn forget_connection(&mut self) {
        self.server = None;
    }

    /// The number of bytes that follow `offset` in `file`; `None` if the server
    /// does not have the file. After an error the next question makes a new
    /// connection.
    pub async fn bytes_after(
        &mut self,
        file: &str,
        offset: u64,
    ) -> Result<Option<u64>, SourceError> {
        let server = self.server.take();
        let asked = async {
            let mut server = match server {
                Some(server) => server,
                None => Server::connect(&self.connector).await?,
            };
            let bytes = server.bytes_after(file, offset).await?;
            Ok((server, bytes))
        };
        let (server, bytes) = tokio::time::timeout(ANSWER_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(self.connector.unreachable("no answer within 5 s")))?;
        self.server = Some(server);
        Ok(bytes)
    }
}
