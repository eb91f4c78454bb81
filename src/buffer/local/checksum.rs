//! A body with its checksum, in the file.
//!
//! The checksum is a last member of the body's JSON object, which versions of
//! evictd that know of none pass over. The message's number is part of it, so that
//! another message's body in its place is found too.

use redb::Error;

use crate::buffer::{MessageError, message};

/// Stands before the checksum.
const MEMBER: &[u8] = b",\"crc32\":";
/// Digits of the greatest checksum.
const DIGITS_MAX: usize = 10;

/// Adds the checksum of the message with this number.
pub(super) fn seal(sequence: u64, body: &[u8]) -> Vec<u8> {
    let Some((b'}', open)) = body.split_last() else {
        // No evictd wrote it.
        return body.to_vec();
    };
    let digits = checksum(sequence, body).to_string();
    [open, MEMBER, digits.as_bytes(), b"}"].concat()
}

/// Takes the checksum off.
///
/// # Errors
///
/// [`Error::Corrupted`] if the body is not the one that was sealed. One of an
/// earlier version has no checksum, and can be read at least.
pub(super) fn unseal(sequence: u64, stored: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged = || Error::Corrupted(format!("message {sequence} is not as it was written"));
    let tail = stored.len().saturating_sub(MEMBER.len() + DIGITS_MAX + 1);
    let found = stored
        .get(tail..)
        .and_then(|end| end.windows(MEMBER.len()).rposition(|text| text == MEMBER));
    let Some((open, rest)) = found.and_then(|at| stored.split_at_checked(tail + at)) else {
        return match message::decode(stored) {
            Err(MessageError::Malformed { .. }) => Err(damaged()),
            Ok(_) | Err(MessageError::NewerVersion { .. }) => Ok(stored.to_vec()),
        };
    };
    let body = [open, b"}"].concat();
    let digits = rest
        .strip_prefix(MEMBER)
        .and_then(|rest| rest.strip_suffix(b"}"));
    let expected = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    if expected == Some(checksum(sequence, &body)) {
        Ok(body)
    } else {
        Err(damaged())
    }
}

fn checksum(sequence: u64, body: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&sequence.to_le_bytes());
    hash.update(body);
    hash.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"v":1,"source":"s","distribution":"d","committed_at_us":1,"paths":["/a","/b"]}"#;

    #[test]
    fn a_sealed_body_comes_back_and_is_a_message_for_earlier_versions() {
        for sequence in [0, 7, u64::MAX] {
            let sealed = seal(sequence, BODY);
            assert_eq!(unseal(sequence, &sealed).unwrap(), BODY);
            assert_eq!(message::decode(&sealed), message::decode(BODY));
        }
        assert_eq!(unseal(7, BODY).unwrap(), BODY, "one of an earlier version");
    }

    #[test]
    fn any_byte_that_is_another_one_is_found() {
        let sealed = seal(7, BODY);
        for index in 0..sealed.len() {
            for flip in [0x01, 0x20, 0xff] {
                let mut damaged = sealed.clone();
                damaged[index] ^= flip;
                let read = unseal(7, &damaged);
                // The name of the member is the one thing that nothing depends on.
                let paths = |body: &[u8]| message::decode(body).map(|message| message.paths);
                assert!(
                    read.as_ref().is_err() || paths(&read.unwrap()) == paths(BODY),
                    "{index} {flip}"
                );
            }
        }
        assert!(unseal(8, &sealed).is_err(), "another message's");
        assert!(unseal(7, &vec![0; sealed.len()]).is_err());
        assert!(unseal(7, &sealed[..sealed.len() / 2]).is_err());
        assert!(unseal(7, b"").is_err());
    }
}
