//! The edge on Amazon CloudFront.
//!
//! - `client`: CloudFront in one AWS account.
//! - `edge`: the contract of an edge, kept with it.
//! - `tenant`: invalidations of one tenant of a multi-tenant distribution.
//! - `clock`: CloudFront's clock, as its answers tell it.
//! - `answer`: CloudFront's answers in the words of the contract.
//! - `error`: CloudFront's errors as what they mean.

mod answer;
mod client;
mod clock;
mod edge;
mod error;
mod tenant;

pub use self::client::CloudFront;
pub(super) use self::error::explain;
