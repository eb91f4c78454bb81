//! PREVIOUS_GTIDS_EVENT: every transaction before a binlog file.
//!
//! Read here because the library sets aside room for as many servers as the
//! event says there are, and damaged bytes can say anything.

use super::cursor::{Cursor, Truncated};
use crate::model::GtidSet;
use crate::model::gtid::GtidSource;

/// The longest tag (MySQL manual, "GTID Format and Storage").
const TAG_BYTES_MAX: u8 = 32;

/// Reads the event's body (MySQL source, `Gtid_set::encode`).
///
/// # Errors
///
/// The bytes contradict the format, or end too early.
pub fn parse(body: &[u8]) -> Result<GtidSet, String> {
    let mut cursor = Cursor::new(body);
    let set =
        read(&mut cursor).map_err(|Truncated| "the event ends inside its set".to_owned())??;
    if cursor.is_empty() {
        Ok(set)
    } else {
        Err("the event goes on behind its set".to_owned())
    }
}

fn read(cursor: &mut Cursor<'_>) -> Result<Result<GtidSet, String>, Truncated> {
    let header = cursor.u64()?;
    // Since MySQL 8.3 the highest byte is 1 where there are tags, and the
    // count stands between it and the lowest.
    let (tagged, sources) = match header >> 56 {
        0 => (false, header),
        1 => (true, (header << 8) >> 16),
        other => return Ok(Err(format!("a set of format {other} is unknown"))),
    };
    let mut set = GtidSet::default();
    for _ in 0..sources {
        let uuid = cursor.take(16)?.first_chunk().ok_or(Truncated)?;
        // The length of a length stands in its lowest bits: none is one byte.
        let tag = match tagged.then(|| cursor.u8()).transpose()?.unwrap_or(0) {
            length if length % 2 == 0 && length / 2 <= TAG_BYTES_MAX => {
                cursor.take(usize::from(length / 2))?
            }
            _ => return Ok(Err("a tag is longer than tags can be".to_owned())),
        };
        let Ok(tag) = std::str::from_utf8(tag) else {
            return Ok(Err("a tag is not UTF-8".to_owned()));
        };
        let source = GtidSource {
            uuid: *uuid,
            tag: tag.into(),
        };
        for _ in 0..cursor.u64()? {
            let (first, end) = (cursor.u64()?, cursor.u64()?);
            if first == 0 || end <= first || end > i64::MAX.unsigned_abs() {
                return Ok(Err("an interval is empty or out of range".to_owned()));
            }
            set.insert_range(&source, first, end - 1);
        }
    }
    Ok(Ok(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "11111111-1111-1111-1111-111111111111";

    /// A tag with its length, and intervals.
    type Source<'a> = (&'a [u8], &'a [(u64, u64)]);

    fn event(header: u64, sources: &[Source<'_>]) -> Vec<u8> {
        let mut body = header.to_le_bytes().to_vec();
        for (tag, intervals) in sources {
            body.extend([0x11; 16]);
            body.extend(*tag);
            body.extend(u64::try_from(intervals.len()).unwrap().to_le_bytes());
            for (first, end) in *intervals {
                body.extend(first.to_le_bytes());
                body.extend(end.to_le_bytes());
            }
        }
        body
    }

    #[test]
    fn sets_with_and_without_tags_are_read() {
        let tagged = (1 << 56) | (2 << 8) | 1;
        for (body, expected) in [
            (event(0, &[]), String::new()),
            (
                event(1, &[(b"", &[(1, 4), (7, 8)])]),
                format!("{UUID}:1-3:7"),
            ),
            (
                event(tagged, &[(b"\x00", &[(1, 2)]), (b"\x08blue", &[(5, 9)])]),
                format!("{UUID}:1:blue:5-8"),
            ),
        ] {
            assert_eq!(parse(&body).unwrap().to_string(), expected);
            for cut in 0..body.len() {
                assert!(parse(&body[..cut]).is_err(), "{cut}");
            }
            assert!(parse(&[&body[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn what_no_server_writes_is_refused_and_takes_no_room() {
        let tagged = (1 << 56) | (1 << 8) | 1;
        for body in [
            event(u64::MAX >> 8, &[]),
            event(2 << 56, &[]),
            event(tagged, &[(b"\x43", &[])]),
            event(tagged, &[(b"\x02\xff", &[])]),
            event(1, &[(b"", &[(0, 3)])]),
            event(1, &[(b"", &[(3, 3)])]),
            event(1, &[(b"", &[(3, u64::MAX)])]),
        ] {
            assert!(parse(&body).is_err(), "{body:?}");
        }
    }
}
