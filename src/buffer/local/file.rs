//! The file: opened and checked, and told from one that is damaged or another's.

use std::any::Any;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Bound::Unbounded;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Error, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, TableHandle, WriteTransaction,
};

use super::location::{FileIdentity, dangling};
use super::openings::{Opening, Openings};
use crate::durable::atomic_file;

/// Bodies with their checksums by sequence number.
pub(super) const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
/// Messages that nothing could be done with, as JSON, by sequence number.
pub(super) const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead_letters");
/// Identities of openings by the first number that each may have given out.
pub(super) const OPENINGS: TableDefinition<'_, u64, u128> = TableDefinition::new("openings");
/// Numbers the queue remembers.
pub(super) const NUMBERS: TableDefinition<'_, &str, u128> = TableDefinition::new("numbers");
/// The next sequence number. Stored, so that one is not used again after the
/// newest message was deleted.
pub(super) const NEXT: &str = "next";
/// The identity of a file of a version that had one for all openings.
const IDENTITY: &str = "identity";

/// The whole queue is a few pages most of the time.
const CACHE_BYTES: usize = 16 * 1_024 * 1_024;

/// The first bytes of every `redb` file.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// The first bytes of a file that `redb` has not finished making: it writes `MAGIC` last.
const UNFINISHED: &[u8] = b"\0\0\0\0\0\0\0\0\0\x04\0\0\0\x10\0\0";
/// The bytes that say the version of the format, one for each of two commits.
const VERSIONS_AT: [usize; 2] = [64, 192];
/// The version of the format that every evictd until now has written.
const VERSION: u8 = 3;

/// A file that is open and was sound.
#[derive(Debug)]
pub(super) struct SoundFile {
    pub(super) database: Database,
    pub(super) opened: FileIdentity,
    pub(super) openings: Openings,
    /// The next sequence number.
    pub(super) next: u64,
    /// The number of messages.
    pub(super) held: u64,
}

/// Opens the file, and makes it when there is none. Every page is checked, since
/// `redb` trusts pages that it reads later.
///
/// # Errors
///
/// `Corrupted` for a queue that is damaged, `UpgradeRequired` for a file in another
/// format, and see [`is_anothers`].
pub(super) fn open(path: &Path) -> Result<SoundFile, Error> {
    atomic_file::refuse_special(path)?;
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false);
    sound(file.open(path)?).map_err(|error| judged(path, error))
}

/// Finds out what [`open`] would, and leaves the file as it is: a copy is opened,
/// which nobody else sees. `None` if nothing is there.
pub(super) fn examine(path: &Path) -> Result<Option<SoundFile>, Error> {
    atomic_file::refuse_special(path)?;
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && dangling(path).is_none() => {
            return Ok(None);
        }
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    let lock = FileBackend::new(file.try_clone()?)?;
    if let Ok(false) = lock.try_lock_range(Unbounded, Unbounded) {
        return Err(Error::DatabaseAlreadyOpen);
    }
    if !head(path)?.starts_with(MAGIC) {
        return Err(judged(path, Error::Io(ErrorKind::InvalidData.into())));
    }
    let mut copy = atomic_file::nameless(path)?;
    io::copy(&mut file, &mut copy)?;
    let found = sound(copy);
    found.map(Some).map_err(|error| judged(path, error))
}

fn sound(file: File) -> Result<SoundFile, Error> {
    let opened = FileIdentity::of(&file)?;
    let file = FileBackend::new(file)?;
    catch_unwind(AssertUnwindSafe(|| read_whole(file, opened))).unwrap_or_else(panicked)
}

/// `redb` may panic at a page that was damaged since it was checked.
pub(super) fn panicked<T>(_: Box<dyn Any + Send>) -> Result<T, Error> {
    Err(Error::Corrupted("redb cannot read a page".to_owned()))
}

fn read_whole(file: FileBackend, opened: FileIdentity) -> Result<SoundFile, Error> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(file)?;
    let transaction = write(&database)?;
    let tables: Vec<_> = transaction.list_tables()?.collect();
    if !tables.is_empty() && tables.iter().all(|table| table.name() != MESSAGES.name()) {
        return Err(Error::TableDoesNotExist(MESSAGES.name().to_owned()));
    }
    let (openings, next, held);
    {
        let messages = transaction.open_table(MESSAGES)?;
        transaction.open_table(DEAD)?;
        let numbers = transaction.open_table(NUMBERS)?;
        let mut table = transaction.open_table(OPENINGS)?;
        next = next_number(&numbers)?;
        if let (Some(identity), true, true) = (numbers.get(IDENTITY)?, table.is_empty()?, next > 0)
        {
            table.insert(0, identity.value())?;
        }
        let oldest = messages.first()?.map(|(sequence, _)| sequence.value());
        for from in read(&table)?.to_forget(oldest) {
            table.remove(from)?;
        }
        openings = read(&table)?;
        held = messages.len()?;
    }
    transaction.commit()?;
    Ok(SoundFile {
        database,
        opened,
        openings,
        next,
        held,
    })
}

/// Begins a transaction that survives once it is committed. In two phases, so that
/// a page of it that is damaged later is found, and is not taken for a commit that
/// a crash cut short.
pub(super) fn write(database: &Database) -> Result<WriteTransaction, Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

pub(super) fn next_number(numbers: &impl ReadableTable<&'static str, u128>) -> Result<u64, Error> {
    let next = numbers.get(NEXT)?.map_or(0, |next| next.value());
    u64::try_from(next).map_err(|_| Error::Corrupted(format!("the next sequence number is {next}")))
}

fn read(table: &impl ReadableTable<u64, u128>) -> Result<Openings, Error> {
    let mut openings = Vec::new();
    for entry in table.iter()? {
        let (from, identity) = entry?;
        openings.push(Opening {
            from: from.value(),
            identity: identity.value(),
        });
    }
    Ok(Openings::new(openings))
}

/// The bytes at the beginning, as far as they say whose file it is.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(256).read_to_end(&mut head)?;
    Ok(head)
}

/// Why `redb` could not open the file, in the light of its first bytes. Damage
/// shows in one of the two versions; where both say the same, somebody wrote them.
fn judged(path: &Path, error: Error) -> Error {
    match &error {
        Error::Corrupted(_) | Error::UpgradeRequired(_) => {}
        Error::Io(io) if matches!(io.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
        }
        _ => return error,
    }
    let head = match head(path) {
        Ok(head) => head,
        Err(error) => return error.into(),
    };
    let versions = VERSIONS_AT.map(|at| head.get(at).copied().unwrap_or(VERSION));
    let unmade = || {
        head.iter()
            .zip(UNFINISHED)
            .all(|(byte, own)| byte == own || *byte == 0)
    };
    match (head.starts_with(MAGIC), versions) {
        (true, [version, other]) if version == other && ![0, VERSION].contains(&version) => {
            Error::UpgradeRequired(version)
        }
        (true, _) if matches!(error, Error::Corrupted(_)) => error,
        (true, _) => Error::Corrupted(error.to_string()),
        (false, _) if unmade() => Error::Corrupted("it was never finished".to_owned()),
        (false, _) => {
            io::Error::new(ErrorKind::InvalidData, "it begins like something else").into()
        }
    }
}

/// The damage, if the error means that a queue is damaged. Where a queue `was_in_use`,
/// any other file in its place counts as a damaged queue.
pub(super) fn damage(error: &Error, was_in_use: bool) -> Option<String> {
    match error {
        Error::Corrupted(damage) => Some(damage.clone()),
        error if was_in_use && is_anothers(error) => Some(error.to_string()),
        _ => None,
    }
}

/// Whether the error says that the file begins like something else, or is a database
/// of something else.
pub(super) fn is_anothers(error: &Error) -> bool {
    match error {
        Error::TableDoesNotExist(_) => true,
        Error::Io(io) => io.kind() == ErrorKind::InvalidData,
        _ => false,
    }
}
