//! Whether the buffer lasts as long as the position in the checkpoint.

use crate::config::{BufferConfig, CheckpointConfig, Config};
use crate::durable::file_system;

/// Why paths can be lost that the stored position has passed: the checkpoint is in
/// Redis, and the local buffer is where it goes with the machine. `None` if there
/// is no reason to think so.
pub fn problem(config: &Config) -> Option<String> {
    let (CheckpointConfig::Redis { .. }, Some(BufferConfig::Local { path }), Some(_)) =
        (&config.checkpoint, &config.buffer, &config.cloudfront)
    else {
        return None;
    };
    // A directory that is not there is another matter.
    let file_system = file_system::fleeting(path).ok().flatten()?;
    Some(format!(
        "buffer.path {} is on {file_system}, which goes with this machine or container, and the checkpoint in Redis \
         stays: each time every path that any rule covers would have to be invalidated; put the file on a volume that \
         lasts, or use kind = \"sqs\", or checkpoint.store = \"file\" beside it",
        path.display()
    ))
}
