//! The whole daemon as a process, between real servers.

mod beyond_4_gib;
mod cascades;
mod changes;
mod drains;
mod dry_run;
mod faults;
mod guards;
mod kills;
mod large;
mod modes;
mod paths;
mod php;
mod positions;
mod redis;
mod refusals;
mod replica_lag;
mod shapes;
pub mod shop;
mod statements;
mod status;
mod tls;
mod transactions;
mod visibility;
