//! Connections to the server, secured as configured.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Conn, DriverError, Error, IoError, Opts, OptsBuilder, SslOpts};

use super::client::Client;
use super::session::SETTINGS;
use crate::binlog::error::SourceError;
use crate::credentials::{Password, PasswordError};

/// The server to connect to, and the account.
#[derive(Clone)]
pub struct MysqlTarget {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Password>,
    /// `None`: the connection is not secured.
    pub tls: Option<TlsTarget>,
}

/// The checks that TLS makes.
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
    target: MysqlTarget,
    /// The certificate may name any host.
    any_name: bool,
    address: String,
}

/// Time that making a connection may take, TLS and login included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest event or row that is accepted; MySQL's own limit.
const PACKET_BYTES_MAX: usize = 1 << 30;

impl Connector {
    /// Prepares connections to `target`.
    pub fn new(target: MysqlTarget) -> Self {
        let address = format!("{}:{}", target.host, target.port);
        let any_name = target
            .tls
            .as_ref()
            .is_some_and(|tls| tls.verify_authority && !tls.verify_identity);
        let tls = target.tls.clone().map(|tls| {
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
            .ip_or_hostname(target.host.clone())
            .tcp_port(target.port)
            .user(Some(target.user.clone()))
            .enable_cleartext_plugin(sends_in_clear(&target))
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
            target,
            any_name,
            address,
        }
    }

    pub(in crate::binlog) fn target(&self) -> &MysqlTarget {
        &self.target
    }

    /// Host and port, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The account's password, or the token that stands for it at this moment.
    pub(in crate::binlog) async fn password(&self) -> Result<Option<String>, Error> {
        let Some(password) = &self.target.password else {
            return Ok(None);
        };
        let password = password.now().await;
        Ok(Some(password.map_err(std::io::Error::other)?))
    }

    /// Whether the password is sent in clear to a server that asks for that
    /// (`mysql_clear_password`): only a token, and only through TLS.
    pub(in crate::binlog) fn sends_in_clear(&self) -> bool {
        sends_in_clear(&self.target)
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Client, SourceError> {
        let attempt = async {
            let conn = self.attempt().await;
            let mut client = Client::new(conn.map_err(|error| self.connect_error(&error))?);
            let set_up = client.query_drop(SETTINGS).await;
            set_up.map_err(|error| {
                self.statement_error(&error, "set the session's variables", "USAGE")
            })?;
            Ok(client)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, attempt)
            .await
            .unwrap_or_else(|_| {
                Err(self.unreachable(format!(
                    "no answer within {} s; check host, port and firewall",
                    CONNECT_TIMEOUT.as_secs()
                )))
            })
    }

    /// For `verify-ca`, mysql_async's own switch tells a certificate for another
    /// host by a text that rustls no longer writes. So the connection is made
    /// again under a name that the certificate has: its authority is verified
    /// as before, and the name is one that the authority vouches for.
    async fn attempt(&self) -> Result<Conn, Error> {
        let opts = OptsBuilder::from_opts(self.opts.clone()).pass(self.password().await?);
        let opts: Opts = opts.into();
        let error = match Conn::new(opts.clone()).await {
            Err(error) if self.any_name => error,
            outcome => return outcome,
        };
        let Some(name) = certified_name(&error.to_string()) else {
            return Err(error);
        };
        let tls = opts.ssl_opts().cloned();
        let tls = tls.map(|tls| tls.with_danger_tls_hostname_override(Some(name)));
        Conn::new(OptsBuilder::from_opts(opts).ssl_opts(tls)).await
    }

    /// Explains why a statement failed on an open connection.
    pub fn statement_error(&self, error: &Error, doing: &str, privilege: &str) -> SourceError {
        match error {
            // ER_SPECIFIC_ACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_DBACCESS_DENIED
            Error::Server(server) if matches!(server.code, 1227 | 1142 | 1044) => {
                self.unfit(format!(
                    "account \"{user}\" may not {doing}: run GRANT {privilege} ON *.* TO '{user}'@'%'",
                    user = self.target.user
                ))
            }
            Error::Server(server) => self.unfit(format!("cannot {doing}: {server}")),
            Error::Driver(DriverError::FromRow { row }) => self.unfit(format!(
                "cannot {doing}: the answer has a row that is not what was asked for ({row:?})"
            )),
            other => self.unreachable(format!("the connection broke while trying to {doing}: {other}")),
        }
    }

    pub(in crate::binlog) fn unfit(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Unfit {
            address: self.address.clone(),
            reason: reason.into(),
        }
    }

    pub(in crate::binlog) fn unreachable(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Unreachable {
            address: self.address.clone(),
            reason: reason.into(),
        }
    }

    fn untrusted(&self, reason: String) -> SourceError {
        SourceError::Untrusted {
            address: self.address.clone(),
            reason,
        }
    }

    fn connect_error(&self, error: &Error) -> SourceError {
        match error {
            // ER_ACCESS_DENIED_ERROR
            Error::Server(server) if server.code == 1045 => self.unfit(format!(
                "login as \"{}\" was refused; check source.url's user, {}",
                self.target.user,
                if self.sends_in_clear() {
                    "that the account is IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS', and that this process' role may rds-db:connect as it"
                } else {
                    "source.password and the account's host"
                }
            )),
            // ER_SERVER_SHUTDOWN and the like pass; what an account may not do does not.
            Error::Server(server) if matches!(server.code, 1130 | 1227 | 1044 | 3118 | 3159) => {
                self.unfit(server.to_string())
            }
            Error::Io(IoError::Tls(tls)) => self.untrusted(tls_reason(&tls.to_string())),
            Error::Io(IoError::Io(io)) => {
                let text = io.to_string();
                if io.get_ref().is_some_and(|error| error.is::<PasswordError>()) {
                    return self.unreachable(text);
                }
                if text.contains("certificate") || io.kind() == std::io::ErrorKind::InvalidData {
                    return self.untrusted(tls_reason(&text));
                }
                match io.kind() {
                    std::io::ErrorKind::ConnectionRefused => self.unreachable(
                        "connection refused: nobody listens there; check source.url's host and port",
                    ),
                    std::io::ErrorKind::NotFound => self.untrusted(format!(
                        "{text}; check that source.tls.ca_file exists and can be read"
                    )),
                    _ => self.unreachable(text),
                }
            }
            Error::Driver(DriverError::NoClientSslFlagFromServer) => self.unfit(
                "the server offers no TLS; set it up there, or choose source.tls.mode = \"disabled\"",
            ),
            Error::Driver(DriverError::CleartextPluginDisabled) => self.unfit(format!(
                "the server asks for the password of \"{}\" in clear, which is refused; if the account logs in through IAM, set source.password = {{ iam = … }} and source.tls, and otherwise be wary of this server",
                self.target.user
            )),
            other => self.unreachable(other.to_string()),
        }
    }
}

fn sends_in_clear(target: &MysqlTarget) -> bool {
    target.tls.is_some() && target.password.as_ref().is_some_and(Password::is_token)
}

/// A name that the refused certificate is valid for, out of the text of
/// rustls' `CertificateError::NotValidForNameContext`.
fn certified_name(refusal: &str) -> Option<String> {
    let (_, names) = refusal.split_once("certificate is only valid for ")?;
    let (_, name) = names.split_once("DnsName(\"")?;
    let (name, _) = name.split_once('"')?;
    // Any host will do for a wildcard.
    Some(match name.strip_prefix("*.") {
        Some(domain) => format!("any.{domain}"),
        None => name.to_owned(),
    })
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

#[cfg(test)]
mod tests {
    use super::certified_name;

    #[test]
    fn a_refused_certificates_name_is_found_and_wildcards_become_a_host() {
        let refusal = |names: &str| {
            format!(
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for {names}"
            )
        };
        for (names, expected) in [
            ("DnsName(\"db.test\")", Some("db.test")),
            (
                "IpAddress(127.0.0.2), DnsName(\"*.db.test\") or DnsName(\"x\")",
                Some("any.db.test"),
            ),
            ("IpAddress(127.0.0.2)", None),
        ] {
            assert_eq!(
                certified_name(&refusal(names)).as_deref(),
                expected,
                "{names}"
            );
        }
        assert_eq!(
            certified_name("invalid peer certificate: UnknownIssuer"),
            None
        );
    }
}
