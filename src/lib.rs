//! evictd
#![allow(missing_docs)]
pub mod config;
pub mod model;
pub mod rules;
