//! The counts in a file, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::{Accounts, BudgetError};

const FORMAT_VERSION: u32 = 1;

/// Reads the file, changes what it says, and writes it back, alone among all
/// processes that share it.
///
/// What cannot be written is changed in `known` all the same.
pub(super) fn change(
    path: &Path,
    known: &mut Accounts,
    work: impl FnOnce(&mut Accounts),
) -> Result<(), BudgetError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |action: &'static str| {
        move |error: io::Error| BudgetError::Io {
            path: path.display().to_string(),
            action,
            reason: error.to_string(),
        }
    };
    // The lock is the directory's, so that no file is left behind for it. It
    // ends with the handle.
    let lock = File::open(directory).and_then(|file| file.lock().map(|()| file));
    let lock = lock.map_err(failed("lock"));
    let read = lock.and_then(|lock| Ok((lock, read(path)?)));
    let lock = match read {
        Ok((lock, accounts)) => {
            *known = accounts;
            lock
        }
        Err(error) => {
            work(known);
            return Err(error);
        }
    };
    let before = known.clone();
    work(known);
    known.version = FORMAT_VERSION;
    if *known == before {
        return Ok(());
    }
    replace(path, directory, known).map_err(failed("write"))?;
    drop(lock);
    Ok(())
}

fn read(path: &Path) -> Result<Accounts, BudgetError> {
    let malformed = |reason: String| BudgetError::Malformed {
        path: path.display().to_string(),
        reason,
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Accounts::default()),
        Err(error) => {
            return Err(BudgetError::Io {
                path: path.display().to_string(),
                action: "read",
                reason: error.to_string(),
            });
        }
    };
    let accounts: Accounts =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    match accounts.version {
        FORMAT_VERSION => Ok(accounts),
        other => Err(malformed(format!("its format is version {other}"))),
    }
}

/// Writes beside the file, then renames, as the checkpoint does.
fn replace(path: &Path, directory: &Path, accounts: &Accounts) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(accounts)?;
    bytes.push(b'\n');
    let mut temporary = tempfile::Builder::new()
        .prefix(".budget-")
        .tempfile_in(directory)?;
    temporary.write_all(&bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}
