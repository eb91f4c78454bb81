//! The whole daemon as a process, between real servers.

mod changes;
mod shop;
