//! A relay in front of a server, which lets only so many bytes out.

use std::net::Ipv4Addr;
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// How much is passed on at a time at most.
const BUFFER_BYTES: u64 = 1 << 20;

/// Passes connections on to a port of 127.0.0.1. Dropping it cuts them all.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    allowed: watch::Sender<u64>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// In front of `port`; what the server sends passes unhindered. It has a thread of its own: gigabytes would hold
    /// up the test's.
    pub async fn to(port: u16) -> Self {
        let (allowed, limit) = watch::channel(u64::MAX);
        let (end, ended) = oneshot::channel();
        let (bound, own) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .await
                    .expect("a port is free");
                let own = listener.local_addr().expect("it is bound").port();
                bound.send(own).expect("the port is waited for");
                let passing = async {
                    let mut connections = tokio::task::JoinSet::new();
                    while let Ok((client, _)) = listener.accept().await {
                        connections.spawn(pass(client, port, limit.clone()));
                    }
                };
                tokio::select! {
                    () = passing => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port: own.await.expect("the relay listens"),
            allowed,
            end: Some(end),
            thread: Some(thread),
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
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
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
        let mut passed = 0_u64;
        loop {
            let allowed = *limit.borrow_and_update();
            let room = allowed.saturating_sub(passed).min(BUFFER_BYTES);
            if room == 0 {
                if limit.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let mut piece = Vec::with_capacity(64 << 10);
            let mut next = (&mut from_server).take(room);
            match next.read_buf(&mut piece).await {
                Ok(read @ 1..) if to_client.write_all(&piece).await.is_ok() => {
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
