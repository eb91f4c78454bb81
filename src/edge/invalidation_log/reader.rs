//! The file, read from where it was last read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{HistoryError, blocking};
use super::past::Past;

/// Reads records that were added since it last read.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The distribution's id.
    distribution: Arc<str>,
    path: Option<PathBuf>,
    read_up_to: Arc<Mutex<ReadUpTo>>,
}

/// The place up to which a file was read. The file is held open, so that no other
/// file can get its inode number.
#[derive(Debug, Default)]
struct ReadUpTo {
    file: Option<File>,
    offset: u64,
}

impl Reader {
    pub(super) fn new(distribution: &str, path: Option<PathBuf>) -> Self {
        Self {
            distribution: distribution.into(),
            path,
            read_up_to: Arc::default(),
        }
    }

    /// Invalidations that any process put on record since the last call. Some may
    /// have been returned before.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub async fn news(&self) -> Result<Vec<Past>, HistoryError> {
        let Some(path) = self.path.clone() else {
            return Ok(Vec::new());
        };
        let distribution = Arc::clone(&self.distribution);
        let read_up_to = Arc::clone(&self.read_up_to);
        blocking(&path.clone(), "read", move || {
            let bytes = read_up_to
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read_on(&path)?;
            Ok(bytes
                .split(|byte| *byte == b'\n')
                .filter_map(Past::parse)
                .filter(|past| *past.distribution_id == *distribution)
                .collect())
        })
        .await
    }
}

impl ReadUpTo {
    /// Reads whole lines from here on. A file that is another one by now, or
    /// shorter, is read from its beginning.
    fn read_on(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let found = match path.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let known = match &self.file {
            Some(file) => file.metadata()?.ino() == found.ino() && found.len() >= self.offset,
            None => false,
        };
        if !known {
            *self = Self {
                file: Some(File::open(path)?),
                offset: 0,
            };
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)?;
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |last| last + 1));
        self.offset += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(bytes)
    }
}
