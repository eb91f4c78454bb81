//! The whole daemon as a process, between real servers.

mod changes;
mod positions;
mod shop;
