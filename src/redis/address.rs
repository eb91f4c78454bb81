//! The host and port of a server.

use std::sync::Arc;

/// The host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl Address {
    /// Parses `HOST:PORT`. Without a host, it is the host of `answering`, the
    /// server that sent the text.
    pub(crate) fn parse(text: &str, answering: &Address) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host {
            "" => Arc::clone(&answering.host),
            host => host.into(),
        };
        let port = port.parse().ok()?;
        Some(Self { host, port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
