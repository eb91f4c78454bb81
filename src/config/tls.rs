//! `[source.tls]`: what a connection to MySQL verifies.

use std::path::PathBuf;

/// `[source.tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub mode: TlsMode,
    /// The certificate authority; `None` for the public ones.
    pub ca_file: Option<PathBuf>,
}

/// The extent to which a server is verified, as MySQL's clients name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// The connection is encrypted; the server can be anyone.
    Required,
    /// The server's certificate comes from the authority.
    VerifyCa,
    /// The certificate also names the host.
    VerifyIdentity,
}
