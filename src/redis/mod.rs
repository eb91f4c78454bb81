//! Connections to Redis: one server, a cluster, or a primary that sentinels know.
//!
//! - `target`: what to connect to, and how.
//! - `address`: the host and port of a server.
//! - `connection`: commands, whatever the layout of the servers is.
//! - `server`: the connection to one server.
//! - `cluster`: commands sent to the primaries of a cluster.
//! - `node`: the answers of a node about its cluster.
//! - `outages`: nodes of a cluster that do not answer.
//! - `topology`: which primary serves which slots.
//! - `slot`: the slot of a key, which decides the primary that has it.
//! - `redirection`: answers that name another server of a cluster.
//! - `sentinel`: the primary that sentinels name.
//! - `error`: what an error means for the caller.

pub(crate) mod address;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod error;
mod node;
pub(crate) mod outages;
pub(crate) mod redirection;
pub(crate) mod sentinel;
pub(crate) mod server;
pub(crate) mod slot;
pub(crate) mod target;
pub(crate) mod topology;

pub use self::error::RequestError;
pub use self::target::{Layout, RedisTarget, TlsFiles};
