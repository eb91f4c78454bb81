//! The file's errors in the words that an operator needs.

use std::path::Path;
use std::sync::Arc;

use super::file::is_anothers;
use super::location::dangling;
use crate::buffer::BufferError;

/// The remedy for an error that should not happen.
pub(super) const BUG: &str = "this is a defect in evictd, report it with this line";

pub(super) fn refusal(
    path: &Arc<str>,
    operation: &'static str,
    reason: &str,
    remedy: &str,
) -> BufferError {
    BufferError::Refused {
        buffer: Arc::clone(path),
        operation,
        code: "local".to_owned(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Does `work` where it may block, and explains its errors.
pub(super) async fn blocking<T, F>(
    path: &Arc<str>,
    operation: &'static str,
    work: F,
) -> Result<T, BufferError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, redb::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(path, operation, &error)),
        Err(error) => Err(refusal(path, operation, &error.to_string(), BUG)),
    }
}

fn explain(path: &Arc<str>, operation: &'static str, error: &redb::Error) -> BufferError {
    let reason = error.to_string();
    let target = dangling(Path::new(&**path));
    if let (redb::Error::Io(_), Some(target)) = (error, target) {
        return refusal(
            path,
            operation,
            &reason,
            &format!(
                "the path is a symbolic link to {}, whose directory is not there: make or mount that, or correct the link",
                target.display()
            ),
        );
    }
    match error {
        redb::Error::DatabaseAlreadyOpen => refusal(
            path,
            operation,
            "another process has it open",
            "stop the other evictd; if it has a configuration of its own, give each a path of its own",
        ),
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidInput => refusal(
            path,
            operation,
            &reason,
            "name a file in buffer.path; it need not exist yet, and nothing is changed of what is there",
        ),
        redb::Error::Io(io)
            if matches!(
                io.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            let directory = Path::new(&**path).parent().unwrap_or(Path::new(""));
            refusal(
                path,
                operation,
                &reason,
                &format!(
                    "make the directory {} and let evictd's user write to it",
                    directory.display()
                ),
            )
        }
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => refusal(
            path,
            operation,
            &reason,
            "let evictd's user read and write the file and its directory",
        ),
        another if is_anothers(another) => refusal(
            path,
            operation,
            &reason,
            "the file is not a queue of evictd, or is one whose first bytes are damaged: give another path, or \
             move the file away",
        ),
        redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => refusal(
            path,
            operation,
            &reason,
            "a later version of evictd, or another program, wrote the file: start that one, or give another path; \
             to move the file away loses the paths that wait in it",
        ),
        // Another file has taken its place.
        redb::Error::Corrupted(_) => BufferError::Unavailable {
            buffer: Arc::clone(path),
            operation,
            code: "damaged".to_owned(),
            reason,
        },
        // A full disk, a failing one: the next attempt opens the file anew.
        redb::Error::Io(_) | redb::Error::PreviousIo => BufferError::Unavailable {
            buffer: Arc::clone(path),
            operation,
            code: "io".to_owned(),
            reason,
        },
        _ => refusal(path, operation, &reason, BUG),
    }
}
