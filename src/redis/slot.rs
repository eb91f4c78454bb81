//! Hash slots, which decide the primary of a cluster that has a key.

use redis::{Arg, Cmd};

/// The number of slots.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key, or of its hash tag if it has one (Redis Cluster
/// specification, "Key distribution model").
pub(crate) fn of_key(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// The bytes between the first `{` and the first `}` after it, if there are any.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let (_, after) = key.split_at_checked(open + 1)?;
    let close = after.iter().position(|byte| *byte == b'}')?;
    after.get(..close).filter(|tag| !tag.is_empty())
}

/// The slot of a command's first key; `None` if it has no key, so that any primary
/// will do.
pub(crate) fn of_command(command: &Cmd) -> Option<u16> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        // The cursor of a SCAN, which is not a key.
        _ => &[],
    });
    let key = match arguments.next()? {
        b"EVAL" | b"EVALSHA" => match arguments.nth(1)? {
            b"0" => return None,
            _ => arguments.next()?,
        },
        b"PING" | b"PUBLISH" | b"SCRIPT" => return None,
        _ => arguments.next()?,
    };
    Some(of_key(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_has_the_slot_that_the_client_gives_it(
            key in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), any::<u8>()], 0..40),
        ) {
            use redis::cluster_routing::Slot;
            prop_assert_eq!(Slot::new(of_key(&key)), Some(Slot::for_key(&key)));
        }
    }

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        // The answers of CLUSTER KEYSLOT.
        for (key, slot) in [
            ("123456789", 12_739),
            ("user:1000", 1_649),
            ("{user:1000}:profile", 1_649),
            ("user:{1000}:{2000}", 11_326),
            ("{1000}", 11_326),
            ("{}user:1000", 12_333),
            ("user:{1000", 3_619),
            ("}user:{1000}", 11_326),
            ("", 0),
        ] {
            assert_eq!(of_key(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn a_command_goes_where_its_first_key_is() {
        let slot = Some(of_key(b"k"));
        for (words, expected) in [
            (&["UNLINK", "k", "l"][..], slot),
            (&["INCR", "k"], slot),
            (&["EVALSHA", "0123", "1", "k", "4"], slot),
            (&["EVAL", "return 1", "0", "k"], None),
            (&["PUBLISH", "k", "message"], None),
            (&["PING"], None),
            (&["UNLINK"], None),
        ] {
            let mut command = Cmd::new();
            for word in words {
                command.arg(*word);
            }
            assert_eq!(of_command(&command), expected, "{words:?}");
        }
    }
}
