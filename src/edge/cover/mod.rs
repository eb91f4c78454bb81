//! Requests, and the messages that they cover: values in, values out, no I/O.
//!
//! - `request`: the next request for a set of messages.
//! - `coalesce`: many paths as few wildcards, where there is no room for all.
//! - `already_invalidated`: messages that an earlier invalidation stands for.
//! - `caller_reference`: the name of a request.
//! - `quota`: invalidations in progress, and how much room they leave.

pub mod already_invalidated;
pub mod caller_reference;
pub mod coalesce;
pub mod quota;
pub mod request;
