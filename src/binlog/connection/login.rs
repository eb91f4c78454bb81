//! Login, and commands whose answer is one packet.

use std::io;
use std::pin::Pin;

use mysql_async::{DriverError, Error};
use mysql_common::constants::{CapabilityFlags, DEFAULT_MAX_ALLOWED_PACKET, UTF8MB4_GENERAL_CI};
use mysql_common::crypto;
use mysql_common::io::ParseBuf;
use mysql_common::packets::binlog_request::BinlogRequest;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, ErrPacket, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connector::Connector;
use super::failure::broken;
use super::session::SETTINGS;
use super::tls;

/// A socket, secured or not.
pub(in crate::binlog) trait Wire: AsyncRead + AsyncWrite + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Send + Sync> Wire for T {}

/// The part of the protocol that the connection needs, and no more.
const WANTED: CapabilityFlags = CapabilityFlags::CLIENT_PROTOCOL_41
    .union(CapabilityFlags::CLIENT_LONG_PASSWORD)
    .union(CapabilityFlags::CLIENT_SECURE_CONNECTION)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH)
    .union(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA);

const COM_QUERY: u8 = 3;

// The first byte of an answer.
const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const SWITCH: u8 = 0xfe;
const REFUSAL: u8 = 0xff;

// What `caching_sha2_password` says after MORE_DATA (MySQL source
// documentation, "Caching_sha2_password information").
const PASSWORD_KNOWN: u8 = 3;
const PASSWORD_WANTED: u8 = 4;
const KEY_WANTED: u8 = 2;

/// A login still to be made.
pub(in crate::binlog) struct Login<'a> {
    connector: &'a Connector,
}

impl<'a> Login<'a> {
    pub(in crate::binlog) fn new(connector: &'a Connector) -> Self {
        Self { connector }
    }

    /// Connects, logs in, and sets up the session.
    pub(in crate::binlog) async fn session(&self) -> Result<Session, Error> {
        let target = self.connector.target();
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        let mut sequence = 0;
        let mut stream = stream;
        let greeting = read_packet(&mut stream, &mut sequence).await?;
        if greeting.first() == Some(&REFUSAL) {
            return Err(server_error(&greeting));
        }
        let greeting: HandshakePacket<'_> = ParseBuf(&greeting).parse(())?;
        let offered = greeting.capabilities();
        let mut capabilities = offered & WANTED;
        let wire: Pin<Box<dyn Wire>> = match &target.tls {
            None => Box::pin(stream),
            Some(tls) => {
                if !offered.contains(CapabilityFlags::CLIENT_SSL) {
                    return Err(DriverError::NoClientSslFlagFromServer.into());
                }
                capabilities |= CapabilityFlags::CLIENT_SSL;
                let [collation, ..] = UTF8MB4_GENERAL_CI.to_le_bytes();
                let request = SslRequest::new(capabilities, packet_bytes_max(), collation);
                write_packet(&mut stream, &mut sequence, &bytes(&request)).await?;
                Box::pin(tls::secure(stream, &target.host, tls).await?)
            }
        };
        let mut session = Session {
            wire,
            sequence,
            secure: target.tls.is_some(),
            sends_in_clear: self.connector.sends_in_clear(),
        };
        let password = self.connector.password().await?;
        let password = password.as_deref();
        let plugin = match greeting.auth_plugin() {
            Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
            _ => AuthPlugin::MysqlNativePassword,
        };
        let nonce = greeting.nonce();
        let proof = plugin.gen_data(password, &nonce);
        let response = HandshakeResponse::new(
            proof.as_deref(),
            greeting.server_version_parsed().unwrap_or_default(),
            Some(target.user.as_bytes()),
            None::<&[u8]>,
            Some(plugin),
            capabilities,
            None,
            packet_bytes_max(),
        );
        session.write(&bytes(&response)).await?;
        session.prove(password, nonce).await?;
        session.query(SETTINGS).await?;
        Ok(session)
    }
}

/// The longest answer that the server may send. Events may be longer.
fn packet_bytes_max() -> u32 {
    u32::try_from(DEFAULT_MAX_ALLOWED_PACKET).unwrap_or(u32::MAX)
}

/// A connection that is logged in.
pub(in crate::binlog) struct Session {
    wire: Pin<Box<dyn Wire>>,
    /// The next packet's number.
    sequence: u8,
    secure: bool,
    /// [`Connector::sends_in_clear`].
    sends_in_clear: bool,
}

impl Session {
    /// Answers what the server asks for until it accepts the login.
    async fn prove(&mut self, password: Option<&str>, mut nonce: Vec<u8>) -> Result<(), Error> {
        loop {
            let packet = self.read().await?;
            match (packet.first().copied(), packet.get(1).copied()) {
                (Some(OK), _) => return Ok(()),
                (Some(REFUSAL), _) => return Err(server_error(&packet)),
                (Some(SWITCH), _) => {
                    let switch: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(())?;
                    nonce = switch.plugin_data().to_vec();
                    let proof = self.proof(&switch.auth_plugin(), password, &nonce)?;
                    self.write(&proof).await?;
                }
                (Some(MORE_DATA), Some(PASSWORD_KNOWN)) => {}
                (Some(MORE_DATA), Some(PASSWORD_WANTED)) => {
                    let mut secret = terminated(password);
                    if !self.secure {
                        self.write(&[KEY_WANTED]).await?;
                        let key = self.read().await?;
                        if key.first() == Some(&REFUSAL) {
                            return Err(server_error(&key));
                        }
                        let masked = secret.iter_mut().zip(nonce.iter().cycle());
                        masked.for_each(|(byte, mask)| *byte ^= mask);
                        secret = crypto::encrypt(&secret, key.get(1..).unwrap_or_default());
                    }
                    self.write(&secret).await?;
                }
                _ => {
                    return Err(broken(
                        "the server answers the login with an unknown packet",
                    ));
                }
            }
        }
    }

    fn proof(
        &self,
        plugin: &AuthPlugin<'_>,
        password: Option<&str>,
        nonce: &[u8],
    ) -> Result<Vec<u8>, Error> {
        match plugin {
            AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword => {
                let proof = plugin.gen_data(password, nonce);
                Ok(proof.map_or_else(Vec::new, |proof| proof.to_vec()))
            }
            // Anybody on the way could read it, or pretend to be the server.
            AuthPlugin::MysqlClearPassword if self.sends_in_clear => Ok(terminated(password)),
            AuthPlugin::MysqlClearPassword => Err(DriverError::CleartextPluginDisabled.into()),
            other => Err(DriverError::UnknownAuthPlugin {
                name: String::from_utf8_lossy(other.as_bytes()).into_owned(),
            }
            .into()),
        }
    }

    /// Runs a statement without a result.
    pub(in crate::binlog) async fn query(&mut self, sql: &str) -> Result<(), Error> {
        self.ask(sql).await?;
        self.accepted().await
    }

    async fn ask(&mut self, sql: &str) -> Result<(), Error> {
        let mut packet = vec![COM_QUERY];
        packet.extend(sql.as_bytes());
        self.send(&packet).await
    }

    /// The text that a statement selects, which is short and alone.
    pub(in crate::binlog) async fn select(&mut self, sql: &str) -> Result<String, Error> {
        self.ask(sql).await?;
        let columns = self.read().await?;
        if columns.first() == Some(&REFUSAL) {
            return Err(server_error(&columns));
        }
        // One column and its end, then one row and its end (MySQL source
        // documentation, "COM_QUERY Response").
        let [_column, _end, row, _last] = [
            self.read().await?,
            self.read().await?,
            self.read().await?,
            self.read().await?,
        ];
        match row.split_first() {
            Some((length, text)) if text.len() == usize::from(*length) => {
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            _ => Err(broken("the server answers a question with no short text")),
        }
    }

    /// Runs a command that the server answers with OK.
    pub(in crate::binlog) async fn command(
        &mut self,
        command: &impl MySerialize,
    ) -> Result<(), Error> {
        self.send(&bytes(command)).await?;
        self.accepted().await
    }

    /// Asks for the binlog; whatever comes from now on is part of it.
    pub(in crate::binlog) async fn send_dump(
        &mut self,
        request: &BinlogRequest<'_>,
    ) -> Result<(), Error> {
        self.send(&bytes(&request.as_cmd())).await
    }

    /// The socket, of which nothing was read beyond the last answer.
    pub(in crate::binlog) fn into_wire(self) -> Pin<Box<dyn Wire>> {
        self.wire
    }

    async fn accepted(&mut self) -> Result<(), Error> {
        let packet = self.read().await?;
        match packet.first() {
            Some(&OK) => Ok(()),
            Some(&REFUSAL) => Err(server_error(&packet)),
            _ => Err(broken("the server answers neither OK nor an error")),
        }
    }

    async fn send(&mut self, command: &[u8]) -> Result<(), Error> {
        self.sequence = 0;
        self.write(command).await
    }

    async fn read(&mut self) -> Result<Vec<u8>, Error> {
        Ok(read_packet(&mut self.wire, &mut self.sequence).await?)
    }

    async fn write(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(write_packet(&mut self.wire, &mut self.sequence, payload).await?)
    }
}

fn bytes(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

fn terminated(password: Option<&str>) -> Vec<u8> {
    let mut secret = password.unwrap_or_default().as_bytes().to_vec();
    secret.push(0);
    secret
}

/// Reads an answer from before the dump, which always fits into one packet.
async fn read_packet(
    wire: &mut (impl AsyncRead + Unpin),
    sequence: &mut u8,
) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    wire.read_exact(&mut header).await?;
    let [low, middle, high, number] = header;
    *sequence = number.wrapping_add(1);
    let length = u32::from_le_bytes([low, middle, high, 0]);
    let mut packet = vec![0; usize::try_from(length).unwrap_or_default()];
    wire.read_exact(&mut packet).await?;
    Ok(packet)
}

async fn write_packet(
    wire: &mut (impl AsyncWrite + Unpin),
    sequence: &mut u8,
    payload: &[u8],
) -> io::Result<()> {
    // A set of GTIDs is the longest, and it is far from a packet's 16 MB.
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|length| *length < 0xff_ffff);
    let Some(length) = length else {
        return Err(io::Error::other("a command is longer than a packet"));
    };
    let [low, middle, high, _] = length.to_le_bytes();
    let mut packet = vec![low, middle, high, *sequence];
    packet.extend(payload);
    *sequence = sequence.wrapping_add(1);
    wire.write_all(&packet).await?;
    wire.flush().await
}

/// An ERR packet as an error.
pub(in crate::binlog) fn server_error(packet: &[u8]) -> Error {
    match ParseBuf(packet).parse(CapabilityFlags::CLIENT_PROTOCOL_41) {
        Ok(ErrPacket::Error(error)) => error.into(),
        Ok(ErrPacket::Progress(_)) | Err(_) => {
            broken("the server refuses, and its reason cannot be read")
        }
    }
}
