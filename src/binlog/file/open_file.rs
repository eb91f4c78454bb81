//! One binlog file, cut into events.
//!
//! The file is read in pieces, and never past the end of an event, so that a
//! file of any size, cut or damaged, takes the memory of its largest event.
//! The pieces go through the same code as those that come from a server.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::{BufMut, BytesMut};
use mysql_async::binlog::events::RotateEvent;

use super::error::FileError;
use crate::binlog::events::cutter::{Arrival, Events};
use crate::binlog::events::event::{Event, HEADER_BYTES};
use crate::binlog::events::event_type::{ROTATE, STOP, TRANSACTION_PAYLOAD};
use crate::binlog::events::header::event_size;
use crate::model::position::FIRST_EVENT_OFFSET;

const MAGIC: [u8; 4] = *b"\xfebin";
/// Files of a server with `binlog_encryption` begin like this.
const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";

/// Bytes of an event that are read at once. A size in a header may be wrong, so
/// memory is taken as bytes arrive.
const PIECE_BYTES: u64 = 1 << 20;

pub(super) struct OpenFile {
    path: PathBuf,
    pub(super) name: String,
    file: BufReader<File>,
    size: u64,
    /// Where the last whole event ends.
    pub(super) offset: u64,
    events: Events,
    /// The event being read, from its header to its last byte.
    partial: Option<PartialEvent>,
    /// The file that its ROTATE event names.
    pub(super) next: Option<String>,
    /// It ends in a STOP event: the server was shut down in order.
    pub(super) stopped: bool,
}

#[derive(Clone, Copy)]
struct PartialEvent {
    size: u64,
    read: u64,
}

/// One step through a file.
pub(super) enum ReadStep {
    Event(Event),
    /// A compressed transaction cannot be unpacked further, for this reason.
    Lost {
        event_type: u8,
        reason: String,
    },
    /// The file ends here, or cannot be read further for this reason.
    End(Option<String>),
}

impl OpenFile {
    pub(super) fn new(path: PathBuf) -> Result<Self, FileError> {
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
            events: Events::default(),
            partial: None,
            next: None,
            stopped: false,
        })
    }

    pub(super) fn next_event(&mut self) -> Result<ReadStep, FileError> {
        self.read_event().map_err(|error| FileError::Io {
            path: self.path.clone(),
            reason: error.to_string(),
        })
    }

    fn read_event(&mut self) -> io::Result<ReadStep> {
        loop {
            if let Some(arrival) = self.events.unpacked() {
                return Ok(self.arrived(arrival));
            }
            let (piece, PartialEvent { size, read }) = match self.partial.take() {
                None if self.offset >= self.size => return Ok(ReadStep::End(None)),
                None => match self.first_piece()? {
                    Ok(begun) => begun,
                    Err(reason) => return Ok(ReadStep::End(Some(reason))),
                },
                Some(PartialEvent { size, read }) => {
                    let mut piece = BytesMut::new();
                    let wanted = PIECE_BYTES.min(size - read);
                    let read = read + self.read_into(&mut piece, wanted)?;
                    (piece, PartialEvent { size, read })
                }
            };
            let last = read == size;
            if piece.is_empty() {
                // The file became shorter while it was read.
                return Ok(ReadStep::End(Some(cut(size, read))));
            }
            if !last {
                self.partial = Some(PartialEvent { size, read });
            }
            let arrival = self.events.feed(piece, last);
            let is_unreadable = matches!(arrival, Some(Arrival::Unreadable { .. }));
            if last && !is_unreadable {
                self.offset += size;
            }
            if let Some(arrival) = arrival {
                return Ok(self.arrived(arrival));
            }
        }
    }

    /// The first piece of the next event and how much of the event it is, or
    /// why there is no event.
    fn first_piece(&mut self) -> io::Result<Result<(BytesMut, PartialEvent), String>> {
        let header = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
        let left = self.size - self.offset;
        let mut piece = BytesMut::new();
        let read = self.read_into(&mut piece, header.min(left))?;
        let size = event_size(&piece).and_then(|size| u64::try_from(size).ok());
        let Some(size) = size.filter(|_| read == header) else {
            return Ok(Err("the header of an event is incomplete".to_owned()));
        };
        if size < header {
            return Ok(Err(format!(
                "an event claims a size of {size} bytes, less than its header"
            )));
        }
        if size > left {
            return Ok(Err(cut(size, left)));
        }
        let read = read + self.read_into(&mut piece, PIECE_BYTES.min(size) - header)?;
        Ok(Ok((piece, PartialEvent { size, read })))
    }

    /// Appends up to `count` bytes of the file, and says how many there were.
    fn read_into(&mut self, piece: &mut BytesMut, count: u64) -> io::Result<u64> {
        piece.reserve(usize::try_from(count).unwrap_or_default());
        io::copy(&mut self.file.by_ref().take(count), &mut piece.writer())
    }

    fn arrived(&mut self, arrival: Arrival) -> ReadStep {
        let event = match arrival {
            Arrival::Event(event) => event,
            // What follows a compressed transaction can be read all the same.
            Arrival::Unreadable { event_type, reason } if event_type == TRANSACTION_PAYLOAD => {
                return ReadStep::Lost { event_type, reason };
            }
            Arrival::Unreadable { reason, .. } => return ReadStep::End(Some(reason)),
        };
        match event.header().event_type_raw() {
            ROTATE => {
                let rotate = event.read_event::<RotateEvent<'_>>();
                self.next = rotate.ok().map(|rotate| rotate.name().into_owned());
            }
            STOP => self.stopped = true,
            _ => {}
        }
        ReadStep::Event(event)
    }
}

fn cut(size: u64, there: u64) -> String {
    format!("only {there} bytes of an event of {size} bytes are there")
}

pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
