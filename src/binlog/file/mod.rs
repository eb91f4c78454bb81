//! Binlog files on disk, without a server.
//!
//! Events are cut out of the file one by one and never past its end, so that a
//! file of any size, cut or damaged, is read in the memory of its largest
//! event; compressed transactions are unpacked event by event.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::{FormatDescriptionEvent, RotateEvent};

use super::events::event::{Event, EventFormat, FORMAT_DESCRIPTION};
use super::reader::{Assembler, Interest, Item, Step, Unknowable};
use crate::model::Position;
use crate::model::position::{FIRST_EVENT_OFFSET, Gtid};

mod event;
mod payload;

use self::event::read_event;
use self::payload::Payload;

const MAGIC: [u8; 4] = *b"\xfebin";
/// Files of a server with `binlog_encryption` begin like this.
const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";

// Event types (MySQL source, `libs/mysql/binlog/event/binlog_event.h`).
const STOP: u8 = 3;
const ROTATE: u8 = 4;
const TRANSACTION_PAYLOAD: u8 = 40;

/// Why a file is no binlog, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Opening or reading failed.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// It begins differently.
    #[error("{} is not a binlog file: {reason}", path.display())]
    NotBinlog {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
}

/// Something about the files that the plan cannot show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// What lies between two files is in neither.
    #[error(
        "{file} does not follow {after}{expected}: changes between the two are in neither file, and are not planned"
    )]
    Gap {
        /// The file before.
        after: String,
        /// The file behind.
        file: String,
        /// What should have come, for the reader.
        expected: String,
    },
    /// The file ends inside an event, or at bytes that are none.
    #[error("{file} is cut at offset {offset}: {reason}; what follows is not planned")]
    Cut {
        /// The file.
        file: String,
        /// Where the last whole event ends.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The last transaction has no end.
    #[error(
        "{file} ends inside a transaction: what was read of it is planned, though it may not be committed"
    )]
    Unfinished {
        /// The file.
        file: String,
    },
}

/// What comes next.
#[derive(Debug)]
pub enum FileItem<T> {
    /// Something to act on.
    Item(Item<T>),
    /// Something to know.
    Notice(Notice),
}

/// Binlog files in their order, as items in commit order.
pub struct BinlogFiles<I: Interest> {
    assembler: Assembler<I>,
    left: std::vec::IntoIter<PathBuf>,
    open: Option<OpenFile>,
    /// How the file before ended.
    last: Option<Last>,
    /// Events read so far, those in compressed transactions too.
    events: u64,
}

struct Last {
    name: String,
    /// The file that its ROTATE names.
    next: Option<String>,
    stopped: bool,
}

struct OpenFile {
    path: PathBuf,
    name: String,
    file: BufReader<File>,
    size: u64,
    offset: u64,
    format: EventFormat,
    payload: Option<Payload>,
    next: Option<String>,
    stopped: bool,
}

impl<I: Interest> BinlogFiles<I> {
    /// Prepares reading `paths`; nothing is opened yet.
    pub fn new(interest: I, paths: Vec<PathBuf>) -> Self {
        let position = Position {
            file: paths
                .first()
                .map(|path| name_of(path))
                .unwrap_or_default()
                .into(),
            offset: FIRST_EVENT_OFFSET,
            gtids: None,
        };
        Self {
            assembler: Assembler::new(interest, position),
            left: paths.into_iter(),
            open: None,
            last: None,
            events: 0,
        }
    }

    /// The file and offset where reading stands, within transactions too.
    pub fn reading(&self) -> (&str, u64) {
        self.assembler.reading()
    }

    /// The transaction being read, or the one just ended.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.assembler.gtid()
    }

    /// When it was committed, µs since the epoch.
    pub fn committed_at_us(&self) -> u64 {
        self.assembler.committed_at_us()
    }

    /// Whether a transaction was begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.assembler.in_transaction()
    }

    /// How many events were read: tells any two items apart.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The next item; `None` behind the last file.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened or read, or is no binlog. What is wrong
    /// inside a file is a [`Notice`], or an item that widens.
    pub fn next_item(&mut self) -> Result<Option<FileItem<I::Table>>, FileError> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.left.next() else {
                    return Ok(None);
                };
                if let Some(gap) = self.begin(path)? {
                    return Ok(Some(FileItem::Notice(gap)));
                }
                continue;
            };
            let step = match open.next_event()? {
                ReadStep::Event(event) => {
                    self.events += 1;
                    self.feed(event)
                }
                ReadStep::Lost(reason) => Step::Item(Item::AnyChanged(Unknowable::Undecodable {
                    event_type: TRANSACTION_PAYLOAD,
                    reason,
                })),
                ReadStep::End(cut) => {
                    if let Some(notice) = self.end(cut) {
                        return Ok(Some(FileItem::Notice(notice)));
                    }
                    continue;
                }
            };
            if let Step::Item(item) = step {
                return Ok(Some(FileItem::Item(item)));
            }
        }
    }

    /// No catalog can be asked, so that a table whose names are not in the
    /// binlog widens.
    fn feed(&mut self, event: Event) -> Step<I::Table> {
        match self.assembler.feed(event) {
            Step::NeedsCatalog(table, event) => {
                self.assembler.learn(table, None);
                self.assembler.feed(event)
            }
            step => step,
        }
    }

    fn begin(&mut self, path: PathBuf) -> Result<Option<Notice>, FileError> {
        let open = OpenFile::new(path)?;
        let gap = self.last.as_ref().and_then(|last| last.gap(&open.name));
        let name = open.name.clone();
        self.open = Some(open);
        match (&self.last, &gap) {
            (_, Some(_)) => self.assembler.restart(Position {
                file: name.into(),
                offset: FIRST_EVENT_OFFSET,
                gtids: None,
            }),
            (Some(_), None) => self.assembler.begin_file(&name),
            (None, None) => {}
        }
        Ok(gap)
    }

    fn end(&mut self, cut: Option<String>) -> Option<Notice> {
        let open = self.open.take()?;
        let unfinished = self.assembler.in_transaction();
        let file = open.name.clone();
        self.last = Some(Last {
            name: open.name,
            next: open.next,
            stopped: open.stopped,
        });
        match cut {
            Some(reason) => Some(Notice::Cut {
                file,
                offset: open.offset,
                reason,
            }),
            None => unfinished.then_some(Notice::Unfinished { file }),
        }
    }
}

impl Last {
    /// Whether changes are missing between this file and `name`.
    fn gap(&self, name: &str) -> Option<Notice> {
        let following = || {
            let (stem, number) = self.name.rsplit_once('.')?;
            let next = number.parse::<u64>().ok()?.checked_add(1)?;
            Some(format!("{stem}.{next:0width$}", width = number.len()))
        };
        // A server that is stopped in order begins the next file at its start.
        let expected = match &self.next {
            Some(next) => Some(next.clone()),
            None if self.stopped => following(),
            None => None,
        };
        if expected.as_deref() == Some(name) {
            return None;
        }
        Some(Notice::Gap {
            after: self.name.clone(),
            file: name.to_owned(),
            expected: expected.map_or_else(
                || ", which has no end".to_owned(),
                |expected| format!(" ({expected} does)"),
            ),
        })
    }
}

/// One step through a file.
enum ReadStep {
    Event(Event),
    /// A compressed transaction cannot be unpacked further.
    Lost(String),
    /// The file's end; the reason if it is none in order.
    End(Option<String>),
}

impl OpenFile {
    fn new(path: PathBuf) -> Result<Self, FileError> {
        let io_error = |error: io::Error| FileError::Io {
            path: path.clone(),
            reason: error.to_string(),
        };
        let file = File::open(&path).map_err(io_error)?;
        let size = file.metadata().map_err(io_error)?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut magic = Vec::with_capacity(MAGIC.len());
        file.by_ref()
            .take(4)
            .read_to_end(&mut magic)
            .map_err(io_error)?;
        let reason = match <[u8; 4]>::try_from(magic) {
            Ok(MAGIC) => None,
            Ok(MAGIC_ENCRYPTED) => Some(
                "it is encrypted (binlog_encryption); copy it with `mysqlbinlog --read-from-remote-server --raw`",
            ),
            _ => Some("it does not begin with the bytes FE 62 69 6E"),
        };
        if let Some(reason) = reason {
            return Err(FileError::NotBinlog { path, reason });
        }
        Ok(Self {
            name: name_of(&path),
            path,
            file,
            size,
            offset: FIRST_EVENT_OFFSET,
            format: FormatDescriptionEvent::new(BinlogVersion::Version4).into(),
            payload: None,
            next: None,
            stopped: false,
        })
    }

    fn next_event(&mut self) -> Result<ReadStep, FileError> {
        if let Some(payload) = &mut self.payload {
            match payload.next_event() {
                Ok(Some(event)) => return Ok(ReadStep::Event(event)),
                Ok(None) => self.payload = None,
                Err(reason) => {
                    self.payload = None;
                    return Ok(ReadStep::Lost(reason));
                }
            }
        }
        let left = self.size.saturating_sub(self.offset);
        if left == 0 {
            return Ok(ReadStep::End(None));
        }
        let bytes = match read_event(&mut self.file, left) {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(reason)) => return Ok(ReadStep::End(Some(reason))),
            Err(error) => {
                return Err(FileError::Io {
                    path: self.path.clone(),
                    reason: error.to_string(),
                });
            }
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let event = match Event::read(&self.format, bytes.into()) {
            Ok(event) => event,
            Err(reason) => return Ok(ReadStep::End(Some(reason))),
        };
        self.offset += size;
        match event.header().event_type_raw() {
            FORMAT_DESCRIPTION => match event.read_event::<FormatDescriptionEvent<'_>>() {
                Ok(format) => {
                    self.format = format.into_owned().with_footer(event.footer()).into();
                }
                Err(reason) => return Ok(ReadStep::End(Some(reason))),
            },
            ROTATE => {
                let rotate = event.read_event::<RotateEvent<'_>>();
                self.next = rotate.ok().map(|rotate| rotate.name().into_owned());
            }
            STOP => self.stopped = true,
            TRANSACTION_PAYLOAD => match Payload::new(event.data(), &self.format) {
                Ok(payload) => self.payload = Some(payload),
                Err(reason) => return Ok(ReadStep::Lost(reason)),
            },
            _ => {}
        }
        Ok(ReadStep::Event(event))
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
