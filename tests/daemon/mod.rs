//! The whole daemon as a process, between real servers.

mod beyond_4_gib;
mod cascades;
mod changes;
mod dry_run;
mod faults;
mod large;
mod modes;
mod paths;
mod positions;
mod refusals;
mod shop;
mod statements;
mod tls;
mod transactions;
mod visibility;
