//! Connections to the server, secured as configured.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Conn, Error, IoError, Opts, OptsBuilder, SslOpts};

use super::source_error::SourceError;

/// The server to connect to.
pub struct Target {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The account.
    pub user: String,
    /// The account's password.
    pub password: Option<String>,
    /// How the connection is secured; `None`: not at all.
    pub tls: Option<TlsTarget>,
}

/// What TLS verifies.
#[derive(Clone, Debug)]
pub struct TlsTarget {
    /// The certificate must come from an authority.
    pub verify_authority: bool,
    /// The certificate must name the host.
    pub verify_identity: bool,
    /// The authority; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Opens connections to one server.
#[derive(Clone)]
pub struct Connector {
    opts: Opts,
    address: String,
    user: String,
}

/// How long a connection may take to be made, TLS and login included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest event or row that is accepted; MySQL's own limit.
const PACKET_BYTES_MAX: usize = 1 << 30;

impl Connector {
    /// Prepares connections to `target`.
    pub fn new(target: Target) -> Self {
        let address = format!("{}:{}", target.host, target.port);
        let tls = target.tls.map(|tls| {
            let mut opts = SslOpts::default()
                .with_danger_accept_invalid_certs(!tls.verify_authority)
                .with_danger_skip_domain_validation(!tls.verify_identity);
            if let Some(ca_file) = tls.ca_file {
                opts = opts
                    .with_root_certs(vec![ca_file.into()])
                    .with_disable_built_in_roots(true);
            }
            opts
        });
        let opts = OptsBuilder::default()
            .ip_or_hostname(target.host)
            .tcp_port(target.port)
            .user(Some(target.user.clone()))
            .pass(target.password)
            .ssl_opts(tls)
            // Without these the library asks the server, and moves to a local
            // socket where it can: neither is wanted.
            .prefer_socket(false)
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .wait_timeout(Some(28_800))
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .into();
        Self {
            opts,
            address,
            user: target.user,
        }
    }

    /// Host and port, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Conn, SourceError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(self.opts.clone())).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(self.connect_error(&error)),
            Err(_) => Err(self.unreachable(format!(
                "no answer within {} s; check host, port and firewall",
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Names what went wrong with a statement on an open connection.
    pub fn statement_error(&self, error: &Error, doing: &str, privilege: &str) -> SourceError {
        match error {
            // ER_SPECIFIC_ACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_DBACCESS_DENIED
            Error::Server(server) if matches!(server.code, 1227 | 1142 | 1044) => {
                self.unfit(format!(
                    "account \"{user}\" may not {doing}: run GRANT {privilege} ON *.* TO '{user}'@'%'",
                    user = self.user
                ))
            }
            Error::Server(server) => self.unfit(format!("cannot {doing}: {server}")),
            other => self.unreachable(format!("the connection broke while trying to {doing}: {other}")),
        }
    }

    pub(super) fn unfit(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Unfit {
            address: self.address.clone(),
            reason: reason.into(),
        }
    }

    pub(super) fn unreachable(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Unreachable {
            address: self.address.clone(),
            reason: reason.into(),
        }
    }

    fn connect_error(&self, error: &Error) -> SourceError {
        match error {
            // ER_ACCESS_DENIED_ERROR
            Error::Server(server) if server.code == 1045 => self.unfit(format!(
                "login as \"{}\" was refused; check source.url's user, source.password and the account's host",
                self.user
            )),
            // ER_SERVER_SHUTDOWN and the like pass; what an account may not do does not.
            Error::Server(server) if matches!(server.code, 1130 | 1227 | 1044 | 3118 | 3159) => {
                self.unfit(server.to_string())
            }
            Error::Io(IoError::Tls(tls)) => self.unreachable(tls_reason(&tls.to_string())),
            Error::Io(IoError::Io(io)) => {
                let text = io.to_string();
                if text.contains("certificate") || io.kind() == std::io::ErrorKind::InvalidData {
                    return self.unreachable(tls_reason(&text));
                }
                match io.kind() {
                    std::io::ErrorKind::ConnectionRefused => self.unreachable(
                        "connection refused: nobody listens there; check source.url's host and port",
                    ),
                    std::io::ErrorKind::NotFound => self.unreachable(format!(
                        "{text}; check that source.tls.ca_file exists and can be read"
                    )),
                    _ => self.unreachable(text),
                }
            }
            Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer) => self.unfit(
                "the server offers no TLS; set it up there, or choose source.tls.mode = \"disabled\"",
            ),
            other => self.unreachable(other.to_string()),
        }
    }
}

fn tls_reason(reason: &str) -> String {
    format!(
        "TLS failed: {reason}; check that source.tls.ca_file is the authority of the server's certificate and that the certificate names the host in source.url"
    )
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options hold the password.
        f.debug_struct("Connector")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
