//! A gate in front of a MySQL server, which asks for a token as Aurora does (`AWSAuthenticationPlugin`), with TLS. No
//! free MySQL has a plugin that asks for a password in clear; behind the login all is the real server's.
//!
//! The packets are those of "Connection Phase" in the MySQL source documentation.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::tokens::Presented;
use super::{Identity, Mysql};

const CLIENT_CONNECT_WITH_DB: u32 = 1 << 3;
const CLIENT_SSL: u32 = 1 << 11;
const CLIENT_CONNECT_ATTRS: u32 = 1 << 20;
const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;

/// Who the gate is to the server: somebody without a password, with the grants of evictd.
const BEHIND: &str = "behind_the_gate";

/// Whom the gate lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letting {
    /// Everybody who presents something, through TLS.
    In,
    /// Nobody, as Aurora does when the token is not right.
    Nobody,
    /// It asks for the password in clear without TLS: no server of AWS does so.
    Through,
}

/// The gate. It ends when it is dropped.
#[derive(Debug)]
pub struct MysqlGate {
    port: u16,
    presented: Arc<Mutex<Vec<Presented>>>,
    _tasks: JoinSet<()>,
}

impl MysqlGate {
    /// In front of `mysql`, with this certificate.
    pub async fn to(mysql: &Mysql, identity: &Identity, letting: Letting) -> Self {
        mysql
            .exec(format!(
                "SET sql_log_bin = 0; CREATE USER IF NOT EXISTS '{BEHIND}'@'%' IDENTIFIED WITH caching_sha2_password BY ''; \
                 GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT, TRIGGER ON *.* TO '{BEHIND}'@'%'"
            ))
            .await;
        let acceptor = acceptor(identity);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let presented = Arc::new(Mutex::new(Vec::new()));
        let (server, seen) = (mysql.port(), Arc::clone(&presented));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let gate = Connection {
                    server,
                    letting,
                    acceptor: acceptor.clone(),
                    seen: Arc::clone(&seen),
                };
                connections.spawn(async move {
                    // Either side may end it whenever it likes.
                    gate.pass(client).await.ok();
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            presented,
            _tasks: tasks,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What was presented in clear so far.
    pub fn presented(&self) -> Vec<Presented> {
        self.presented.lock().unwrap().clone()
    }
}

pub(super) fn acceptor(identity: &Identity) -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(&identity.certificate).unwrap();
    let certificates = certificates.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

struct Connection {
    server: u16,
    letting: Letting,
    acceptor: TlsAcceptor,
    seen: Arc<Mutex<Vec<Presented>>>,
}

impl Connection {
    async fn pass(self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)).await?;
        let (_, mut greeting) = read(&mut server).await?;
        // After the version: the connection's number, eight bytes of a nonce and a zero.
        let version_ends = greeting.iter().position(|byte| *byte == 0).unwrap();
        let capabilities = version_ends + 1 + 4 + 8 + 1;
        let [low, high] = &mut greeting[capabilities..capabilities + 2] else {
            unreachable!("two bytes");
        };
        let offered = u16::from_le_bytes([*low, *high]);
        let ssl = u16::try_from(CLIENT_SSL).unwrap();
        let offered = match self.letting {
            Letting::Through => offered & !ssl,
            Letting::In | Letting::Nobody => offered | ssl,
        };
        [*low, *high] = offered.to_le_bytes();
        write(&mut client, 0, &greeting).await?;
        if self.letting == Letting::Through {
            return self.log_in(client, server).await;
        }
        let (_, request) = read(&mut client).await?;
        if request.len() != 32 {
            let refusal = b"\xff\x57\x0c#HY000Connections using insecure transport are prohibited";
            return write(&mut client, 2, refusal).await;
        }
        let client = self.acceptor.accept(client).await?;
        self.log_in(client, server).await
    }

    async fn log_in(
        self,
        mut client: impl AsyncRead + AsyncWrite + Unpin,
        mut server: TcpStream,
    ) -> io::Result<()> {
        let (sequence, response) = read(&mut client).await?;
        let [a, b, c, d, packet_and_collation @ ..] = response.as_slice() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let wanted = u32::from_le_bytes([*a, *b, *c, *d]);
        let user = packet_and_collation[28..].split(|byte| *byte == 0);
        let user = String::from_utf8_lossy(user.take(1).next().unwrap()).into_owned();
        write(&mut client, sequence + 1, b"\xfemysql_clear_password\0").await?;
        let (sequence, token) = read(&mut client).await?;
        let Some((0, token)) = token.split_last() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let token = String::from_utf8_lossy(token);
        self.seen
            .lock()
            .unwrap()
            .push(Presented::now(&user, &token));
        if self.letting == Letting::Nobody {
            let refusal = format!("\u{7f}\u{15}\u{4}#28000Access denied for user '{user}'");
            let mut refusal = refusal.into_bytes();
            refusal[0] = 0xff;
            return write(&mut client, sequence + 1, &refusal).await;
        }

        let wanted = wanted & !(CLIENT_SSL | CLIENT_CONNECT_WITH_DB | CLIENT_CONNECT_ATTRS);
        let mut login = (wanted | CLIENT_PLUGIN_AUTH).to_le_bytes().to_vec();
        login.extend(&packet_and_collation[..28]);
        login.extend(BEHIND.as_bytes());
        login.push(0);
        // No proof: there is no password.
        login.push(0);
        login.extend(b"caching_sha2_password\0");
        write(&mut server, 1, &login).await?;
        let (_, answer) = read(&mut server).await?;
        write(&mut client, sequence + 1, &answer).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        Ok(())
    }
}

/// A packet with its number.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    from.read_exact(&mut header).await?;
    let [a, b, c, sequence] = header;
    let mut packet = vec![0; usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap()];
    from.read_exact(&mut packet).await?;
    Ok((sequence, packet))
}

async fn write(to: &mut (impl AsyncWrite + Unpin), sequence: u8, packet: &[u8]) -> io::Result<()> {
    let [a, b, c, _] = u32::try_from(packet.len()).unwrap().to_le_bytes();
    let mut bytes = vec![a, b, c, sequence];
    bytes.extend(packet);
    to.write_all(&bytes).await?;
    to.flush().await
}
