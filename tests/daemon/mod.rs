//! The whole daemon as a process, between real servers.

mod cascades;
mod changes;
mod drains;
mod dry_run;
mod faults;
mod paths;
mod positions;
mod refusals;
mod shop;
mod statements;
mod tls;
mod transactions;
mod visibility;
