//! What applications are given to read and fill with, against real Redis.

mod fill;

/// The script as it is shipped.
pub const FILL: &str = include_str!("../../lua/fill.lua");

/// What evictd does to a guard: raises it, never lowers it. `KEYS[1]` is the guard, `ARGV[1]` the version,
/// `ARGV[2]` the guard's time to live in ms.
pub const RAISE: &str = "
local old, new = redis.call('GET', KEYS[1]), ARGV[1]
if not old or #old < #new or (#old == #new and old < new) then
  redis.call('SET', KEYS[1], new, 'PX', ARGV[2])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end";
