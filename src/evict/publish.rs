//! Deletions published to processes that keep copies of their own.
//!
//! A batch sends one message to each channel after its first deletion, and
//! another after the second one. Where a part of a deletion remains, one more
//! follows once that is done:
//!
//! ```json
//! {"v":1,"keys":["user:7"],"fields":[["users","7"]],"globs":["user:*"]}
//! ```
//!
//! `keys` is always there. Names that are not UTF-8 stand in `keys_base64`,
//! `fields_base64` and `globs_base64` instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::pass::Pass;
use crate::cache::{Cache, CacheError, Refused};
use crate::model::invalidation::Published;
use crate::model::{KeySet, PairSet};
use crate::telemetry::metric;

/// Largest message, in bytes; more go in a further one. Redis sends a message
/// whole to every subscriber, and counts it against their output buffers.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Names to be published, by channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Publications(BTreeMap<Arc<str>, Publication>);

#[derive(Clone, Debug, Default)]
struct Publication {
    settling: KeySet,
    once: KeySet,
    fields: PairSet,
    globs: BTreeSet<Vec<u8>>,
    /// The keys that tag sets name are published too.
    members: bool,
}

impl Publications {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The memory it takes, in bytes (Bounded).
    pub(super) fn size(&self) -> usize {
        self.0.values().map(Publication::size).sum()
    }

    pub(super) fn add(&mut self, channel: &Arc<str>, what: Published<'_>) {
        if !self.0.contains_key(channel) {
            self.0.insert(Arc::clone(channel), Publication::default());
        }
        let Some(publication) = self.0.get_mut(channel) else {
            return;
        };
        match what {
            Published::Key { key, settles: true } => {
                publication.settling.insert(key);
            }
            Published::Key {
                key,
                settles: false,
            } => {
                publication.once.insert(key);
            }
            Published::Field { key, field } => {
                publication.fields.insert(key, field);
            }
            Published::Glob(glob) => {
                publication.globs.insert(glob.to_vec());
            }
            Published::Members => publication.members = true,
        }
    }

    /// Whether the keys that tag sets name are published to some channel.
    pub(super) fn want_members(&self) -> bool {
        self.0.values().any(|publication| publication.members)
    }

    /// Publishes everything that this pass deleted, `members` included, and
    /// returns the channels that the cache refuses.
    pub(super) async fn publish(
        &self,
        cache: &mut impl Cache,
        pass: Pass,
        members: &KeySet,
    ) -> Result<Vec<Refused>, CacheError> {
        let mut refused = Vec::new();
        for (channel, publication) in &self.0 {
            let messages = publication.messages(pass, members);
            refused.extend(send(cache, channel, messages).await?);
        }
        Ok(refused)
    }

    /// Publishes keys that tag sets name, before there are too many to hold.
    pub(super) async fn publish_members(
        &self,
        cache: &mut impl Cache,
        members: &KeySet,
    ) -> Result<Vec<Refused>, CacheError> {
        let mut refused = Vec::new();
        for (channel, _) in self.0.iter().filter(|(_, published)| published.members) {
            let mut messages = Messages::default();
            members.iter().for_each(|key| messages.add_key(key));
            refused.extend(send(cache, channel, messages.end()).await?);
        }
        Ok(refused)
    }
}

async fn send(
    cache: &mut impl Cache,
    channel: &str,
    messages: Vec<Vec<u8>>,
) -> Result<Vec<Refused>, CacheError> {
    let mut refused = Vec::new();
    for message in messages {
        refused.extend(cache.publish(channel, &message).await?.whole()?.refused);
        metrics::counter!(metric::PUBLISHED).increment(1);
    }
    Ok(refused)
}

impl Publication {
    fn size(&self) -> usize {
        let globs: usize = self.globs.iter().map(Vec::len).sum();
        self.settling.size() + self.once.size() + self.fields.size() + globs
    }

    fn messages(&self, pass: Pass, members: &KeySet) -> Vec<Vec<u8>> {
        let mut messages = Messages::default();
        self.settling.iter().for_each(|key| messages.add_key(key));
        if pass != Pass::Again {
            self.once.iter().for_each(|key| messages.add_key(key));
        }
        if self.members {
            members.iter().for_each(|key| messages.add_key(key));
        }
        for (key, field) in self.fields.iter() {
            messages.add_field(key, field);
        }
        self.globs.iter().for_each(|glob| messages.add_glob(glob));
        messages.end()
    }
}

/// Lists of JSON that become a message when they are full.
#[derive(Debug, Default)]
struct Messages {
    lists: [Vec<u8>; LISTS.len()],
    done: Vec<Vec<u8>>,
}

/// Names of the lists, each for text and then for other bytes.
const LISTS: [&str; 6] = [
    "keys",
    "keys_base64",
    "fields",
    "fields_base64",
    "globs",
    "globs_base64",
];

/// Room for the braces, the version and the names of all lists.
const FRAME_BYTES: usize = 128;

impl Messages {
    fn add_key(&mut self, key: &[u8]) {
        match json(key) {
            Ok(text) => self.add(0, &text),
            Err(base64) => self.add(1, &base64),
        }
    }

    fn add_field(&mut self, key: &[u8], field: &[u8]) {
        match (json(key), json(field)) {
            (Ok(key), Ok(field)) => self.add(2, &format!("[{key},{field}]")),
            _ => self.add(3, &format!("[{},{}]", base64(key), base64(field))),
        }
    }

    fn add_glob(&mut self, glob: &[u8]) {
        match json(glob) {
            Ok(text) => self.add(4, &text),
            Err(base64) => self.add(5, &base64),
        }
    }

    fn add(&mut self, list: usize, item: &str) {
        let size: usize = self.lists.iter().map(Vec::len).sum();
        if size > 0 && size + 1 + item.len() + FRAME_BYTES > MESSAGE_BYTES_MAX {
            self.flush();
        }
        if let Some(list) = self.lists.get_mut(list) {
            if !list.is_empty() {
                list.push(b',');
            }
            list.extend_from_slice(item.as_bytes());
        }
    }

    fn flush(&mut self) {
        let mut message = b"{\"v\":1".to_vec();
        for (name, list) in LISTS.iter().zip(&mut self.lists) {
            if !list.is_empty() || *name == "keys" {
                message.extend_from_slice(format!(",\"{name}\":[").as_bytes());
                message.append(list);
                message.push(b']');
            }
        }
        message.push(b'}');
        self.done.push(message);
    }

    fn end(mut self) -> Vec<Vec<u8>> {
        if self.lists.iter().any(|list| !list.is_empty()) {
            self.flush();
        }
        self.done
    }
}

/// `bytes` as a JSON string; as an error, their Base64 if they are not text.
fn json(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| serde_json::to_string(text).ok())
        .ok_or_else(|| base64(bytes))
}

fn base64(bytes: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(messages: &Messages) -> Vec<String> {
        let text = |message: &Vec<u8>| String::from_utf8(message.clone()).unwrap();
        messages.done.iter().map(text).collect()
    }

    #[test]
    fn a_message_names_keys_fields_and_globs_and_encodes_what_is_not_text() {
        let mut publications = Publications::default();
        let channel: Arc<str> = "users".into();
        for what in [
            Published::Key {
                key: b"user:7",
                settles: true,
            },
            Published::Key {
                key: b"user:7:v3",
                settles: false,
            },
            Published::Key {
                key: b"\xff\"",
                settles: true,
            },
            Published::Field {
                key: b"users",
                field: b"7",
            },
            Published::Field {
                key: b"users",
                field: b"\xff",
            },
            Published::Glob(b"user:*"),
        ] {
            publications.add(&channel, what);
        }
        let members = || {
            let mut members = KeySet::default();
            members.insert(b"page:\n1");
            members
        };
        let message = |pass, members: &KeySet| {
            let messages = publications.0[&channel].messages(pass, members);
            messages
                .into_iter()
                .map(|message| String::from_utf8(message).unwrap())
                .collect::<Vec<_>>()
        };
        let first = r#"{"v":1,"keys":["user:7","user:7:v3"],"keys_base64":["/yI="],"fields":[["users","7"]],"fields_base64":[["dXNlcnM=","/w=="]],"globs":["user:*"]}"#;
        assert_eq!(message(Pass::First, &members()), [first]);
        assert_eq!(message(Pass::Once, &members()), [first]);
        assert_eq!(
            message(Pass::Again, &members()),
            [first.replace(",\"user:7:v3\"", "")]
        );
        assert!(!publications.want_members());
        publications.add(&channel, Published::Members);
        assert!(publications.want_members());
        let messages = publications.0[&channel].messages(Pass::Again, &members());
        let text = String::from_utf8(messages[0].clone()).unwrap();
        assert!(text.contains(r#""keys":["user:7","page:\n1"]"#), "{text}");
    }

    #[test]
    fn messages_end_at_one_mebibyte_and_lose_nothing() {
        let mut messages = Messages::default();
        let keys: Vec<String> = (0..30_000).map(|n| format!("key:{n:0100}\u{1}")).collect();
        for key in &keys {
            messages.add_key(key.as_bytes());
            messages.add_glob(b"*");
        }
        messages.flush();
        let texts = texts(&messages);
        assert!((4..=5).contains(&texts.len()), "{}", texts.len());
        let mut told = Vec::new();
        for text in &texts {
            assert!(text.len() <= MESSAGE_BYTES_MAX, "{}", text.len());
            let message: serde_json::Value = serde_json::from_str(text).unwrap();
            let keys = message["keys"].as_array().unwrap();
            told.extend(keys.iter().map(|key| key.as_str().unwrap().to_owned()));
        }
        assert_eq!(told, keys);
        // One that is longer goes alone.
        let mut messages = Messages::default();
        messages.add_key(b"a");
        messages.add_key(&vec![b'x'; MESSAGE_BYTES_MAX]);
        messages.add_key(b"b");
        assert_eq!(messages.end().len(), 3);
    }
}
