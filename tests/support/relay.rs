//! A relay in front of a server, which lets only so many bytes out, and cuts connections.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// How much is passed on at a time at most.
const PIECE_BYTES: usize = 64 << 10;

/// Which connections break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    All,
    /// Those that were used for what they are for: one that is still being made is left, or on a busy machine none
    /// would ever be.
    Used,
    /// Those that a binlog comes over.
    Dumps,
}

/// What evictd says on a connection to Redis, and to MySQL about what is visible, each more than once.
const USE: [&[u8]; 2] = [b"UNLINK", b"WAIT_FOR_EXECUTED_GTID_SET"];

/// Passes connections on to a port of 127.0.0.1. Dropping it cuts them all.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    /// Where new connections go, one after the other.
    servers: Arc<Mutex<VecDeque<u16>>>,
    /// How many bytes of each connection, and whether nothing more of a binlog.
    allowed: watch::Sender<(u64, bool)>,
    cut: watch::Sender<Cut>,
    made: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    dumps: Arc<AtomicU64>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// In front of `port`; what the server sends passes unhindered. It has a thread of its own: gigabytes would hold
    /// up the test's.
    pub async fn to(port: u16) -> Self {
        let (allowed, limit) = watch::channel((u64::MAX, false));
        let (cut, cuts) = watch::channel(Cut::All);
        let made = Arc::new(AtomicU64::new(0));
        let open = Arc::new(AtomicU64::new(0));
        let dumps = Arc::new(AtomicU64::new(0));
        let counted = [Arc::clone(&made), Arc::clone(&open)];
        let asked = Arc::clone(&dumps);
        let servers = Arc::new(Mutex::new(VecDeque::from([port])));
        let lead_to = Arc::clone(&servers);
        let (end, ended) = oneshot::channel();
        let (bound, own) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .await
                    .expect("a port is free");
                let own = listener.local_addr().expect("it is bound").port();
                bound.send(own).expect("the port is waited for");
                let passing = async {
                    let mut connections = tokio::task::JoinSet::new();
                    while let Ok((client, _)) = listener.accept().await {
                        for count in &counted {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        let open = Arc::clone(&counted[1]);
                        let mut cuts = cuts.clone();
                        cuts.mark_unchanged();
                        let port = {
                            let mut servers = lead_to.lock().expect("nobody panics with it");
                            servers.rotate_left(1);
                            *servers.back().expect("there is one")
                        };
                        let passing = pass(client, port, limit.clone(), cuts, Arc::clone(&asked));
                        connections.spawn_local(async move {
                            passing.await;
                            open.fetch_sub(1, Ordering::Relaxed);
                        });
                        while connections.try_join_next().is_some() {}
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
            servers,
            allowed,
            cut,
            made,
            open,
            dumps,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Passes new connections on to another port, and leaves those that are open.
    pub fn lead_to(&self, port: u16) {
        self.lead_in_turn(&[port]);
    }

    /// Passes new connections on to each of these ports in turn.
    pub fn lead_in_turn(&self, ports: &[u16]) {
        *self.servers.lock().expect("nobody panics with it") = ports.iter().copied().collect();
    }

    /// Holds back what the server sends on a connection beyond its first `bytes`.
    pub fn hold_after(&self, bytes: u64) {
        self.allowed.send_replace((bytes, false));
    }

    /// Holds back what the server sends of its binlog from now on, and nothing else.
    pub fn hold_dumps(&self) {
        self.allowed.send_replace((u64::MAX, true));
    }

    /// Breaks connections that are open now.
    pub fn cut(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }

    /// How many connections were made so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// How many of them a binlog came over.
    pub fn dumps(&self) -> u64 {
        self.dumps.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
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

async fn pass(
    client: TcpStream,
    port: u16,
    mut limit: watch::Receiver<(u64, bool)>,
    mut cuts: watch::Receiver<Cut>,
    asked: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (dumps, used) = (Cell::new(false), Cell::new(false));
    let questions = async {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from_client.read(&mut piece).await {
            // COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID, each the first packet of its exchange.
            if matches!(piece[..read], [_, _, _, 0, 0x12 | 0x1e, ..]) {
                dumps.set(true);
                asked.fetch_add(1, Ordering::Relaxed);
            }
            let says = |word: &[u8]| piece[..read].windows(word.len()).any(|bytes| bytes == word);
            used.set(used.get() || USE.into_iter().any(says));
            if to_server.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
    };
    let cut = async {
        while cuts.changed().await.is_ok() {
            let cut = match *cuts.borrow_and_update() {
                Cut::All => true,
                Cut::Used => used.get(),
                Cut::Dumps => dumps.get(),
            };
            if cut {
                return;
            }
        }
    };
    let is_dump = &dumps;
    let answers = async move {
        let mut passed = 0_u64;
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from_server.read(&mut piece).await {
            let mut rest = &piece[..read];
            while !rest.is_empty() {
                // What was waited for when the limit changed is held back too.
                let may_pass =
                    |limit: &(u64, bool)| limit.0 > passed && !(limit.1 && is_dump.get());
                let Ok(room) = limit.wait_for(may_pass).await.map(|limit| limit.0 - passed) else {
                    return;
                };
                let now = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                let (passes, held) = rest.split_at(now);
                if to_client.write_all(passes).await.is_err() {
                    return;
                }
                rest = held;
                passed += u64::try_from(now).expect("a piece is small");
            }
        }
    };
    // Either side's end is the connection's.
    tokio::select! {
        () = questions => {}
        () = answers => {}
        () = cut => {}
    }
}
