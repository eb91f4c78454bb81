//! The edge: the cache in front of the application (a content delivery network),
//! which takes invalidations after Redis.
//!
//! - `contract`: requests, answers, and what an edge promises.
//! - `cover`: requests, and the messages that they cover; no I/O.
//! - `cloudfront`: the contract, kept with Amazon CloudFront.
//! - `cache_behavior`: the cache behaviours of a live distribution.
//! - `budget`: what a month's invalidations cost, in paths.
//! - `invalidation_log`: invalidations that were made lately, on disk.
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
