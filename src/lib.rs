//! Turns committed MySQL row changes into Redis deletions and CloudFront
//! invalidations.

pub mod buffer;
pub mod edge;
pub mod model;
pub mod pipeline;
pub mod telemetry;
