//! Why the pipeline ends before it was asked to.

use crate::binlog::SourceError;
use crate::checkpoint::CheckpointError;

/// Why the pipeline ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Changes are lost, and `source.on_gap` is `halt`.
    #[error(transparent)]
    Halted(#[from] SourceError),
    /// Another process leads, and has stored a position of its own.
    #[error(transparent)]
    Superseded(CheckpointError),
    #[error("a task of the pipeline panicked: {0}")]
    Panicked(String),
}
