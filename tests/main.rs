//! Tests against real servers.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod architecture;
mod configuration;
mod decoder;
mod edge;
mod planner;
mod servers;
mod support;
