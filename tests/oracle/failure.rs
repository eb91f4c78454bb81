//! What a case can fail with.

use std::fmt;

use super::rules::Rule;
use super::snapshot::{Content, Name, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entry does not say what the rows say.
    Stale,
    /// The same of a copy at CloudFront.
    StalePage,
    /// An entry was deleted though nothing that it is made of was changed.
    NeedlesslyDeleted,
    /// A path was invalidated though nothing of its page was changed, or more often than it was changed.
    PaidNeedlessly,
    /// What could be done was not while something else was in trouble.
    Starved,
    /// evictd did not get done.
    Stuck,
    /// evictd ended, or did not start.
    Ended,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: Kind,
    /// The step at which it was seen, from 1 on.
    pub step: usize,
    pub text: String,
    /// The end of evictd's log.
    pub log: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at step {}: {}", self.kind, self.step, self.text)
    }
}

/// An entry for a reader of the report: columns in hexadecimal digits become text.
pub fn told(content: &Content) -> String {
    let text = |value: &Option<String>| match value {
        None => "NULL".to_owned(),
        Some(digits) => {
            let bytes = hex::decode(digits).unwrap_or_default();
            format!("{:?}", String::from_utf8_lossy(&bytes))
        }
    };
    let rows: Vec<String> = content
        .iter()
        .map(|row| {
            let columns: Vec<String> = row
                .iter()
                .map(|(name, value)| format!("{name}={}", text(value)))
                .collect();
            format!("({})", columns.join(" "))
        })
        .collect();
    format!("[{}]", rows.join(", "))
}

pub fn named(rules: &[Rule], (place, name): &(Place, Name)) -> String {
    let rule = &rules[place.0];
    format!("\"{}\" of {}", String::from_utf8_lossy(name), rule.name)
}
