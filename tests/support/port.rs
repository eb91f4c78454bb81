//! Free TCP ports.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Below the ports that Linux hands out for outgoing connections, so that a stopped server finds its port still
/// free when it starts again. A Redis Cluster node also uses its port + 10,000.
const FIRST: u16 = 12_000;
const LAST: u16 = 21_999;
const REDIS_CLUSTER_BUS_OFFSET: u16 = 10_000;

/// A port on 127.0.0.1 that nothing listens on and that this process hands out only once.
pub fn free_port() -> u16 {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

    // Start anywhere: other test processes on this machine do the same.
    let span = u64::from(LAST - FIRST) + 1;
    let start = u16::try_from(RandomState::new().hash_one(()) % span).expect("the span is small");
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    (FIRST + start..=LAST)
        .chain(FIRST..FIRST + start)
        .find(|port| {
            let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            !taken.contains(port)
                && free(*port)
                && free(*port + REDIS_CLUSTER_BUS_OFFSET)
                && taken.insert(*port)
        })
        .expect("one of 10,000 ports is free")
}
