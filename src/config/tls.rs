//! `[source.tls]`: what a connection to MySQL verifies.

use std::path::PathBuf;

/// `[source.tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// What is verified.
    pub mode: TlsMode,
    /// The certificate authority; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
}

/// What a TLS connection verifies, as MySQL's clients name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// Encrypted; the server can be anyone.
    Required,
    /// Its certificate comes from the authority.
    VerifyCa,
    /// It also names the host.
    VerifyIdentity,
}
