//! evictd
pub mod binlog;
pub mod buffer;
pub mod cache;
pub mod checkpoint;
pub mod cli;
pub mod command;
pub mod config;
pub mod edge;
pub mod model;
pub mod pipeline;
pub mod rules;
pub mod telemetry;
