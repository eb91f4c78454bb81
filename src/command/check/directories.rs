//! The directories that hold files.

use std::path::Path;

use crate::checkpoint::FileCheckpoint;
use crate::command::finding::{Finding, Level};
use crate::command::lasting;
use crate::config::{BufferConfig, CheckpointConfig, Config};

/// Checks whether this process could write to them. Leaves nothing behind.
pub fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut checkpoint_dir = None;
    if let CheckpointConfig::File { path } = &config.checkpoint {
        checkpoint_dir = path.parent();
        found.extend(parent(path, "checkpoint", "checkpoint.path"));
        if FileCheckpoint::is_in_use(path) {
            let message = format!("{} is in use by a running daemon", path.display());
            found.push(Finding::new(Level::Note, "checkpoint", message));
        }
    }
    match &config.ledger_dir {
        Some(dir) if Some(dir.as_path()) == checkpoint_dir => {}
        Some(dir) => found.push(directory(dir, "ledger", "ledger.dir")),
        None => found.push(Finding::new(
            Level::Note,
            "ledger",
            "ledger.dir is not set: gaps and dead letters are only in the log and in the status",
        )),
    }
    if let Some(BufferConfig::Local { path }) = &config.buffer {
        found.extend(parent(path, "buffer", "buffer.path"));
        let problem = lasting::problem(config);
        found.extend(problem.map(|problem| Finding::new(Level::Error, "buffer", problem)));
    }
    found
}

fn parent(file: &Path, part: &'static str, field: &str) -> Option<Finding> {
    Some(directory(file.parent()?, part, field))
}

fn directory(path: &Path, part: &'static str, field: &str) -> Finding {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let shown = path.display();
    let error = |problem: String| {
        Finding::new(
            Level::Error,
            part,
            format!(
                "{shown} {problem}; create it, let the account that runs evictd write to it, or correct {field}"
            ),
        )
    };
    if !path.is_dir() {
        return error("is not a directory".to_owned());
    }
    match tempfile::tempfile_in(path) {
        Ok(_) => Finding::new(Level::Ok, part, format!("{shown} can be written to")),
        Err(reason) => error(format!("cannot be written to ({reason})")),
    }
}
