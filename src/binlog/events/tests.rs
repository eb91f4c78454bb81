//! Compressed transactions out of bytes that come in any pieces, and of bytes
//! that are not what they should be.

use bytes::BytesMut;
use mysql_async::binlog::BinlogVersion;
use mysql_async::binlog::events::FormatDescriptionEvent;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use super::cutter::{Arrival, Events};
use super::event_type::{
    FORMAT_DESCRIPTION, QUERY, ROTATE, TRANSACTION_PAYLOAD, WRITE_ROWS, XA_PREPARE, XID,
};

fn event(event_type: u8, body: &[u8], checksum: bool) -> Vec<u8> {
    let size = 19 + body.len() + if checksum { 4 } else { 0 };
    let mut bytes = 1_700_000_000_u32.to_le_bytes().to_vec();
    bytes.push(event_type);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
    bytes.extend(9_000_u32.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(body);
    if checksum {
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    }
    bytes
}

/// The first event of every file, as MySQL 8.0 writes it.
fn format(checksum: bool) -> Vec<u8> {
    let mut body = 4_u16.to_le_bytes().to_vec();
    let mut version = b"8.0.36".to_vec();
    version.resize(50, 0);
    body.extend(version);
    body.extend([0, 0, 0, 0, 19]);
    body.extend([0; 41]);
    body.push(u8::from(checksum));
    event(FORMAT_DESCRIPTION, &body, true)
}

/// The events inside: some small, one larger than what is unpacked at once, and the end.
fn inside() -> Vec<Vec<u8>> {
    let mut events: Vec<Vec<u8>> = (0..20_u8)
        .map(|number| event(QUERY, &vec![number; usize::from(number) * 7], false))
        .collect();
    events.push(event(WRITE_ROWS, &vec![b'x'; 300_000], false));
    events.push(event(XID, &[1; 8], false));
    events
}

fn payload_of(inside: &[u8], compression: u8, says: u64, checksum: bool) -> Vec<u8> {
    let packed = match compression {
        0 => zstd::encode_all(inside, 3).unwrap(),
        _ => inside.to_vec(),
    };
    let mut body = vec![1, 9, 0xfe];
    body.extend(u64::try_from(packed.len()).unwrap().to_le_bytes());
    body.extend([2, 1, compression, 3, 9, 0xfe]);
    body.extend(says.to_le_bytes());
    body.push(0);
    body.extend(packed);
    event(TRANSACTION_PAYLOAD, &body, checksum)
}

fn payload(compression: u8, checksum: bool) -> Vec<u8> {
    let inside = inside().concat();
    let says = u64::try_from(inside.len()).unwrap();
    payload_of(&inside, compression, says, checksum)
}

/// What comes of events when so many of their bytes arrive at a time: types
/// and sizes, or why not.
fn read(events: &[Vec<u8>], at_a_time: usize) -> Vec<String> {
    let mut reader = Events::default();
    let mut said = Vec::new();
    let say = |arrival: Arrival| match arrival {
        Arrival::Event(event) => {
            format!("{} {}", event.header().event_type_raw(), event.data().len())
        }
        Arrival::Unreadable { event_type, reason } => format!("{event_type} unreadable: {reason}"),
    };
    for event in events {
        let last = event.len().div_ceil(at_a_time).max(1) - 1;
        let mut pieces: Vec<&[u8]> = event.chunks(at_a_time).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        for (index, piece) in pieces.into_iter().enumerate() {
            said.extend(reader.feed(BytesMut::from(piece), index == last).map(say));
            while let Some(arrival) = reader.unpacked() {
                said.push(say(arrival));
            }
        }
    }
    said
}

/// As [`read`] should say, around what the payload came to.
fn expected() -> Vec<String> {
    let mut said = vec!["15 98".to_owned(), "40 18".to_owned()];
    said.extend(
        inside()
            .iter()
            .map(|event| format!("{} {}", event[4], event.len() - 19)),
    );
    said.push("16 8".to_owned());
    said
}

#[test]
fn the_events_of_a_payload_are_the_same_however_its_bytes_arrive() {
    for checksum in [false, true] {
        for compression in [0, 255] {
            let events = [
                format(checksum),
                payload(compression, checksum),
                event(XID, &[2; 8], checksum),
            ];
            for at_a_time in [1, 7, 19, 20, 64, 1_000, 1 << 20] {
                assert_eq!(
                    read(&events, at_a_time),
                    expected(),
                    "{compression} {at_a_time}"
                );
            }
        }
    }
}

#[test]
fn a_payload_that_says_more_or_less_than_it_holds_does_not_end_its_transaction() {
    let inside = inside().concat();
    let size = u64::try_from(inside.len()).unwrap();
    for (says, compression) in [
        (size - 1, 0),
        (size + 1, 0),
        (0, 0),
        (u64::MAX, 0),
        (size - 1, 255),
        (size + 1, 255),
        (size, 7),
    ] {
        let said = read(
            &[format(true), payload_of(&inside, compression, says, true)],
            1_000,
        );
        let last = said.last().unwrap();
        assert!(
            last.starts_with("40 unreadable: a compressed"),
            "{says}: {last}"
        );
        assert!(
            !said.contains(&"16 8".to_owned()),
            "{says} {compression}: {said:?}"
        );
    }
}

#[test]
fn the_first_rotate_is_read_with_a_checksum_and_without() {
    let body = [&4_u64.to_le_bytes()[..], b"mysql-bin.000001"].concat();
    for checksum in [false, true] {
        let said = read(
            &[
                event(ROTATE, &body, checksum),
                format(!checksum),
                event(XID, &[0; 8], !checksum),
            ],
            9,
        );
        assert_eq!(said, ["4 24", "15 98", "16 8"]);
    }
}

#[test]
fn bytes_that_are_no_event_are_said_to_be_none() {
    for checksum in [false, true] {
        let whole = event(QUERY, &[1; 30], checksum);
        for cut in 0..whole.len() {
            let said = read(&[format(checksum), whole[..cut].to_vec()], 1 << 20);
            assert!(said[1].contains("unreadable"), "{cut}: {said:?}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(read(&[format(checksum), longer], 5)[1].contains("unreadable"));
    }
}

/// Damage can put bytes behind the event that commits a transaction, which is not the last one then.
#[test]
fn a_payload_that_goes_on_after_its_commit_does_not_commit() {
    let query = [&[0; 14][..], b"COMMIT"].concat();
    for commit in [
        event(XID, &[1; 8], false),
        event(XA_PREPARE, &[1; 8], false),
        event(QUERY, &query, false),
    ] {
        for behind in [1, 19, 40] {
            let inside = [&commit[..], &[7; 40][..behind]].concat();
            for (compression, at_a_time) in [(0, 1), (0, 5_000), (255, 1), (255, 5_000)] {
                let says = u64::try_from(inside.len()).unwrap();
                let payload = payload_of(&inside, compression, says, true);
                let said = read(&[format(true), payload], at_a_time);
                let reason = "an event follows the one that commits it";
                assert_eq!(said[1], "40 18");
                assert!(said[2].contains(reason), "{said:?}");
                assert_eq!(said.len(), 3, "{said:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever was damaged: nothing panics, and with a checksum the transaction does not end as if nothing had been.
    #[test]
    fn a_damaged_payload_never_ends_its_transaction(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        at_a_time in 1_usize..5_000,
    ) {
        let whole = payload(0, true);
        let mut damaged = whole.clone();
        for (index, bits) in flips {
            // The packet says what is an event of its own; its type makes it a payload.
            let at = index.index(whole.len());
            if !matches!(at, 4 | 9..=12) {
                damaged[at] ^= bits;
            }
        }
        let said = read(&[format(true), damaged.clone(), event(QUERY, &[3; 5], true)], at_a_time);
        prop_assert_eq!(said.last().unwrap(), "2 5", "what follows is read");
        let ended = said.contains(&"16 8".to_owned());
        let told = said.iter().any(|line| line.starts_with("40 unreadable"));
        prop_assert_eq!(ended, damaged == whole);
        prop_assert_eq!(told, damaged != whole);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0_u8..45,
        described in any::<bool>(),
        at_a_time in 1_usize..50,
    ) {
        let mut bytes = bytes;
        let size = u32::try_from(bytes.len()).unwrap();
        // Mostly with a size that fits, since a header's other bytes do not matter here.
        if let Some(field) = bytes.get_mut(9..13) {
            field.copy_from_slice(&size.to_le_bytes());
        }
        if let Some(field) = bytes.get_mut(4) {
            *field = kind;
        }
        let mut events = vec![bytes];
        if described {
            events.insert(0, format(size % 2 == 0));
        }
        let said = read(&events, at_a_time);
        prop_assert!(!said.is_empty());
    }
}

#[test]
fn the_format_of_the_fixture_is_one() {
    let bytes = format(true);
    let event = mysql_async::binlog::events::Event::read(
        &FormatDescriptionEvent::new(BinlogVersion::Version4),
        &bytes[..],
    )
    .unwrap();
    let read: FormatDescriptionEvent<'_> = event.read_event().unwrap();
    assert!(read.server_version().starts_with("8.0.36"));
}
