//! The server or servers to connect to, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
};

use super::address::Address;
use super::error::RequestError;
use crate::credentials::Password;

/// The server or servers to connect to.
#[derive(Clone)]
pub struct RedisTarget {
    /// A `redis://` URL, or `rediss://` for TLS, without a password.
    pub url: String,
    /// The password of the account, or of the server.
    pub password: Option<Password>,
    pub tls: TlsFiles,
    /// The kind of target behind the URL.
    pub layout: Layout,
    /// The number of replicas that have to acknowledge a change before it counts.
    pub replicas: u16,
}

/// The kind of target behind a URL.
#[derive(Clone, Debug, Default)]
pub enum Layout {
    /// One primary.
    #[default]
    Single,
    /// A node of a cluster, which knows the others.
    Cluster,
    /// A primary that sentinels know. The host of the URL is not used.
    Sentinel {
        /// The name that the sentinels have for the primary.
        master: String,
        /// The `redis://` or `rediss://` URLs of the sentinels.
        urls: Vec<String>,
        /// The password of the sentinels.
        password: Option<Password>,
    },
}

/// PEM files. They are read for each new connection, so that renewed files need no
/// restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The only certificate authorities to accept, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The certificate to present, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Everything needed to connect to any server of a target.
#[derive(Clone)]
pub(crate) struct Access {
    info: ConnectionInfo,
    password: Option<Password>,
    tls: TlsFiles,
}

impl Access {
    /// Reads a URL, and returns the address in it, too.
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
            other => return Err(invalid(format!("{other} is not a host and port"))),
        };
        let access = Self {
            info,
            password: password.cloned(),
            tls: tls.clone(),
        };
        Ok((access, address))
    }

    /// Time for which a connection may be used.
    pub(crate) fn connection_lasts(&self) -> Option<Duration> {
        self.password.as_ref()?.connection_lasts()
    }

    /// A client of the server at `address`, to connect with at once.
    pub(crate) async fn client(&self, address: &Address) -> Result<Client, RequestError> {
        let (host, port) = (address.host.to_string(), address.port);
        let encrypted = matches!(self.info.addr(), ConnectionAddr::TcpTls { .. });
        let addr = if encrypted {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
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
        let client = if encrypted {
            Client::build_with_tls(info, self.tls.read(address)?)
        } else {
            Client::open(info)
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
