//! The counts in a file, replaced as a whole.

use std::io;
use std::path::Path;

use super::{Accounts, BudgetError};
use crate::durable::{DirectoryLock, atomic_file};

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
    let locked = DirectoryLock::take(path).map_err(failed(path, "lock"));
    let lock = match locked.and_then(|lock| Ok((lock, read(path)?))) {
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
    replace(path, known).map_err(failed(path, "write"))?;
    drop(lock);
    Ok(())
}

/// What the file says; nothing if there is none.
pub(super) fn read(path: &Path) -> Result<Accounts, BudgetError> {
    let malformed = |reason: String| BudgetError::Malformed {
        path: path.display().to_string(),
        reason,
    };
    let Some(bytes) = atomic_file::read(path).map_err(failed(path, "read"))? else {
        return Ok(Accounts::default());
    };
    let accounts: Accounts =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    match accounts.version {
        FORMAT_VERSION => Ok(accounts),
        other => Err(malformed(format!("its format is version {other}"))),
    }
}

fn failed(path: &Path, action: &'static str) -> impl Fn(io::Error) -> BudgetError {
    move |error| BudgetError::Io {
        path: path.display().to_string(),
        action,
        reason: error.to_string(),
    }
}

fn replace(path: &Path, accounts: &Accounts) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(accounts)?;
    bytes.push(b'\n');
    atomic_file::replace(path, &bytes)
}
