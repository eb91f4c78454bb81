//! Why the pipeline ends before it was asked to.

use crate::binlog::SourceError;
use crate::checkpoint::CheckpointError;

/// Why the pipeline ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Changes are lost, and the configuration says to halt.
    #[error(transparent)]
    Halted(#[from] SourceError),
    /// Another evictd leads.
    #[error(transparent)]
    Superseded(CheckpointError),
    /// A task panicked.
    #[error("a task of the pipeline panicked: {0}")]
    Panicked(String),
}
