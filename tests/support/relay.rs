//! A relay in front of a server, which lets only so many bytes out.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to a port of 127.0.0.1. Dropping it cuts them all.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    allowed: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// In front of `port`; what the server sends passes unhindered.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let own = listener.local_addr().expect("it is bound").port();
        let (allowed, limit) = watch::channel(u64::MAX);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, port, limit.clone()));
            }
        });
        Self {
            port: own,
            allowed,
            task,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds back what the server sends on a connection beyond its first `bytes`.
    pub fn hold_after(&self, bytes: u64) {
        self.allowed.send_replace(bytes);
    }

    /// Lets everything pass again.
    pub fn release(&self) {
        self.hold_after(u64::MAX);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, port: u16, mut limit: watch::Receiver<u64>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let questions = async move {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
    };
    let answers = async move {
        let mut buffer = vec![0; 64 << 10];
        let mut passed = 0_u64;
        loop {
            let allowed = *limit.borrow_and_update();
            let room = usize::try_from(allowed.saturating_sub(passed)).unwrap_or(usize::MAX);
            if room == 0 {
                if limit.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let most = room.min(buffer.len());
            match from_server.read(&mut buffer[..most]).await {
                Ok(read @ 1..) if to_client.write_all(&buffer[..read]).await.is_ok() => {
                    passed += u64::try_from(read).expect("a buffer is small");
                }
                _ => return,
            }
        }
    };
    // Either side's end is the connection's.
    tokio::select! {
        () = questions => {}
        () = answers => {}
    }
}
