//! The distribution that a message is for, if it is one of this configuration.

use std::sync::Arc;

use super::options::DrainOptions;
use crate::buffer::Message;

/// When a message that cannot be used becomes a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// At once: it never can be used.
    Nothing,
    /// Once it was received too often. A newer evictd may know how to read it, and
    /// a configuration may get its distribution.
    UntilTooOften,
    /// Never: it is for somebody else, who shares the queue.
    Endless,
}

impl DrainOptions {
    /// Gives the distribution that the message means the name that it has here.
    pub(super) fn rename(&self, message: &mut Message) {
        let known = &self.distributions;
        let Some(id) = &message.distribution_id else {
            return;
        };
        if known.get(&message.distribution) == Some(id) {
            return;
        }
        if let Some((name, _)) = known.iter().find(|(_, known)| *known == id) {
            message.distribution = Arc::clone(name);
        }
    }

    /// Why the message is for no distribution of this configuration. The ids tell:
    /// two configurations can mean two distributions by one name, and one can mean
    /// another distribution than before.
    pub(super) fn unknown(&self, message: &Message) -> Option<(&'static str, Patience, String)> {
        let (source, name) = (&message.source, &message.distribution);
        let is_own = *source == self.source;
        let own = self.distributions.get(name);
        let theirs = message.distribution_id.as_deref();
        match (own, theirs) {
            (Some(own), Some(theirs)) if **own != *theirs => {
                if is_own && self.last_sent.is_some() {
                    // An earlier configuration of this process sent it.
                    return None;
                }
                let difference = format!("distribution {name:?} is {own} here, and {theirs} in");
                Some(if is_own {
                    (
                        "other-distribution",
                        Patience::UntilTooOften,
                        format!(
                            "{difference} the configuration that sent the message: load the newer one in both processes; what was sent before becomes a dead letter, and `evictd drain --redrive` sends it to {own}"
                        ),
                    )
                } else {
                    (
                        "other-configuration",
                        Patience::Endless,
                        format!(
                            "{difference} the configuration {source:?}, which sends to this queue too: give each configuration a queue of its own"
                        ),
                    )
                })
            }
            (Some(_), _) => None,
            (None, _) if is_own => Some((
                "unknown-distribution",
                Patience::UntilTooOften,
                format!(
                    "no distribution is called {name:?} in this configuration; \
                     add it under [[cloudfront.distribution]]"
                ),
            )),
            (None, _) => Some((
                "other-configuration",
                Patience::Endless,
                format!(
                    "no distribution is called {name:?} in this configuration, and the configuration {source:?}, which has it, sends to this queue too: give each configuration a queue of its own, or add the distribution here"
                ),
            )),
        }
    }
}
