//! The order of messages in a buffer.

/// A message's place in the order of its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// Identity of the buffer.
    pub buffer: u64,
    /// Time or count by the buffer's own clock, never by this machine's.
    pub at: u64,
    /// The place from which on messages certainly came after this one: `at`, and
    /// the difference that the clocks of a shared buffer may have.
    pub certain_from: u64,
}
