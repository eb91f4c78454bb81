//! The queue between the cache and the edge.

use crate::buffer::QueueSettings;
use crate::command::finding::{Finding, Level};

/// A drain that lost its messages to another after a few seconds would pay
/// twice.
const VISIBILITY_SECONDS_MIN: u64 = 10;

/// As the binlog: an outage of CloudFront's side must not cost paths.
const RETENTION_SECONDS_MIN: u64 = 24 * 3_600;

pub(super) fn settings(queue: &QueueSettings, max_receives: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |level, message: String| found.push(Finding::new(level, "sqs", message));
    match queue.max_receive_count {
        None if queue.has_dead_letter_queue => add(
            Level::Ok,
            "the queue answers and has a dead-letter queue".to_owned(),
        ),
        None => add(
            Level::Warning,
            "the queue has no dead-letter queue: what cannot be sent comes back until its retention ends; set a redrive policy".to_owned(),
        ),
        Some(count) if count <= max_receives => add(
            Level::Warning,
            format!(
                "the queue moves a message to its dead-letter queue after {count} receives, and evictd does so with a reason after {max_receives} (buffer.max_receives): without a reason it cannot be told what was wrong, and paths that only waited count too; set maxReceiveCount to {} or more",
                max_receives.saturating_mul(10)
            ),
        ),
        Some(count) => add(
            Level::Ok,
            format!("the queue answers and has a dead-letter queue, after {count} receives"),
        ),
    }
    let visibility = queue.visibility.as_secs();
    if visibility < VISIBILITY_SECONDS_MIN {
        add(
            Level::Warning,
            format!(
                "the queue's visibility timeout is {visibility} s: a drain that is held up loses its messages to another, and the paths go twice; set 30 s or more"
            ),
        );
    }
    if let Some(seconds) = queue.retention.map(|retention| retention.as_secs())
        && seconds < RETENTION_SECONDS_MIN
    {
        add(
            Level::Warning,
            format!(
                "the queue drops messages after {seconds} s: paths that could not be sent until then are lost; set a retention of {RETENTION_SECONDS_MIN} s or more"
            ),
        );
    }
    if queue.fifo {
        add(
            Level::Note,
            "it is a FIFO queue: it works, and a standard queue is quicker and costs less"
                .to_owned(),
        );
    }
    found
}
