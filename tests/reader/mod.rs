//! What applications are given to read and fill with, against real Redis.

mod fill;

/// The script as it is shipped.
pub const FILL: &str = include_str!("../../lua/fill.lua");

/// What evictd does to a guard. `KEYS[1]` is the guard, `ARGV[1]` the version, `ARGV[2]` the guard's time to live in
/// ms.
pub const RAISE: &str = include_str!("../../src/cache/raise.lua");
