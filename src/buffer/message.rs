//! The form of a message on the wire, and how many paths share one message.
//!
//! A body is one JSON object, in ASCII alone: SQS takes only characters that
//! XML 1.0 allows, so everything else is escaped.
//!
//! ```json
//! {"v":1,"source":"shop","distribution":"main","distribution_id":"E1","committed_at_us":1763892000000000,"sender":81985529216486895,"number":7,"paths":["/users/42"]}
//! {"v":2,"source":"shop","distribution":"main","distribution_id":"E1","tenant":"dt_1","committed_at_us":1763892000000000,"paths":["/users/42","#user-42"]}
//! ```
//!
//! A distribution's name is a configuration's own, and its id is CloudFront's: the
//! name tells the budget and the metrics, the id tells whether the drain that has
//! received the message means the same distribution. Messages of earlier versions
//! have no id, and nor do dead letters that an operator makes messages again: they
//! go to the distribution of that name, and say with `redriven_at_us` when that was.
//!
//! Version 2 has tags and tenants: an older drain would put tags under a wildcard
//! that matches no tag, and send a tenant's paths to all tenants. A message
//! without either is written as version 1, so that drains of both versions may
//! share a queue while they are replaced.

use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::edge_item::is_tag;
use crate::model::{CommitTime, Sent};

/// One message: many paths and tags of one distribution, or of one of its
/// tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The name of the configuration that sent it.
    pub source: Arc<str>,
    /// The distribution's name in the configuration.
    pub distribution: Arc<str>,
    /// Its id in the configuration that sent the message, which may be another one
    /// by now; `None`: whichever has the name.
    pub distribution_id: Option<Arc<str>>,
    /// The tenant of the distribution whose copies are meant; `None`: all.
    pub tenant: Option<Arc<str>>,
    /// Paths as [`crate::model::path::encode`] writes them, and tags as
    /// [`crate::model::edge_item::push_tag`] does.
    pub paths: Vec<String>,
    /// When the oldest change in it was committed, if that is known.
    pub committed_at: Option<CommitTime>,
    /// Its place among all that its sender has sent. One of an earlier version has
    /// none, and counts as new whenever it is received.
    pub sent: Option<Sent>,
    /// When an operator last made it a message again, which was a dead letter: what
    /// made it one is mended since.
    pub redriven_at: Option<CommitTime>,
}

/// A sender of messages, which numbers them. A process is one for as long as it lives,
/// whatever it loads again: clones go on from each other.
#[derive(Clone, Debug)]
pub struct Sender {
    by: u64,
    last: watch::Sender<Option<Sent>>,
}

impl Sender {
    /// One that nobody has heard of.
    pub fn begin() -> Self {
        Self {
            by: rand::random(),
            last: watch::Sender::new(None),
        }
    }

    #[cfg(test)]
    fn after(last: Sent) -> Self {
        Self {
            by: last.by,
            last: watch::Sender::new(Some(last)),
        }
    }

    /// The newest place that it has given, for as long as it lives. The keys of all messages up
    /// to there have settled, whether the buffer has them or not.
    pub fn last(&self) -> watch::Receiver<Option<Sent>> {
        self.last.subscribe()
    }

    /// Gives each message the next place. A machine that is resumed from a snapshot
    /// goes on under the same number of the sender: so the places are the clock's, in
    /// microseconds, or the next ones, whichever are greater.
    pub fn number(&self, messages: &mut [Message]) {
        self.last.send_if_modified(|last| {
            let next = last.map_or(0, |last| last.number + 1);
            let next = next.max(CommitTime::now().micros());
            for (number, message) in (next..).zip(&mut *messages) {
                message.sent = Some(Sent {
                    by: self.by,
                    number,
                });
                *last = message.sent;
            }
            !messages.is_empty()
        });
    }
}

/// The newest format, which this build writes where it has to. Fields may be
/// added within a version; a changed meaning needs a new one.
pub const VERSION: u32 = 2;

/// The first format, without tags and tenants.
const PATHS_ONLY: u32 = 1;

/// The most paths in a message: one CloudFront request holds as many.
pub const MESSAGE_PATHS_MAX: usize = 3_000;

/// The longest body that [`pack`] makes. Ten fit into one SQS request of 1 MiB.
pub const BODY_BYTES_MAX: usize = 100 * 1_024;

/// Why a body is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A newer evictd wrote it.
    #[error(
        "the message has format v{found} and this evictd reads up to v{VERSION}; \
         upgrade every copy that drains this buffer"
    )]
    NewerVersion {
        /// Its version.
        found: u32,
    },
    /// No evictd wrote it.
    #[error(
        "the message is not one of evictd's ({reason}); does another program send to this buffer?"
    )]
    Malformed {
        /// The fault found in it.
        reason: String,
    },
}

impl MessageError {
    /// A short name, for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            MessageError::NewerVersion { .. } => "newer-version",
            MessageError::Malformed { .. } => "malformed",
        }
    }
}

const REDRIVEN_AT: &str = "redriven_at_us";

#[derive(Deserialize)]
struct Envelope {
    v: u32,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    v: u32,
    source: &'a str,
    distribution: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    /// 0 where the commit time is not known.
    committed_at_us: u64,
    #[serde(flatten)]
    sent: Option<Sent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redriven_at_us: Option<u64>,
    paths: &'a [String],
}

#[derive(Deserialize)]
struct Incoming {
    source: String,
    distribution: String,
    #[serde(default)]
    distribution_id: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    committed_at_us: u64,
    #[serde(flatten)]
    sent: Option<Sent>,
    #[serde(default)]
    redriven_at_us: u64,
    paths: Vec<String>,
}

/// Writes a message's body.
///
/// # Errors
///
/// None in practice: strings and numbers always have a JSON form.
pub fn encode(message: &Message) -> Result<String, serde_json::Error> {
    let has_tags = message.paths.iter().any(|path| is_tag(path));
    let json = serde_json::to_string(&Outgoing {
        v: if has_tags || message.tenant.is_some() {
            VERSION
        } else {
            PATHS_ONLY
        },
        tenant: message.tenant.as_deref(),
        source: &message.source,
        distribution: &message.distribution,
        distribution_id: message.distribution_id.as_deref(),
        committed_at_us: message.committed_at.map_or(0, CommitTime::micros),
        sent: message.sent,
        redriven_at_us: message.redriven_at.map(CommitTime::micros),
        paths: &message.paths,
    })?;
    Ok(escape(json))
}

/// Reads a message's body.
///
/// # Errors
///
/// See [`MessageError`]. The body must then stay in the buffer.
pub fn decode(body: &[u8]) -> Result<Message, MessageError> {
    let malformed = |error: serde_json::Error| MessageError::Malformed {
        reason: error.to_string(),
    };
    let Envelope { v } = serde_json::from_slice(body).map_err(malformed)?;
    if v > VERSION {
        return Err(MessageError::NewerVersion { found: v });
    }
    if v == 0 {
        return Err(MessageError::Malformed {
            reason: "there is no format v0".to_owned(),
        });
    }
    let incoming: Incoming = serde_json::from_slice(body).map_err(malformed)?;
    let tenant = incoming.tenant.filter(|_| v > PATHS_ONLY);
    Ok(Message {
        source: incoming.source.into(),
        tenant: tenant.map(Into::into),
        distribution: incoming.distribution.into(),
        distribution_id: incoming.distribution_id.map(Into::into),
        paths: incoming.paths,
        committed_at: CommitTime::from_micros(incoming.committed_at_us),
        sent: incoming.sent,
        redriven_at: CommitTime::from_micros(incoming.redriven_at_us),
    })
}

/// The body of a dead letter that an operator makes a message again at `at`: it goes to
/// the distribution that has the name by now. `None` if no evictd wrote it, so that it
/// would only become a dead letter again at once.
pub fn redriven(body: &str, at: CommitTime) -> Option<String> {
    let is_newer = match decode(body.as_bytes()) {
        Ok(_) => false,
        Err(MessageError::NewerVersion { .. }) => true,
        Err(MessageError::Malformed { .. }) => return None,
    };
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    if !is_newer {
        fields.remove("distribution_id");
    }
    fields.insert(REDRIVEN_AT.to_owned(), at.micros().into());
    serde_json::to_string(&fields).ok().map(escape)
}

/// Whether an operator made the dead letter a message at `at` or later, and it is one
/// again.
pub fn was_redriven_since(body: &str, at: CommitTime) -> bool {
    let fields: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let before = fields.and_then(|fields| fields.get(REDRIVEN_AT)?.as_u64());
    before.is_some_and(|before| before >= at.micros())
}

/// Who sends paths, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// See [`Message::source`].
    pub source: Arc<str>,
    /// See [`Message::distribution`].
    pub distribution: Arc<str>,
    /// See [`Message::distribution_id`].
    pub distribution_id: Option<Arc<str>>,
    /// See [`Message::tenant`].
    pub tenant: Option<Arc<str>>,
}

/// Splits paths into as few messages as the two limits allow, in their order.
///
/// A path that is longer than [`BODY_BYTES_MAX`] gets a message of its own;
/// [`crate::model::path::encode`] makes none.
pub fn pack(
    to: &Recipient,
    paths: impl IntoIterator<Item = String>,
    committed_at: Option<CommitTime>,
) -> Vec<Message> {
    let empty = || Message {
        source: Arc::clone(&to.source),
        distribution: Arc::clone(&to.distribution),
        distribution_id: to.distribution_id.clone(),
        tenant: to.tenant.clone(),
        paths: Vec::new(),
        committed_at,
        sent: None,
        redriven_at: None,
    };
    let frame = frame_bytes(to);
    let mut messages = Vec::new();
    let mut message = empty();
    let mut bytes = frame;
    for path in paths {
        let cost = escaped_bytes(&path) + ",".len();
        let full = message.paths.len() == MESSAGE_PATHS_MAX || bytes + cost > BODY_BYTES_MAX;
        if full && !message.paths.is_empty() {
            messages.push(std::mem::replace(&mut message, empty()));
            bytes = frame;
        }
        bytes += cost;
        message.paths.push(path);
    }
    if !message.paths.is_empty() {
        messages.push(message);
    }
    messages
}

/// The most bytes that a body holds besides its paths.
fn frame_bytes(to: &Recipient) -> usize {
    const FIXED: &str = r#"{"v":,"source":,"distribution":,"distribution_id":,"tenant":,"committed_at_us":,"sender":,"number":,"paths":[]}"#;
    const DIGITS: usize = "4294967295".len() + 3 * "18446744073709551615".len();
    let optional = [&to.distribution_id, &to.tenant].map(|text| text.as_deref().unwrap_or(""));
    let texts = [&*to.source, &*to.distribution, optional[0], optional[1]].map(escaped_bytes);
    FIXED.len() + DIGITS + texts.iter().sum::<usize>()
}

/// The size of a string in a body, quotes included: at most, because JSON has
/// short escapes for some control characters.
fn escaped_bytes(text: &str) -> usize {
    const UNICODE_ESCAPE: usize = r"\u0000".len();
    let characters: usize = text
        .chars()
        .map(|character| match character {
            '"' | '\\' => 2,
            ' '..='~' => 1,
            other => UNICODE_ESCAPE * other.len_utf16(),
        })
        .sum();
    characters + "\"\"".len()
}

/// Writes everything that is not printable ASCII as a JSON escape. JSON has
/// such characters only inside strings, and control characters are escaped
/// already, except for DEL.
fn escape(json: String) -> String {
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() * 2);
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            if write!(escaped, "\\u{unit:04x}").is_err() {
                // Writing to a String cannot fail.
                return json;
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(paths: Vec<String>) -> Message {
        Message {
            source: "shop".into(),
            distribution: "main".into(),
            distribution_id: Some("E1".into()),
            tenant: None,
            paths,
            committed_at: CommitTime::from_micros(1_763_892_000_000_000),
            sent: None,
            redriven_at: None,
        }
    }

    fn to_main() -> Recipient {
        Recipient {
            source: "shop".into(),
            distribution: "main".into(),
            distribution_id: Some("E1".into()),
            tenant: None,
        }
    }

    #[test]
    fn a_message_of_an_earlier_version_and_one_that_is_sent_again_name_no_id() {
        let body = r#"{"v":1,"source":"shop","distribution":"main","committed_at_us":1763892000000000,"paths":["/a"]}"#;
        let sent = message(vec!["/a".to_owned()]);
        let mut expected = Message {
            distribution_id: None,
            ..sent.clone()
        };
        assert_eq!(decode(body.as_bytes()).as_ref(), Ok(&expected));
        let at = CommitTime::from_micros(7).unwrap();
        let again = redriven(&encode(&sent).unwrap(), at).unwrap();
        expected.redriven_at = Some(at);
        assert_eq!(decode(again.as_bytes()), Ok(expected));
        let newer = redriven(r#"{"v":3,"items":7}"#, at);
        let marked = r#"{"items":7,"redriven_at_us":7,"v":3}"#;
        assert_eq!(newer.as_deref(), Some(marked));
        assert_eq!(redriven("x", at), None);
        let later = CommitTime::from_micros(8).unwrap();
        for (body, at, since) in [
            (&*again, at, true),
            (&again, later, false),
            (body, at, false),
        ] {
            assert_eq!(was_redriven_since(body, at), since, "{body}");
        }
    }

    #[test]
    fn a_sender_gives_out_no_place_twice_and_each_after_the_one_before() {
        let sender = Sender::begin();
        let mut places = Vec::new();
        for sender in [&sender, &sender.clone(), &sender] {
            let mut messages = vec![message(Vec::new()); 2];
            sender.number(&mut messages);
            places.extend(messages.iter().filter_map(|message| message.sent));
        }
        assert_eq!(places.len(), 6);
        assert!(places.iter().all(|sent| sent.by == places[0].by));
        assert!(places.is_sorted_by(|one, next| one.number < next.number));
        assert_eq!(*sender.last().borrow(), places.last().copied());
        sender.number(&mut []);
        assert_eq!(*sender.last().borrow(), places.last().copied());
        // As after a resume, and with a clock that goes back.
        let ahead = Sender::after(Sent {
            by: 1,
            number: u64::MAX / 2 - 1,
        });
        let mut messages = vec![message(Vec::new())];
        ahead.number(&mut messages);
        let sent = messages[0].sent.unwrap();
        assert_eq!(sent.number, u64::MAX / 2);
        let body = encode(&messages[0]).unwrap();
        assert!(
            body.contains(r#""sender":1,"number":9223372036854775807"#),
            "{body}"
        );
        assert_eq!(decode(body.as_bytes()).unwrap().sent, Some(sent));
    }

    #[test]
    fn the_body_is_the_documented_one() {
        assert_eq!(
            encode(&message(vec!["/users/42".to_owned()])).unwrap(),
            r#"{"v":1,"source":"shop","distribution":"main","distribution_id":"E1","committed_at_us":1763892000000000,"paths":["/users/42"]}"#
        );
    }

    #[test]
    fn a_message_without_a_commit_time_says_zero() {
        let unknown = Message {
            committed_at: None,
            ..message(vec!["/users/42".to_owned()])
        };
        let body = encode(&unknown).unwrap();
        assert_eq!(
            body,
            r#"{"v":1,"source":"shop","distribution":"main","distribution_id":"E1","committed_at_us":0,"paths":["/users/42"]}"#
        );
        assert_eq!(decode(body.as_bytes()), Ok(unknown));
    }

    #[test]
    fn tags_and_tenants_are_a_version_of_their_own_that_older_drains_leave() {
        let tenant = |paths: &[&str], tenant: Option<&str>| Message {
            tenant: tenant.map(Into::into),
            ..message(paths.iter().map(|&path| path.to_owned()).collect())
        };
        for (message, version) in [
            (tenant(&["/users/42"], None), 1),
            (tenant(&["/users/42", "#user-42"], None), 2),
            (tenant(&["/users/42"], Some("dt_1")), 2),
        ] {
            let body = encode(&message).unwrap();
            assert!(body.starts_with(&format!("{{\"v\":{version},")), "{body}");
            assert_eq!(decode(body.as_bytes()), Ok(message));
        }
    }

    #[test]
    fn a_field_added_within_the_version_is_ignored() {
        let body = br#"{"v":1,"source":"shop","distribution":"main","distribution_id":"E1","committed_at_us":1763892000000000,"paths":[],"tenant":"a","more":1}"#;
        assert_eq!(decode(body), Ok(message(Vec::new())));
    }

    #[test]
    fn a_newer_version_is_refused_as_such_whatever_else_it_holds() {
        let error = decode(br#"{"v":3,"items":7}"#).unwrap_err();
        assert_eq!(error, MessageError::NewerVersion { found: 3 });
        assert!(error.to_string().contains("upgrade"), "{error}");
    }

    #[test]
    fn what_no_evictd_wrote_is_refused_as_malformed() {
        for body in [
            "",
            "hello",
            "{}",
            r#"{"v":"1"}"#,
            r#"{"v":0,"source":"s","distribution":"d","committed_at_us":1,"paths":[]}"#,
            r#"{"v":1,"source":"s","distribution":"d","committed_at_us":1}"#,
            r#"{"v":1,"source":"s","distribution":"d","committed_at_us":-1,"paths":[]}"#,
        ] {
            assert_eq!(
                decode(body.as_bytes()).unwrap_err().code(),
                "malformed",
                "{body}"
            );
        }
    }

    #[test]
    fn a_million_paths_of_fifty_bytes_need_under_two_hundred_requests() {
        let paths =
            (0..1_000_000).map(|n| format!("/shop/products/category-{n:07}/some-slug-{n:07}"));
        let messages = pack(&to_main(), paths, CommitTime::from_micros(1));
        assert_eq!(
            messages.iter().map(|m| m.paths.len()).sum::<usize>(),
            1_000_000
        );
        assert!(messages.len().div_ceil(10) < 200, "{}", messages.len());
    }

    #[test]
    fn no_paths_make_no_message() {
        assert_eq!(pack(&to_main(), Vec::new(), None), Vec::new());
    }

    #[test]
    fn short_paths_are_limited_by_number() {
        let paths: Vec<_> = (0..6_001).map(|n| format!("/{n}")).collect();
        let messages = pack(&to_main(), paths, CommitTime::from_micros(1));
        let sizes: Vec<_> = messages.iter().map(|m| m.paths.len()).collect();
        assert_eq!(sizes, [3_000, 3_000, 1]);
    }

    proptest! {
        #[test]
        fn any_message_round_trips_in_printable_ascii(
            source in any::<String>(),
            distribution in any::<String>(),
            distribution_id in any::<Option<String>>(),
            tenant in any::<Option<String>>(),
            paths in prop::collection::vec(any::<String>(), 0..20),
            committed_at_us in any::<u64>(),
            sent in any::<Option<(u64, u64)>>(),
        ) {
            let message = Message {
                source: source.into(),
                distribution: distribution.into(),
                distribution_id: distribution_id.map(Into::into),
                tenant: tenant.map(Into::into),
                paths,
                committed_at: CommitTime::from_micros(committed_at_us),
                sent: sent.map(|(by, number)| Sent { by, number }),
                redriven_at: CommitTime::from_micros(committed_at_us / 2),
            };
            let body = encode(&message).unwrap();
            // All of these are XML 1.0 characters.
            prop_assert!(body.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(decode(body.as_bytes()), Ok(message));
        }

        #[test]
        fn packing_keeps_every_path_in_order_and_within_the_limits(
            source in any::<String>(),
            tenant in any::<Option<String>>(),
            lengths in prop::collection::vec(1_usize..4_000, 0..200),
            odd in any::<String>(),
        ) {
            let mut paths: Vec<String> = lengths.iter().map(|&n| "/".repeat(n)).collect();
            paths.push(odd);
            let tenant: Option<Arc<str>> = tenant.map(Into::into);
            let to = Recipient {
                source: source.into(),
                tenant: tenant.clone(),
                ..to_main()
            };
            let at = CommitTime::from_micros(7);
            let mut messages = pack(&to, paths.clone(), at);
            let widest = Sent { by: u64::MAX, number: u64::MAX - 1_000 };
            Sender::after(widest).number(&mut messages);
            for message in &messages {
                prop_assert!(message.paths.len() <= MESSAGE_PATHS_MAX);
                prop_assert!(encode(message).unwrap().len() <= BODY_BYTES_MAX);
                prop_assert_eq!((&message.tenant, message.committed_at), (&tenant, at));
            }
            let unpacked: Vec<String> = messages.into_iter().flat_map(|m| m.paths).collect();
            prop_assert_eq!(unpacked, paths);
        }
    }
}
