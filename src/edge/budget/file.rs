//! The counts in a file, which is replaced as a whole.

use std::io;
use std::path::Path;

use super::{Accounts, BudgetError};
use crate::durable::{DirectoryLock, atomic_file};

const FORMAT_VERSION: u32 = 1;

/// Reads the file, changes the counts in it, and writes it back, while no other
/// process does.
///
/// `known` is changed, too, even where the file cannot be read or written. It stands
/// for a file that is damaged, which is set aside.
pub(super) fn change(
    path: &Path,
    known: &mut Accounts,
    work: impl FnOnce(&mut Accounts),
) -> Result<(), BudgetError> {
    let locked = DirectoryLock::take(path).map_err(failed(path, "lock"));
    let read = locked.and_then(|lock| match read(path) {
        Ok(accounts) => Ok((lock, Some(accounts))),
        Err(BudgetError::Malformed { reason, .. }) => {
            let aside = atomic_file::set_aside(path).map_err(failed(path, "set aside"))?;
            tracing::error!(
                file = %path.display(),
                set_aside = %aside.display(),
                reason,
                "the budget file is damaged and was set aside: what is known goes into a new one; at a start nothing is, and each budget counts as spent for the rest of the month (paths go as wildcards), unless you stop evictd and put an earlier copy of the file in its place"
            );
            Ok((lock, None))
        }
        Err(error) => Err(error),
    });
    let (lock, before) = match read {
        Ok((lock, accounts)) => {
            if let Some(accounts) = &accounts {
                known.clone_from(accounts);
            }
            (lock, accounts)
        }
        Err(error) => {
            work(known);
            return Err(error);
        }
    };
    work(known);
    known.version = FORMAT_VERSION;
    if before.as_ref() == Some(known) {
        return Ok(());
    }
    replace(path, known).map_err(failed(path, "write"))?;
    drop(lock);
    Ok(())
}

/// The counts in the file; none if it does not exist.
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
