//! Packets of MySQL's protocol, cut into pieces as they arrive: an event can
//! span many of them, and need not be there whole to be acted on.

use bytes::{Buf, BytesMut};

/// A packet's length and number.
const HEADER_BYTES: usize = 4;

/// A packet of this length goes on in the next one.
const FULL: usize = 0xff_ffff;

/// Longer than any refusal that a server writes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// The state between two pieces.
#[derive(Debug, Default)]
pub(in crate::binlog) struct Packets {
    /// Bytes of the packet that have not arrived.
    left: usize,
    /// Another packet goes on where this one ends.
    continues: bool,
    /// The first byte, which says what it is, was taken.
    begun: bool,
}

/// A piece of what arrived.
#[derive(Debug)]
pub(in crate::binlog) enum Piece {
    /// A part of an event, maybe its last.
    Event {
        bytes: BytesMut,
        /// Whether the event ends with it.
        last: bool,
    },
    /// The server refuses to go on: a whole ERR packet.
    Refusal(BytesMut),
    /// The server has nothing more to send.
    End,
    /// A packet that does not belong here, by its first byte.
    Foreign(u8),
}

impl Packets {
    /// Cuts the next piece off `received`; `None` where more is needed.
    pub(in crate::binlog) fn piece(&mut self, received: &mut BytesMut) -> Option<Piece> {
        if self.left == 0 && (self.continues || !self.begun) {
            let [low, middle, high, _, ..] = **received else {
                return None;
            };
            let length = u32::from_le_bytes([low, middle, high, 0]);
            let length = usize::try_from(length).unwrap_or(FULL);
            if !self.begun {
                let first = received.get(HEADER_BYTES).copied();
                match first {
                    Some(0) => {}
                    None if length > 0 => return None,
                    first => return Self::other(received, length, first),
                }
            }
            received.advance(HEADER_BYTES);
            self.left = length;
            self.continues = length == FULL;
            if !self.begun {
                received.advance(1);
                self.left -= 1;
                self.begun = true;
            }
        }
        let bytes = received.split_to(self.left.min(received.len()));
        self.left -= bytes.len();
        let last = self.left == 0 && !self.continues;
        if bytes.is_empty() && !last {
            return None;
        }
        if last {
            self.begun = false;
        }
        Some(Piece::Event { bytes, last })
    }

    /// A packet that does not carry an event.
    fn other(received: &mut BytesMut, length: usize, first: Option<u8>) -> Option<Piece> {
        match first {
            Some(0xff) if length <= REFUSAL_BYTES_MAX => {
                if received.len() < HEADER_BYTES + length {
                    return None;
                }
                received.advance(HEADER_BYTES);
                Some(Piece::Refusal(received.split_to(length)))
            }
            Some(0xfe) if length < 9 => Some(Piece::End),
            first => Some(Piece::Foreign(first.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_le_bytes()[..3].to_vec();
        bytes.push(7);
        bytes.extend(payload);
        bytes
    }

    /// The whole events in `bytes` when so many arrive at a time.
    fn events(bytes: &[u8], at_a_time: usize) -> Vec<Vec<u8>> {
        let (mut packets, mut received) = (Packets::default(), BytesMut::new());
        let (mut events, mut event) = (Vec::new(), Vec::new());
        for arrived in bytes.chunks(at_a_time) {
            received.extend_from_slice(arrived);
            while let Some(Piece::Event { bytes, last }) = packets.piece(&mut received) {
                event.extend_from_slice(&bytes);
                if last {
                    events.push(std::mem::take(&mut event));
                }
            }
        }
        assert!(event.is_empty() && received.is_empty());
        events
    }

    #[test]
    fn events_are_the_same_however_their_bytes_arrive() {
        let bytes = [packet(&[0, 1, 2, 3]), packet(&[0]), packet(&[0, 9])].concat();
        let expected = [vec![1, 2, 3], vec![], vec![9]];
        for at_a_time in 1..=bytes.len() {
            assert_eq!(events(&bytes, at_a_time), expected, "{at_a_time}");
        }
    }

    #[test]
    fn a_full_packet_goes_on_in_the_next_even_if_that_is_empty() {
        for rest in [0, 1, 100] {
            let first = vec![0; FULL];
            let bytes = [packet(&first), packet(&vec![1; rest]), packet(&[0, 5])].concat();
            for at_a_time in [4_099, 1 << 20, bytes.len()] {
                let events = events(&bytes, at_a_time);
                let lengths: Vec<usize> = events.iter().map(Vec::len).collect();
                assert_eq!(lengths, [FULL - 1 + rest, 1], "{rest}");
            }
        }
    }

    #[test]
    fn packets_that_are_not_events_are_told_apart_once_they_are_there() {
        let mut packets = Packets::default();
        let mut received = BytesMut::from(&packet(&[0xff, 1, 2, 3])[..7]);
        assert!(packets.piece(&mut received).is_none());
        received.extend_from_slice(&[3]);
        assert!(
            matches!(packets.piece(&mut received), Some(Piece::Refusal(packet)) if *packet == [0xff, 1, 2, 3])
        );
        received.extend_from_slice(&packet(&[0xfe, 0, 0, 2, 0]));
        assert!(matches!(packets.piece(&mut received), Some(Piece::End)));
        let mut received = BytesMut::from(&packet(&[0x77])[..]);
        assert!(matches!(
            packets.piece(&mut received),
            Some(Piece::Foreign(0x77))
        ));
        let mut received = BytesMut::from(&packet(&[])[..]);
        assert!(matches!(
            packets.piece(&mut received),
            Some(Piece::Foreign(0))
        ));
    }
}
