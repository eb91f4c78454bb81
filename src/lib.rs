//! evictd
#![allow(missing_docs)]
pub mod binlog;
pub mod buffer;
pub mod config;
pub mod model;
pub mod rules;
pub mod telemetry;
