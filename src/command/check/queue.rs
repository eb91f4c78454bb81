//! The queue between the cache and the edge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::buffer::{BufferError, Local, LocalCondition, Message, QueueSettings};
use crate::command::finding::{Finding, Level};
use crate::command::store;
use crate::config::Config;
use crate::model::BufferMark;

/// Shortest visibility timeout without a warning. A drain that loses its
/// messages to another one makes both pay for the paths.
const VISIBILITY_SECONDS_MIN: u64 = 10;

/// Shortest retention without a warning, as for the binlog: an outage of
/// CloudFront must not lose paths.
const RETENTION_SECONDS_MIN: u64 = 24 * 3_600;

/// Judges where messages go that nothing can be done with.
pub fn dead_letters(queue: &QueueSettings, max_receives: u32) -> Finding {
    let (level, message) = match queue.max_receive_count {
        None if queue.has_dead_letter_queue => (
            Level::Ok,
            "the queue answers and has a dead-letter queue".to_owned(),
        ),
        None => (
            Level::Warning,
            "the queue has no dead-letter queue: a message that cannot be sent comes back until its retention ends; set a redrive policy".to_owned(),
        ),
        Some(1) => (
            Level::Warning,
            "the queue moves a message to its dead-letter queue when it is received a second time, with no reason: a drain that ends or is held up for a visibility timeout buries what it holds, though nothing is wrong with it; set maxReceiveCount to 50 or more".to_owned(),
        ),
        Some(count) if count <= max_receives => (
            Level::Warning,
            format!(
                "the queue moves a message to its dead-letter queue after {count} receives, and evictd does so after {max_receives} (buffer.max_receives), with a reason: the queue gives none, and it also counts receives of paths that only waited; set maxReceiveCount to {} or more",
                max_receives.saturating_mul(10)
            ),
        ),
        Some(count) => (
            Level::Ok,
            format!("the queue answers, and moves a message to its dead-letter queue after {count} receives"),
        ),
    };
    Finding::new(level, "sqs", message)
}

/// Judges the settings of the queue.
pub(super) fn settings(queue: &QueueSettings, max_receives: u32) -> Vec<Finding> {
    let mut found = vec![dead_letters(queue, max_receives)];
    let mut add = |level, message: String| found.push(Finding::new(level, "sqs", message));
    let visibility = queue.visibility.as_secs();
    if visibility < VISIBILITY_SECONDS_MIN {
        add(
            Level::Warning,
            format!(
                "the queue's visibility timeout is {visibility} s: a drain that is held up loses its messages to another, and the paths are sent twice; set 30 s or more"
            ),
        );
    }
    if let Some(seconds) = queue.retention.map(|retention| retention.as_secs())
        && seconds < RETENTION_SECONDS_MIN
    {
        add(
            Level::Warning,
            format!(
                "the queue drops messages after {seconds} s: paths that are not sent by then are lost; set a retention of {RETENTION_SECONDS_MIN} s or more"
            ),
        );
    }
    if queue.fifo {
        add(
            Level::Note,
            "the queue is a FIFO queue: that works, but a standard queue is faster and costs less"
                .to_owned(),
        );
    }
    found
}

/// The cost of a start with another buffer than the stored position names.
const WIDENS: &str = "`evictd run` invalidates every path that any rule covers, at every distribution, which CloudFront \
                      bills and the origin feels";

/// The buffer that the stored position names. A checkpoint that cannot be read is
/// another matter.
async fn stored(config: &Config) -> Option<BufferMark> {
    store::buffer_mark(config).await.ok().flatten()
}

fn before(mark: &BufferMark) -> String {
    match mark {
        BufferMark::Queue(url) => format!("the queue {url}"),
        BufferMark::File {
            path: Some(path), ..
        } => format!("the file {path}"),
        BufferMark::File { path: None, .. } => "a local file".to_owned(),
    }
}

/// Says so if paths were sent to another buffer than this queue until now.
pub(super) async fn another(config: &Config, queue_url: &str) -> Option<Finding> {
    let stored = stored(config).await?;
    if stored == BufferMark::Queue(queue_url.to_owned()) {
        return None;
    }
    let message = format!(
        "paths were sent to {} when the position was stored, and not to this queue: what waits there is not sent, and \
         {WIDENS}; correct [buffer], or let that buffer run empty first",
        before(&stored)
    );
    Some(Finding::new(Level::Warning, "sqs", message))
}

/// Looks at the file of a local buffer as a start would.
pub(super) async fn file(config: &Config, path: &Path) -> Result<Option<Finding>, BufferError> {
    let stored = stored(config).await;
    let shown = path.display();
    let found = Local::examine(path.to_owned(), stored.clone()).await?;
    let (level, message) = match (found, stored) {
        (LocalCondition::Absent, None) => return Ok(None),
        (LocalCondition::Absent, Some(mark)) => (
            Level::Warning,
            format!(
                "{shown} is not there, or is empty, and paths were sent to {} when the position was stored: unless that \
                 is put back, what waits in it is lost, and {WIDENS}; put it back, or correct buffer.path",
                before(&mark)
            ),
        ),
        (LocalCondition::InUse, _) => (
            Level::Note,
            format!(
                "{shown} is in use by a running daemon, and was sound when that opened it; if that is another evictd, \
                 give this one a buffer.path of its own"
            ),
        ),
        (LocalCondition::Another { messages, lack }, _) => (
            Level::Warning,
            format!(
                "{shown} can be read (messages that wait: {messages}), but {lack}: what waits elsewhere is not sent, \
                 and {WIDENS}; put the file back that was there, or correct buffer.path"
            ),
        ),
        (LocalCondition::Sound { messages }, _) => (
            Level::Ok,
            format!("{shown} is sound, messages that wait: {messages}"),
        ),
        (LocalCondition::Damaged(damage), _) => (
            Level::Warning,
            format!(
                "{shown} is damaged ({damage}), and the paths that wait in it are lost: `evictd run` sets it aside as \
                 {shown}.damaged-1 or the next number, makes another one, and invalidates every path that any rule covers"
            ),
        ),
    };
    Ok(Some(Finding::new(level, "buffer", message)))
}

/// Compares messages that wait in the queue with the configuration: two
/// configurations on one queue may mean two distributions by one name.
pub(super) fn others(messages: &[Message], config: &Config) -> Vec<Finding> {
    let distributions = config.cloudfront.iter();
    let ids: BTreeMap<&str, &str> = distributions
        .flat_map(|section| &section.distributions)
        .map(|distribution| (&*distribution.name, &*distribution.id))
        .collect();
    let is_foreign = |message: &&Message| {
        let own = ids.get(&*message.distribution).copied();
        let theirs = message.distribution_id.as_deref().or(own);
        *message.source != config.name && (own.is_none() || own != theirs)
    };
    let foreign: BTreeSet<(&str, &str)> = messages
        .iter()
        .filter(is_foreign)
        .map(|message| (&*message.source, &*message.distribution))
        .collect();
    foreign
        .into_iter()
        .map(|(source, distribution)| {
            let message = format!(
                "the configuration \"{source}\" sends to this queue, too, and its distribution \"{distribution}\" is none of this one's: their drains leave each other's messages to come back, some visibility timeouts late; give each configuration a queue of its own"
            );
            Finding::new(Level::Error, "sqs", message)
        })
        .collect()
}
