//! The edge: the cache in front of the application, which takes invalidations
//! in the end.
//!
//! - `contract`: requests, answers, and what an edge promises.
//! - `cover`: which requests cover which messages; no I/O.
//! - `cloudfront`: the contract, kept with Amazon CloudFront.
//! - `cache_behavior`: what a live distribution does with paths.
//! - `budget`: what a month's invalidations cost, in paths.
//! - `invalidation_log`: what was invalidated lately, on disk.
//! - `rate_limit`: how often the edge may be called.

pub mod budget;
pub mod cache_behavior;
pub mod cloudfront;
mod contract;
pub mod cover;
pub mod invalidation_log;
pub mod rate_limit;

pub use self::cloudfront::CloudFront;
pub use self::contract::*;
