//! Metric names. Every name starts with `evictd_`, durations are in seconds.

/// Messages received from the buffer, redeliveries included. Counter.
pub const BUFFER_MESSAGES_RECEIVED: &str = "evictd_buffer_messages_received_total";
/// Messages deleted from the buffer after the edge accepted all their paths.
/// Counter.
pub const BUFFER_MESSAGES_DELETED: &str = "evictd_buffer_messages_deleted_total";
/// Messages received again while they were still held: their visibility
/// timeout ran out, so other copies may be working on them too. Counter.
pub const BUFFER_MESSAGES_REDELIVERED: &str = "evictd_buffer_messages_redelivered_total";
/// Messages left to the buffer's redrive policy, by `reason`. A message counts
/// once for each delivery. Counter.
pub const BUFFER_MESSAGES_LEFT: &str = "evictd_buffer_messages_left_total";
/// Calls to the buffer that failed, by `operation`. Counter.
pub const BUFFER_ERRORS: &str = "evictd_buffer_errors_total";
/// Messages the drain holds: received and not yet deleted. Gauge.
pub const DRAIN_HELD_MESSAGES: &str = "evictd_drain_held_messages";
/// Paths the drain holds, before deduplication. Gauge.
pub const DRAIN_HELD_PATHS: &str = "evictd_drain_held_paths";
/// Paths the edge accepted, by `distribution`. Counter.
pub const EDGE_PATHS: &str = "evictd_edge_paths_total";
/// Invalidations the edge accepted, by `distribution`. Counter.
pub const EDGE_INVALIDATIONS: &str = "evictd_edge_invalidations_total";
/// Invalidations tried again, whole or split, by `error`. Counter.
pub const EDGE_RETRIES: &str = "evictd_edge_retries_total";
/// Paths the edge refused for good, by `error`. Counter.
pub const EDGE_PATHS_REFUSED: &str = "evictd_edge_paths_refused_total";
/// From the oldest commit in a message to the edge's acceptance of all its
/// paths, by `distribution`. Histogram.
pub const COMMIT_TO_EDGE_ACCEPTED: &str = "evictd_commit_to_edge_accepted_seconds";
