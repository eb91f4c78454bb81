//! The checkpoint in a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::Lock;
use super::{Checkpoint, CheckpointError, FORMAT_VERSION, Stored};

/// A JSON file, replaced as a whole.
#[derive(Clone, Debug)]
pub struct FileCheckpoint {
    path: PathBuf,
    epoch: u64,
    /// Kept until the last write is over, also one whose caller has gone.
    lock: Option<Arc<Lock>>,
}

impl FileCheckpoint {
    /// Uses the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            epoch: 0,
            lock: None,
        }
    }

    /// Keeps the file to this process. Nobody else can write it then.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Held`] if another process has it.
    pub fn lock(mut self) -> Result<Self, CheckpointError> {
        self.lock = Some(Arc::new(Lock::take(&self.path)?));
        Ok(self)
    }

    /// Begins an epoch, `floor` or later, and says what is stored. The first
    /// write tells others of it; until then the lock keeps them out.
    pub async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        let stored = self.load().await?;
        self.epoch = match &stored {
            Some(stored) => floor.max(stored.epoch.saturating_add(1)),
            None => floor,
        };
        Ok(stored)
    }

    /// The same without looking at what is stored, which may be no checkpoint.
    pub fn lead_anew(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// The epoch that was begun; 0 before.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Removes the stored position; false if there was none.
    pub async fn clear(&mut self) -> Result<bool, CheckpointError> {
        let remove = |path: &Path| match fs::remove_file(path) {
            Ok(()) => File::open(directory(path))?.sync_all().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        self.blocking("remove it", remove).await
    }

    fn io_error(&self, action: &'static str, error: &io::Error) -> CheckpointError {
        CheckpointError::Io {
            path: self.path.display().to_string(),
            action,
            reason: error.to_string(),
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Malformed {
            path: self.path.display().to_string(),
            reason: reason.into(),
        }
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
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
            .map_err(|error| self.io_error(action, &error))
    }
}

impl Checkpoint for FileCheckpoint {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        let Some(bytes) = self.blocking("read it", read).await? else {
            return Ok(None);
        };
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|error| self.malformed(error.to_string()))?;
        if stored.version != FORMAT_VERSION {
            return Err(self.malformed(format!("its format is version {}", stored.version)));
        }
        Ok(Some(stored))
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        let epoch = self.epoch;
        let stored = Stored {
            epoch,
            ..stored.clone()
        };
        let mut bytes = serde_json::to_vec_pretty(&stored)
            .map_err(|error| self.malformed(error.to_string()))?;
        bytes.push(b'\n');
        // The lock keeps others out. Should it have been removed with its file,
        // the epoch still does.
        let unless_later = move |path: &Path| match epoch_at(path) {
            Some(by) if by > epoch => Ok(Some(by)),
            _ => replace(path, &bytes).map(|()| None),
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

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The epoch of what is stored, if that is a checkpoint.
fn epoch_at(path: &Path) -> Option<u64> {
    let stored: Stored = serde_json::from_slice(&read(path).ok()??).ok()?;
    Some(stored.epoch)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes beside the file, then renames. The file is synced before, so that
/// the new name never leads to missing bytes; the directory after, so that the
/// rename survives a power loss.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = directory(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(".checkpoint-")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

    fn stored(offset: u64) -> Stored {
        let position = Position {
            file: "mysql-bin.000002".into(),
            offset,
            gtids: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7".parse().unwrap()),
        };
        Stored::new(
            &position,
            "3e11fa47-71ca-11e1-9e33-c80aa9429562",
            1_700_000_000_123_456,
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
    async fn a_checkpoint_that_is_none_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        for content in ["", "{}", "{\"version\":2}", "not json"] {
            fs::write(&path, content).unwrap();
            let error = FileCheckpoint::new(&path).load().await.unwrap_err();
            assert!(
                matches!(error, CheckpointError::Malformed { .. }),
                "{content}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
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
