//! The checkpoint in a file of this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contract::{Checkpoint, CheckpointError, Stored, StoredBy};
use crate::durable::{FileLock, FileLockError, atomic_file, blocking, is_full};

/// A checkpoint in a JSON file, which is replaced as a whole.
#[derive(Clone, Debug)]
pub struct FileCheckpoint {
    path: PathBuf,
    epoch: u64,
    by: Option<StoredBy>,
    /// Kept until the last write has ended, even one whose caller was cancelled.
    lock: Option<Arc<FileLock>>,
}

impl FileCheckpoint {
    /// A checkpoint in the file at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            epoch: 0,
            by: None,
            lock: None,
        }
    }

    /// What it stores from now on is `by` this evictd.
    #[must_use]
    pub fn by(mut self, by: StoredBy) -> Self {
        self.by = Some(by);
        self
    }

    /// Whether another process has locked the checkpoint at `path`.
    pub fn is_in_use(path: &Path) -> bool {
        FileLock::is_taken(path)
    }

    /// Locks the file, so that no other process writes to it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Held`] if another process has locked it.
    pub fn lock(mut self) -> Result<Self, CheckpointError> {
        let lock = FileLock::take(&self.path).map_err(|error| match error {
            FileLockError::Held { holder } => CheckpointError::Held {
                path: self.path.display().to_string(),
                holder,
            },
            FileLockError::Io {
                lock_file,
                action,
                error,
            } => io_error(&lock_file, action, &error),
        })?;
        self.lock = Some(Arc::new(lock));
        Ok(self)
    }

    /// Begins an epoch, `floor` or later, and returns the stored position. Others
    /// see the epoch from the first write on; until then the lock keeps them out.
    pub async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        let stored = self.load().await?;
        self.epoch = after(stored.as_ref(), floor);
        Ok(stored)
    }

    /// Begins an epoch, `floor` or later, for a position that replaces what is
    /// stored, which need not be a checkpoint.
    pub async fn lead_anew(&mut self, floor: u64) {
        let before = self.load().await.ok().flatten();
        self.epoch = after(before.as_ref(), floor);
    }

    /// The epoch that was begun; 0 before.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Removes the stored position; `false` if there was none.
    pub async fn clear(&mut self) -> Result<bool, CheckpointError> {
        self.blocking("remove it", atomic_file::remove).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let (path, lock) = (self.path.clone(), self.lock.clone());
        let work = move || {
            let done = work(&path);
            drop(lock);
            done
        };
        blocking(work)
            .await
            .flatten()
            .map_err(|error| io_error(&self.path, action, &error))
    }
}

impl Checkpoint for FileCheckpoint {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        let Some(bytes) = self.blocking("read it", atomic_file::read).await? else {
            return Ok(None);
        };
        let path = || self.path.display().to_string();
        let malformed = |reason| CheckpointError::Malformed {
            path: path(),
            reason,
        };
        Stored::parse(&bytes, path, malformed).map(Some)
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        let epoch = self.epoch;
        let stored = Stored {
            epoch,
            by: self.by.clone(),
            ..stored.clone()
        };
        let unless_later = move |path: &Path| {
            // The lock keeps others out. Should it have been removed together
            // with its file, the epoch still does.
            if let Some(by) = epoch_at(path).filter(|by| *by > epoch) {
                return Ok(Some(by));
            }
            let mut bytes = serde_json::to_vec_pretty(&stored)?;
            bytes.push(b'\n');
            atomic_file::replace(path, &bytes).map(|()| None)
        };
        match self.blocking("write it", unless_later).await? {
            None => Ok(()),
            Some(by) => Err(CheckpointError::Superseded {
                place: self.path.display().to_string(),
                epoch,
                by,
            }),
        }
    }
}

/// The first epoch that may follow `stored`, `floor` at least.
fn after(stored: Option<&Stored>, floor: u64) -> u64 {
    stored.map_or(floor, |stored| floor.max(stored.epoch.saturating_add(1)))
}

/// The epoch of the stored checkpoint, if there is one.
fn epoch_at(path: &Path) -> Option<u64> {
    let bytes = atomic_file::read(path).ok()??;
    let stored: Stored = serde_json::from_slice(&bytes).ok()?;
    Some(stored.epoch)
}

fn io_error(path: &Path, action: &'static str, error: &io::Error) -> CheckpointError {
    let (path, reason) = (path.display().to_string(), error.to_string());
    if error.kind() == io::ErrorKind::InvalidInput {
        return CheckpointError::Refused {
            place: path,
            reason: format!("{reason}: name a file in checkpoint.path, which need not exist yet"),
        };
    }
    if is_full(error) {
        return CheckpointError::Full {
            path,
            action,
            reason,
        };
    }
    CheckpointError::Io {
        path,
        action,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{CommitTime, Position};

    fn stored(offset: u64) -> Stored {
        let position = Position {
            file: "mysql-bin.000002".into(),
            offset,
            gtids: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7".parse().unwrap()),
        };
        Stored::new(
            &position,
            "3e11fa47-71ca-11e1-9e33-c80aa9429562",
            CommitTime::from_micros(1_700_000_000_123_456),
        )
    }

    #[tokio::test]
    async fn what_is_stored_is_loaded_and_nothing_else_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut checkpoint = FileCheckpoint::new(directory.path().join("shop.checkpoint.json"));
        assert_eq!(checkpoint.load().await.unwrap(), None);
        checkpoint.store(&stored(4)).await.unwrap();
        checkpoint.store(&stored(5_000_000_000)).await.unwrap();
        let loaded = checkpoint.load().await.unwrap().unwrap();
        assert_eq!(loaded, stored(5_000_000_000));
        assert_eq!(loaded.position().offset, 5_000_000_000);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn each_leader_has_a_later_epoch_and_those_before_store_nothing_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.checkpoint.json");
        let mut old = FileCheckpoint::new(&path);
        assert_eq!(old.lead(1_000).await.unwrap(), None);
        old.store(&stored(4)).await.unwrap();
        let mut new = FileCheckpoint::new(&path);
        // The source's clock may have been set back.
        assert_eq!(new.lead(10).await.unwrap().unwrap().epoch, 1_000);
        new.store(&stored(500)).await.unwrap();
        let error = old.store(&stored(700)).await.unwrap_err();
        assert!(
            matches!(
                error,
                CheckpointError::Superseded {
                    epoch: 1_000,
                    by: 1_001,
                    ..
                }
            ),
            "{error}"
        );
        let kept = new.load().await.unwrap().unwrap();
        assert_eq!((kept.offset, kept.epoch), (500, 1_001));
    }

    #[tokio::test]
    async fn a_checkpoint_of_before_there_were_epochs_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.checkpoint.json");
        let mut json = serde_json::to_value(stored(4)).unwrap();
        json.as_object_mut().unwrap().remove("epoch").unwrap();
        fs::write(&path, json.to_string()).unwrap();
        let mut checkpoint = FileCheckpoint::new(&path);
        assert_eq!(checkpoint.lead(7).await.unwrap().unwrap().offset, 4);
        checkpoint.store(&stored(8)).await.unwrap();
        assert_eq!(checkpoint.load().await.unwrap().unwrap().epoch, 7);
    }

    #[tokio::test]
    async fn a_locked_checkpoint_names_its_process_and_is_free_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.checkpoint.json");
        assert!(!FileCheckpoint::is_in_use(&path));
        let locked = FileCheckpoint::new(&path).lock().unwrap();
        assert!(FileCheckpoint::is_in_use(&path));
        let error = FileCheckpoint::new(&path).lock().unwrap_err();
        assert!(matches!(error, CheckpointError::Held { .. }), "{error}");
        let own = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&own), "{error}");
        drop(locked);
        FileCheckpoint::new(&path).lock().unwrap();
    }

    #[tokio::test]
    async fn a_checkpoint_that_is_none_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        let mut more = serde_json::to_value(stored(4)).unwrap();
        more["more"] = 1.into();
        let of_later = [r#"{"version":2}"#.to_owned(), more.to_string()];
        let others = ["", "{}", "not json", r#"{"version":1}"#, r#"{"version":0}"#];
        for content in others.map(str::to_owned).iter().chain(&of_later) {
            fs::write(&path, content).unwrap();
            let error = FileCheckpoint::new(&path).load().await.unwrap_err();
            let text = error.to_string();
            if of_later.contains(content) {
                assert!(
                    text.contains("start that version, or a later one"),
                    "{text}"
                );
                assert!(text.contains("evictd checkpoint set P"), "{text}");
            } else {
                assert!(matches!(error, CheckpointError::Malformed { .. }), "{text}");
            }
            assert!(error.is_of_something_else(), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), *content);
        }
    }

    #[tokio::test]
    async fn what_is_not_a_file_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        for path in [path.as_path(), directory.path()] {
            let error = FileCheckpoint::new(path).load().await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("name a file in checkpoint.path"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_directory_is_an_error_that_says_so() {
        let mut checkpoint = FileCheckpoint::new("/nonexistent/evictd/x.json");
        let error = checkpoint.store(&stored(4)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("check that the directory exists"),
            "{error}"
        );
    }
}
