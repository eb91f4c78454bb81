//! A TCP proxy that stalls, cuts and slows down what runs through it, and an HTTP one that answers errors too.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clients::Endpoint;
use super::shapes::now_us;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// They stay open, and not a byte moves.
    Stall,
    /// They break, and new ones break at once.
    Cut,
    /// Every chunk of a few hundred bytes comes this much later.
    Slow(Duration),
    /// HTTP: each request is answered with this status and goes nowhere.
    Answer(u16),
    /// HTTP: each request goes through, and its answer is lost.
    Deaf,
}

const SLOW_CHUNK_BYTES: usize = 512;
const CHUNK_BYTES: usize = 64 << 10;

/// Far more than any message or request of evictd's.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Called with each request before it goes on, and after it with the status that it got.
pub type Watch = Arc<dyn Fn(Seen) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the client gets in place of a server's answer.
pub type Alter = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// What an HTTP proxy saw.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A request's first line and body, which wait until the watcher is done.
    Request(Arc<str>),
    /// The same request, which came at this time, was answered with this status.
    Answered(Arc<str>, u16, u64),
}

/// A proxy in front of one server on this machine. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    target: Endpoint,
    mode: watch::Sender<Mode>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Hands bytes on to the server at `target`.
    pub async fn tcp(target: u16) -> Self {
        let target = Endpoint::new(target);
        let towards = target.clone();
        Self::start(target, move |client, mode| {
            forward(client, towards.port(), mode)
        })
        .await
    }

    /// Hands requests on, one on each connection.
    pub async fn http(target: u16, watch: Watch, alter: Alter) -> Self {
        Self::start(Endpoint::new(target), move |client, mode| {
            exchange(client, target, mode, Arc::clone(&watch), Arc::clone(&alter))
        })
        .await
    }

    async fn start<F, Fut>(target: Endpoint, serve: F) -> Self
    where
        F: Fn(TcpStream, watch::Receiver<Mode>) -> Fut + Send + 'static,
        Fut: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).ok();
                let mut modes = modes.clone();
                let served = serve(client, modes.clone());
                connections.spawn(async move {
                    let cut = modes.wait_for(|mode| *mode == Mode::Cut);
                    // A broken connection shows at both of its ends.
                    tokio::select! {
                        _ = cut => {}
                        _ = served => {}
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            target,
            mode,
            _tasks: tasks,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections go to another server; those that are open stay where they are.
    pub fn leads_to(&self, port: u16) {
        self.target.moves_to(port);
    }

    /// For connections that are open as well as for new ones.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn forward(
    client: TcpStream,
    target: u16,
    mode: watch::Receiver<Mode>,
) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // One direction that ends takes the other along.
    tokio::select! {
        ended = pump(from_client, to_server, mode.clone()) => ended,
        ended = pump(from_server, to_client, mode) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let room = match *mode.borrow() {
            Mode::Slow(_) => SLOW_CHUNK_BYTES,
            _ => CHUNK_BYTES,
        };
        let read = from.read(&mut chunk[..room]).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let now = *mode.borrow();
        match now {
            Mode::Slow(delay) => tokio::time::sleep(delay).await,
            Mode::Stall => moving(&mut mode).await,
            _ => {}
        }
        to.write_all(&chunk[..read]).await?;
    }
}

async fn moving(mode: &mut watch::Receiver<Mode>) {
    mode.wait_for(|mode| *mode != Mode::Stall).await.ok();
}

async fn exchange(
    mut client: TcpStream,
    target: u16,
    mut mode: watch::Receiver<Mode>,
    watch: Watch,
    alter: Alter,
) -> std::io::Result<()> {
    let Some((head, body)) = request(&mut client).await? else {
        return Ok(());
    };
    moving(&mut mode).await;
    let now = *mode.borrow();
    match now {
        Mode::Answer(status) => {
            let answer = format!(
                "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return client.write_all(answer.as_bytes()).await;
        }
        Mode::Slow(delay) => tokio::time::sleep(delay).await,
        _ => {}
    }
    let received_us = now_us();
    let first_line = head.lines().next().unwrap_or_default();
    let text: Arc<str> = format!("{first_line}\n{}", String::from_utf8_lossy(&body)).into();
    watch(Seen::Request(Arc::clone(&text))).await;

    // Closing after one exchange tells where the answer ends.
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    let mut lines: Vec<&str> = head
        .lines()
        .filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    lines.push("connection: close\r\n\r\n");
    server.write_all(lines.join("\r\n").as_bytes()).await?;
    server.write_all(&body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    if now == Mode::Deaf {
        return Ok(());
    }
    moving(&mut mode).await;
    let status = answer
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .unwrap_or(0);
    client.write_all(&alter(answer)).await?;
    client.shutdown().await?;
    watch(Seen::Answered(text, status, received_us)).await;
    Ok(())
}

/// A request's head and body, if the client sends one.
async fn request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length: usize = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, length)| length.trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Ok(Some((head, bytes.split_off(end + 4))));
            }
        }
        let read = client.read(&mut chunk).await?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..read]);
        assert!(bytes.len() <= REQUEST_BYTES_MAX, "no request is that large");
    }
}
