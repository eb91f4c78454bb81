//! Which message entered a buffer before another.

/// Where a message stands in its buffer's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// Which buffer the order is of.
    pub buffer: u64,
    /// By the buffer's own clock or count, never by this machine's.
    pub at: u64,
    /// Everything that stands here or later certainly came after it: `at`, and
    /// what the clocks of a shared buffer may differ by.
    pub certain_from: u64,
}
