//! The smallest over-invalidation that fits into what may be sent.
//!
//! Pure, and deterministic: equal sets give equal covers. CloudFront matches a
//! path as it is, or by its beginning where it ends in `*`. A tag is matched by
//! itself and by `/*` alone.
//!
//! **Law** (Over, never under): every path of the set is matched by the result,
//! and the result never exceeds the room. Paths that cannot fit, for want of a
//! wildcard, are not cut down but wait.
//!
//! - `smallest_cover`: what fits as it is, and wildcards otherwise.
//! - `search`: the search for wildcards that fit.
//! - `unit_set`: a set of paths of which none covers another.
//! - `cover`: what a path that is sent stands for.
//! - `room`: how much may be sent.
//! - `tests`: cases and laws of all of them.

mod cover;
mod room;
mod search;
mod smallest_cover;
mod unit_set;

pub use self::cover::Cover;
pub use self::room::Room;
pub use self::smallest_cover::coalesce;
pub use crate::model::edge_item::matches;

#[cfg(test)]
mod tests;
