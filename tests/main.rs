//! Tests against real servers, and of the whole crate from outside.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it compared"
)]

mod architecture;
mod cache;
mod commands;
mod configuration;
mod daemon;
mod decoder;
mod edge;
mod guarantees;
mod live;
mod messages;
mod metrics;
mod model;
mod oracle;
mod performance;
mod planner;
mod reader;
mod servers;
mod service;
mod soak;
mod support;
