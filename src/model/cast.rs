//! Casts between integers that end at the target's bounds.
//!
//! On the platforms that evictd runs on most of them cannot fail. Where one
//! could, a bound is the honest answer: for counters and for limits it errs
//! towards too much.

use std::time::Duration;

/// A length or a count as 64 bits.
pub fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A number as a length or a count.
pub fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A length or a count as 32 bits, from which a float is made without loss.
pub fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A signed number; zero for a negative one.
pub fn non_negative(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_bounds_end_at_them() {
        assert_eq!((to_u64(7), to_usize(7), to_u32(7)), (7, 7, 7));
        assert_eq!(to_u32(1 << 32), u32::MAX);
        assert_eq!(
            (non_negative(-1), non_negative(i64::MAX)),
            (0, 1_u64.wrapping_shl(63) - 1)
        );
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
