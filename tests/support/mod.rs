//! Real servers for the tests, the demo and the benchmark: MySQL, Redis, an AWS emulator, and evictd itself as
//! a process.
//!
//! Every server listens on 127.0.0.1 only, on a port of its own, and keeps its files in a scratch directory.
//! A server is killed when its value is dropped, and when the process that started it ends in any way, SIGKILL
//! included; the scratch directories go with it. What cannot be set up panics with the reason and the end of
//! the server's log: a test has nothing better to do with it.
//!
//! Used with `mod support;` from `tests/main.rs` and through `#[path]` elsewhere.
#![allow(
    dead_code,
    unused_imports,
    reason = "each user of the module uses a part of it"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a server that cannot be set up ends the test"
)]

mod aws;
mod clock;
mod cloudfront;
mod disk;
mod evictd;
mod mysql;
mod mysql_gate;
mod paid_twice;
mod php;
mod port;
mod process;
mod promtool;
mod provision;
mod redis;
mod redis_cluster;
mod redis_gate;
mod redis_sentinels;
mod relay;
mod scratch;
mod servers;
mod tls;
mod tokens;

pub use aws::{Aws, Invalidation, shared_aws};
pub use clock::Clock;
pub use cloudfront::{FakeCloudFront, FakeCounts, FakeInvalidation, FakeSettings};
pub use disk::{Disk, zero_pages};
pub use evictd::{Evictd, EvictdOptions, Finished};
pub use mysql::{EVICTD_PASSWORD, Mysql, MysqlOptions, shared_mysql};
pub use mysql_gate::{Letting, MysqlGate};
pub use paid_twice::{ChangedPath, PaidTwice, paid_twice};
pub use php::php;
pub use port::free_port;
pub use process::{Process, eventually};
pub use promtool::run_promtool;
pub use provision::provision;
pub use redis::{Redis, RedisOptions};
pub use redis_cluster::RedisCluster;
pub use redis_gate::RedisGate;
pub use redis_sentinels::RedisSentinels;
pub use relay::{Cut, Relay};
pub use scratch::scratch;
pub use servers::{Servers, servers};
pub use tls::{Certificates, Identity, certificates};
pub use tokens::{assert_tokens, token_env};
