//! The file: opened and checked, and set aside when it is damaged.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use redb::{
    Builder, Database, Error, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::openings::{Opening, Openings};

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

/// A file that is open and was sound.
pub(super) struct SoundFile {
    pub(super) database: Database,
    pub(super) openings: Openings,
    /// The next sequence number.
    pub(super) next: u64,
    /// The number of messages.
    pub(super) held: u64,
}

/// Opens the file, and makes it when there is none. Every page is checked, since
/// `redb` trusts pages that it reads later.
pub(super) fn open(path: &Path) -> Result<SoundFile, Error> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create(path)?;
    let transaction = write(&database)?;
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

/// Whether a file that could not be opened was a queue, and is damaged. One that
/// begins like something else is somebody else's.
pub(super) fn is_damage(path: &Path, error: &Error) -> bool {
    match error {
        Error::Corrupted(_) => true,
        Error::Io(io) if io.kind() == ErrorKind::UnexpectedEof => true,
        Error::Io(io) if io.kind() == ErrorKind::InvalidData => {
            let mut start = Vec::new();
            let read = File::open(path).map(|file| file.take(16).read_to_end(&mut start));
            read.is_ok() && start.iter().all(|byte| *byte == 0)
        }
        _ => false,
    }
}
