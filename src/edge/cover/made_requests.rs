//! Requests that were made, with the messages that they were made for.
//!
//! The problem: the order of a buffer that several machines share is told by their
//! clocks, so that a message which entered it just before an invalidation was made
//! may have entered just after (see [`QueuePosition::certain_from`]). After a crash
//! that is most of what comes back, and all of it would be paid for again.
//!
//! The idea: a request was made after each message that it was made for had been
//! received, whatever any clock says. Its paths are done for these messages.
//!
//! [`QueuePosition::certain_from`]: crate::model::QueuePosition

use std::collections::{HashSet, VecDeque};

use crate::model::edge_item::{is_wildcard, matches};

/// The memory that they may take (Bounded). What is forgotten is at worst paid for
/// again.
const BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The newest requests.
#[derive(Debug, Default)]
pub struct MadeRequests {
    requests: VecDeque<MadeRequest>,
    bytes: usize,
}

#[derive(Debug)]
struct MadeRequest {
    caller_reference: String,
    tenant: Option<String>,
    messages: HashSet<String>,
    singles: HashSet<String>,
    wildcards: Vec<String>,
    bytes: usize,
}

impl MadeRequests {
    /// Takes in that a request was made, unless it is known.
    pub fn add<S: AsRef<str>>(
        &mut self,
        caller_reference: &str,
        tenant: Option<&str>,
        messages: &[S],
        paths: &[String],
    ) {
        let mut requests = self.requests.iter();
        if requests.any(|request| request.caller_reference == caller_reference) {
            return;
        }
        let messages: HashSet<String> = messages
            .iter()
            .map(|message| message.as_ref().to_owned())
            .collect();
        let (wildcards, singles): (Vec<String>, Vec<String>) =
            paths.iter().cloned().partition(|path| is_wildcard(path));
        let texts = messages.iter().chain(paths);
        let bytes = texts.map(|text| text.len() + size_of::<String>()).sum();
        self.bytes += bytes;
        self.requests.push_back(MadeRequest {
            caller_reference: caller_reference.to_owned(),
            tenant: tenant.map(str::to_owned),
            messages,
            singles: singles.into_iter().collect(),
            wildcards,
            bytes,
        });
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.requests.pop_front()
        {
            self.bytes -= oldest.bytes;
        }
    }

    /// Whether this path of the message is done.
    pub fn cover(&self, tenant: Option<&str>, path: &str, message: &str) -> bool {
        self.requests.iter().any(|request| {
            request.tenant.as_deref() == tenant
                && request.messages.contains(message)
                && (request.singles.contains(path)
                    || request
                        .wildcards
                        .iter()
                        .any(|wildcard| matches(wildcard, path)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_request_is_done_for_its_own_messages_and_its_own_tenant() {
        let mut made = MadeRequests::default();
        made.add("one", None, &["a", "b"], &texts(&["/x", "/y/*"]));
        made.add("two", Some("dt_1"), &["c"], &texts(&["/x"]));
        made.add("one", None, &["c"], &texts(&["/z"]));
        for (tenant, path, message, expected) in [
            (None, "/x", "a", true),
            (None, "/y/1", "b", true),
            (None, "/z", "a", false),
            (None, "/x", "c", false),
            (None, "/z", "c", false),
            (Some("dt_1"), "/x", "c", true),
            (Some("dt_2"), "/x", "c", false),
            (Some("dt_1"), "/x", "a", false),
        ] {
            let covers = made.cover(tenant, path, message);
            assert_eq!(covers, expected, "{tenant:?} {path} {message}");
        }
    }

    #[test]
    fn it_remembers_a_bounded_number_of_bytes_and_the_newest() {
        let mut made = MadeRequests::default();
        let long = texts(&["/".repeat(BYTES_MAX / 4).as_str()]);
        for reference in ["1", "2", "3", "4", "5"] {
            made.add(reference, None, &[reference], &long);
        }
        let known = ["1", "2", "3", "4", "5"].map(|message| made.cover(None, &long[0], message));
        assert_eq!(known, [false, false, true, true, true]);
    }
}
