//! Compressed transactions, unpacked as they arrive.
//!
//! One transaction can be larger than memory. So no more of it is held than one
//! event and the window of zstd (Bounded), and its events are handed on before
//! its end has arrived. The last event, and one that commits the transaction, waits
//! until all of the payload is known to be right: a damaged one never ends as if
//! it were whole. Nothing follows a commit, since damage may make it the last but one.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::cursor::uint_le;
use super::event::{CHECKSUM_BYTES, Event, EventFormat, HEADER_BYTES};
use super::event_type::{FORMAT_DESCRIPTION, QUERY, TRANSACTION_PAYLOAD, XA_PREPARE, XID};
use super::header::{check_size, event_size, event_type, has_checksum};

/// Bytes unpacked at once: a block of zstd.
const STEP_BYTES: usize = 128 << 10;

/// More than the fields before any payload take.
const FIELDS_BYTES_MAX: usize = 1 << 10;

// Fields, and values of COMPRESSION (MySQL source, `Transaction_payload_event`).
const END: u64 = 0;
const COMPRESSION: u64 = 2;
const UNCOMPRESSED_SIZE: u64 = 3;
const ZSTD: u64 = 0;
const NONE: u64 = 255;

/// A compressed transaction while it arrives.
#[derive(Debug)]
pub(in crate::binlog) struct Payload {
    /// Of the events inside, which have no checksums.
    format: EventFormat,
    checksum: Option<Checksum>,
    /// Bytes of the whole event that have not arrived.
    left: usize,
    /// The event's own header, once it is there.
    header: Vec<u8>,
    /// Bytes that arrived and were not unpacked.
    packed: BytesMut,
    /// Bytes that were unpacked and not handed on.
    unpacked: BytesMut,
    contents: Option<Contents>,
    last: bool,
    problem: Option<String>,
}

/// The checksum of an event that is never there as a whole.
#[derive(Debug, Default)]
struct Checksum {
    counted: crc32fast::Hasher,
    /// The checksum that the event ends in.
    stated: Vec<u8>,
}

/// The payload as the fields before it describe it, and how far it was read.
#[derive(Debug)]
struct Contents {
    codec: Codec,
    /// Of all events inside.
    size: u64,
    /// Of those that were handed on.
    handed_on: u64,
}

enum Codec {
    Zstd(Decoder<'static>),
    Plain,
}

/// The answer to asking for the next event.
#[derive(Debug)]
pub(in crate::binlog) enum Unpacked {
    /// The payload's own event first, of size zero; then those inside.
    Event(Event),
    /// More bytes have to arrive.
    NeedsBytes,
    /// There are no more events, or none that can be read, for this reason.
    End(Option<String>),
}

impl Payload {
    pub(in crate::binlog) fn new(format: &EventFormat) -> Self {
        let mut footer = format.footer();
        footer.set_checksum_enabled(false);
        Self {
            format: Arc::new(format.as_ref().clone().with_footer(footer)),
            checksum: has_checksum(format).then(Checksum::default),
            left: 0,
            header: Vec::new(),
            packed: BytesMut::new(),
            unpacked: BytesMut::new(),
            contents: None,
            last: false,
            problem: None,
        }
    }

    /// Takes a piece of the event; the first one holds at least its header.
    pub(in crate::binlog) fn feed(&mut self, mut bytes: BytesMut, last: bool) {
        self.last = last;
        if self.header.is_empty() {
            self.left = event_size(&bytes).unwrap_or_default();
            self.header = bytes.get(..HEADER_BYTES).unwrap_or_default().to_vec();
            self.take(HEADER_BYTES.min(bytes.len()), &mut bytes);
            self.packed.clear();
        }
        let stated = self.checksum.as_ref().map_or(0, |_| CHECKSUM_BYTES);
        let body = self.left.saturating_sub(stated).min(bytes.len());
        self.take(body, &mut bytes);
        self.left = self.left.saturating_sub(bytes.len());
        let stated = match &mut self.checksum {
            Some(checksum) if checksum.stated.len() + bytes.len() <= CHECKSUM_BYTES => {
                checksum.stated.extend_from_slice(&bytes);
                true
            }
            _ => bytes.is_empty(),
        };
        if !stated {
            self.fail("it is longer than its header says");
        }
        if last && self.left > 0 {
            self.fail("it is shorter than its header says");
        }
    }

    /// Moves `count` bytes to what is to be unpacked.
    fn take(&mut self, count: usize, bytes: &mut BytesMut) {
        let taken = bytes.split_to(count);
        if let Some(checksum) = &mut self.checksum {
            checksum.counted.update(&taken);
        }
        self.left = self.left.saturating_sub(count);
        self.packed.unsplit(taken);
    }

    fn fail(&mut self, problem: impl Into<String>) {
        self.problem.get_or_insert_with(|| problem.into());
    }

    /// The next event, if the bytes that are there hold it.
    pub(in crate::binlog) fn next(&mut self) -> Unpacked {
        loop {
            if let Some(problem) = &self.problem {
                self.packed.clear();
                if !self.last {
                    return Unpacked::NeedsBytes;
                }
                return Unpacked::End(Some(format!(
                    "a compressed transaction cannot be unpacked: {problem}"
                )));
            }
            let next = match self.contents.take() {
                None => self.begin(),
                Some(mut contents) => {
                    let next = self.advance(&mut contents);
                    self.contents = Some(contents);
                    next
                }
            };
            match next {
                Ok(unpacked) => return unpacked,
                Err(problem) => self.fail(problem),
            }
        }
    }

    /// Reads the fields before the payload.
    fn begin(&mut self) -> Result<Unpacked, String> {
        let fields = match Fields::read(&self.packed) {
            Some(fields) => fields?,
            None if self.last => return Err("it ends in the fields before it".to_owned()),
            None if self.packed.len() > FIELDS_BYTES_MAX => {
                return Err("the fields before it have no end".to_owned());
            }
            None => return Ok(Unpacked::NeedsBytes),
        };
        self.packed.advance(fields.length);
        let codec = match fields.compression {
            ZSTD => Codec::Zstd(Decoder::new().map_err(|error| error.to_string())?),
            NONE => Codec::Plain,
            other => return Err(format!("compression {other} is unknown")),
        };
        self.contents = Some(Contents {
            codec,
            size: fields.uncompressed_size,
            handed_on: 0,
        });
        let announcement = announcement(&self.header, fields.uncompressed_size);
        self.event(announcement.into()).map(Unpacked::Event)
    }

    /// Hands on the next event inside, unpacking as little as it takes.
    fn advance(&mut self, contents: &mut Contents) -> Result<Unpacked, String> {
        loop {
            if let Some(size) = event_size(&self.unpacked) {
                let length = u64::try_from(size).unwrap_or(u64::MAX);
                let until = contents.handed_on.saturating_add(length);
                if size < HEADER_BYTES || until > contents.size {
                    return Err("an event inside claims an impossible size".to_owned());
                }
                let follows = self.unpacked.len() > size;
                let event = self.unpacked.get(..size).unwrap_or_default();
                if follows && commits(event) {
                    return Err("an event follows the one that commits it".to_owned());
                }
                if follows || self.unpacked.len() == size && self.is_right(contents.size - until)? {
                    let bytes = self.unpacked.split_to(size);
                    contents.handed_on = until;
                    if matches!(event_type(&bytes), FORMAT_DESCRIPTION | TRANSACTION_PAYLOAD) {
                        return Err("it holds an event that does not belong there".to_owned());
                    }
                    return self.event(bytes.freeze()).map(Unpacked::Event);
                }
            }
            if self.packed.is_empty() {
                if !self.last {
                    return Ok(Unpacked::NeedsBytes);
                }
                return match contents.size - contents.handed_on {
                    0 if self.unpacked.is_empty() => Ok(Unpacked::End(None)),
                    missing => Err(format!("{missing} of {} bytes are missing", contents.size)),
                };
            }
            contents.codec.step(&mut self.packed, &mut self.unpacked)?;
            let known = u64::try_from(self.unpacked.len()).unwrap_or(u64::MAX);
            if contents.handed_on.saturating_add(known) > contents.size {
                return Err("it holds more than it says".to_owned());
            }
        }
    }

    /// Whether everything has arrived and is what the server wrote, and
    /// nothing is `missing` behind it.
    fn is_right(&self, missing: u64) -> Result<bool, String> {
        if !self.last || !self.packed.is_empty() {
            return Ok(false);
        }
        match &self.checksum {
            _ if missing > 0 => Err(format!("its last {missing} bytes are missing")),
            Some(checksum)
                if checksum.stated != checksum.counted.clone().finalize().to_le_bytes() =>
            {
                Err("its checksum does not match".to_owned())
            }
            _ => Ok(true),
        }
    }

    fn event(&self, bytes: Bytes) -> Result<Event, String> {
        check_size(&bytes, &self.format)?;
        Event::read(&self.format, bytes)
    }
}

/// Whether an event commits its transaction, or prepares it.
fn commits(event: &[u8]) -> bool {
    match event_type(event) {
        XID | XA_PREPARE => true,
        // After the name of a database, which ends in a zero.
        QUERY => event.ends_with(b"\0COMMIT"),
        _ => false,
    }
}

impl Codec {
    /// Unpacks a little.
    fn step(&mut self, packed: &mut BytesMut, unpacked: &mut BytesMut) -> Result<(), String> {
        let Self::Zstd(decoder) = self else {
            unpacked.unsplit(packed.split());
            return Ok(());
        };
        let known = unpacked.len();
        unpacked.resize(known + STEP_BYTES, 0);
        let room = unpacked.get_mut(known..).unwrap_or_default();
        let mut out = OutBuffer::around(room);
        let mut input = InBuffer::around(packed);
        let ran = decoder.run(&mut input, &mut out);
        let (read, written) = (input.pos(), out.pos());
        unpacked.truncate(known + written);
        packed.advance(read);
        ran.map_err(|error| error.to_string())?;
        if read == 0 && written == 0 {
            return Err("zstd makes no progress with it".to_owned());
        }
        Ok(())
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zstd(_) => "Zstd",
            Self::Plain => "Plain",
        })
    }
}

/// The fields before a payload.
#[derive(Debug, PartialEq, Eq)]
struct Fields {
    /// Their own length in bytes.
    length: usize,
    compression: u64,
    uncompressed_size: u64,
}

impl Fields {
    /// `None` if they are incomplete.
    fn read(bytes: &[u8]) -> Option<Result<Self, String>> {
        let mut rest = bytes;
        let (mut compression, mut uncompressed_size) = (None, None);
        loop {
            let field = packed_integer(&mut rest)?;
            if field == END {
                break;
            }
            let length = packed_integer(&mut rest)?;
            let (mut value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            rest = after;
            match field {
                COMPRESSION => compression = packed_integer(&mut value),
                UNCOMPRESSED_SIZE => uncompressed_size = packed_integer(&mut value),
                // The event's own size says PAYLOAD_SIZE too.
                _ => {}
            }
        }
        let (Some(compression), Some(uncompressed_size)) = (compression, uncompressed_size) else {
            return Some(Err("it does not say how it is compressed".to_owned()));
        };
        Some(Ok(Self {
            length: bytes.len() - rest.len(),
            compression,
            uncompressed_size,
        }))
    }
}

/// A length-encoded integer (MySQL source documentation, "Protocol::LengthEncodedInteger").
fn packed_integer(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfb => {
            *bytes = rest;
            return Some(u64::from(*first));
        }
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xff => {
            // The server writes 255 for "not compressed" like this.
            *bytes = rest;
            return Some(NONE);
        }
    };
    let (digits, rest) = rest.split_at_checked(width)?;
    *bytes = rest;
    uint_le(digits)
}

/// The payload's event without its contents: it has the event's offset in the
/// file, and the size of the events that follow.
fn announcement(header: &[u8], uncompressed_size: u64) -> Vec<u8> {
    let mut bytes = header.to_vec();
    bytes.extend([1, 1, 0, 2, 1, 0, 3, 9, 0xfe]);
    bytes.extend(uncompressed_size.to_le_bytes());
    bytes.push(0);
    let size = u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
    if let Some(field) = bytes.get_mut(9..13) {
        field.copy_from_slice(&size);
    }
    bytes
}
