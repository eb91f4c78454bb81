//! What to connect to, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
};

use super::address::Address;
use super::error::RequestError;
use crate::credentials::Password;

/// What to connect to.
#[derive(Clone)]
pub struct RedisTarget {
    /// `redis://` or, for TLS, `rediss://`; without a password.
    pub url: String,
    /// Of the account, or of the server.
    pub password: Option<Password>,
    /// Files for TLS.
    pub tls: TlsFiles,
    /// What the URL leads to.
    pub layout: Layout,
    /// How many replicas have to acknowledge a change before it counts.
    pub replicas: u16,
}

/// What a URL leads to.
#[derive(Clone, Debug, Default)]
pub enum Layout {
    /// One primary.
    #[default]
    Single,
    /// Any node of a cluster, which knows the others.
    Cluster,
    /// A primary that sentinels know. The URL's host is not used.
    Sentinel {
        /// What they call it.
        master: String,
        /// Where they are: `redis://` or `rediss://` URLs.
        urls: Vec<String>,
        /// Theirs.
        password: Option<Password>,
    },
}

/// PEM files. They are read for each new connection, so that renewed ones need
/// no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The only authorities to accept, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// What to present: a certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How to connect to a server of the target, wherever it is.
#[derive(Clone)]
pub(crate) struct Access {
    info: ConnectionInfo,
    password: Option<Password>,
    tls: TlsFiles,
}

impl Access {
    /// Out of a URL, with the address in it.
    pub(crate) fn new(
        url: &str,
        password: Option<&Password>,
        tls: &TlsFiles,
    ) -> Result<(Self, Address), RequestError> {
        let without_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let shown = without_scheme
            .rsplit_once('@')
            .map_or(without_scheme, |(_, host)| host);
        let invalid = |reason: String| RequestError::Refused {
            address: shown.to_owned(),
            code: "invalid-url",
            reason,
            remedy: "correct redis.url",
        };
        let info = url
            .into_connection_info()
            .map_err(|error| invalid(error.to_string()))?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Address {
                    host: host.as_str().into(),
                    port: *port,
                }
            }
            other => return Err(invalid(format!("{other} is no host and port"))),
        };
        let access = Self {
            info,
            password: password.cloned(),
            tls: tls.clone(),
        };
        Ok((access, address))
    }

    /// How long a connection may be used.
    pub(crate) fn connection_lasts(&self) -> Option<Duration> {
        self.password.as_ref()?.connection_lasts()
    }

    /// A client of the server at `address`, to connect with now.
    pub(crate) async fn client(&self, address: &Address) -> Result<Client, RequestError> {
        let (host, port) = (address.host.to_string(), address.port);
        let encrypted = matches!(self.info.addr(), ConnectionAddr::TcpTls { .. });
        let addr = match encrypted {
            true => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            false => ConnectionAddr::Tcp(host, port),
        };
        let mut info = self.info.clone().set_addr(addr);
        if let Some(password) = &self.password {
            let password = password
                .now()
                .await
                .map_err(|error| RequestError::NoToken {
                    address: address.to_string(),
                    reason: error.to_string(),
                })?;
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let client = match encrypted {
            true => Client::build_with_tls(info, self.tls.read(address)?),
            false => Client::open(info),
        };
        client.map_err(|error| RequestError::Refused {
            address: address.to_string(),
            code: "tls-files",
            reason: error.to_string(),
            remedy: "correct the files of redis.tls",
        })
    }
}

impl TlsFiles {
    fn read(&self, address: &Address) -> Result<TlsCertificates, RequestError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| RequestError::Refused {
                address: address.to_string(),
                code: "tls-files",
                reason: format!("{} cannot be read: {error}", path.display()),
                remedy: "correct the files of redis.tls",
            })
        };
        let client_tls = match &self.client {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: read(certificate)?,
                client_key: read(key)?,
            }),
            None => None,
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert: self.ca.as_deref().map(read).transpose()?,
        })
    }
}
