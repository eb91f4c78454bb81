//! Heartbeats: where the server stands in sending its binlog.
//!
//! A server whose binlog was reset goes on sending heartbeats about a file
//! that is gone, and never anything else. Comparing them with where it says that
//! it writes reveals the reset, or that what it wrote is not on its disk yet: a new
//! connection is refused in the former case only.

use std::cmp::Ordering;

use super::event::Event;
use super::event_type::HEARTBEAT;
use crate::model::Position;

/// Up to where the server has sent everything, as a heartbeat says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    file: String,
    /// The low 32 bits of the offset; its field has no more.
    offset_low: u32,
}

/// Why a server cannot be sending the binlog that it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// It was reset: the place is one that it has not written yet.
    Reset(String),
    /// It was reset, or what it wrote is not on its disk yet: until then it sends
    /// nothing of it.
    Stalled(String),
}

impl Heartbeat {
    /// `None` for an event of another type.
    pub fn read(event: &Event) -> Option<Self> {
        let header = event.header();
        (header.event_type_raw() == HEARTBEAT).then(|| Self {
            file: String::from_utf8_lossy(event.data()).into_owned(),
            offset_low: header.log_pos(),
        })
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// The low 32 bits of the offset.
    pub fn offset_low(&self) -> u32 {
        self.offset_low
    }

    /// Compares the heartbeat with where the server writes.
    fn compare(&self, end: &Position) -> Ordering {
        const LOW: u64 = 0xffff_ffff;
        // In a file beyond 4 GiB, the offset with these low bits that is nearest
        // to the end.
        let offset = (end.offset & !LOW) | u64::from(self.offset_low);
        age(&self.file)
            .cmp(&age(&end.file))
            .then(offset.cmp(&end.offset))
    }

    /// Explains the contradiction if the server sends another binlog than it
    /// writes. `now` is where it writes, asked after this heartbeat; `last` is
    /// the previous heartbeat and where it wrote then, if no event came in
    /// between. One heartbeat proves nothing: a server sends some while it passes
    /// over transactions that the reader has.
    pub fn contradiction(
        &self,
        now: &Position,
        last: Option<&(Self, Position)>,
    ) -> Option<Contradiction> {
        let Self { file, offset_low } = self;
        let (_, before) = last.filter(|(last, _)| last == self)?;
        if self.is_ahead_of(now) && self.is_ahead_of(before) {
            return Some(Contradiction::Reset(format!(
                "the server says that it has sent {file}:{offset_low} and writes at {now}: its binlog was reset"
            )));
        }
        (self.compare(before) == Ordering::Less).then(|| {
            Contradiction::Stalled(format!(
                "sends nothing after {file}:{offset_low} though it wrote up to {before}"
            ))
        })
    }

    /// Whether it names a place that the server has not written yet.
    fn is_ahead_of(&self, end: &Position) -> bool {
        let same_file = self.file == *end.file;
        // Low bits that are larger may be those of a place 4 GiB before.
        self.compare(end) == Ordering::Greater && !(same_file && end.offset > u64::from(u32::MAX))
    }
}

/// Orders the files of one server: their numbers grow, and in the end get
/// longer.
fn age(file: &str) -> (usize, &str) {
    (file.len(), file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_sends_other_than_it_writes_is_found() {
        let position = |text: &str| {
            let (file, offset) = text.split_once(':').unwrap();
            Position {
                file: file.into(),
                offset: offset.parse().unwrap(),
                gtids: None,
            }
        };
        for (sent, before, now, expected) in [
            // All is sent; more came; a new file was begun.
            ("bin.000002:900", "bin.000002:900", "bin.000002:900", false),
            ("bin.000002:900", "bin.000002:900", "bin.000002:999", false),
            ("bin.000003:157", "bin.000003:157", "bin.000003:157", false),
            ("bin.1000000:4", "bin.1000000:4", "bin.1000000:4", false),
            // Reset, to an earlier file or place.
            ("bin.000002:900", "bin.000002:900", "bin.000001:157", false),
            ("bin.000002:900", "bin.000001:157", "bin.000001:157", true),
            ("bin.000001:900", "bin.000001:157", "bin.000001:200", true),
            ("bin.1000000:4", "bin.999999:4", "bin.999999:4", true),
            // Reset, and written anew since.
            ("bin.000001:900", "bin.000001:157", "bin.000001:950", false),
            ("bin.000001:900", "bin.000001:950", "bin.000001:990", true),
            ("bin.000001:900", "bin.000002:157", "bin.000002:157", true),
            // Beyond 4 GiB the heartbeat has the low bits.
            (
                "bin.000001:704",
                "bin.000001:4294968000",
                "bin.000001:4294968000",
                false,
            ),
            (
                "bin.000001:600",
                "bin.000001:4294968000",
                "bin.000001:4294968000",
                true,
            ),
            (
                "bin.000001:4294967000",
                "bin.000001:4294968000",
                "bin.000001:4294968000",
                false,
            ),
        ] {
            let at = position(sent);
            let heartbeat = Heartbeat {
                file: at.file.to_string(),
                offset_low: u32::try_from(at.offset).unwrap(),
            };
            let last = (heartbeat.clone(), position(before));
            let found = heartbeat.contradiction(&position(now), Some(&last));
            assert_eq!(
                found.is_some(),
                expected,
                "{sent} {before} {now}: {found:?}"
            );
            assert_eq!(heartbeat.contradiction(&position(now), None), None);
            // On its way it stood elsewhere.
            let passed = Heartbeat {
                offset_low: heartbeat.offset_low - 1,
                ..heartbeat.clone()
            };
            let passed = (passed, last.1);
            assert_eq!(heartbeat.contradiction(&position(now), Some(&passed)), None);
        }
    }
}
