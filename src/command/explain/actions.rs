//! The effect of each rule, as lines of text.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::model::edge_item::is_tag;
use crate::model::invalidation::{Action, Plan, Widening};

/// The planner's actions, each with its rule, as lines of text.
#[derive(Default)]
pub(super) struct Planned(pub(super) Vec<(Arc<str>, String)>);

impl Planned {
    fn add(&mut self, rule: &Arc<str>, line: fmt::Arguments<'_>) {
        let mut text = String::new();
        // Writing to a String does not fail.
        text.write_fmt(line).ok();
        self.0.push((Arc::clone(rule), text));
    }
}

impl Plan for Planned {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        match action {
            Action::Delete { key, settles } => {
                let again = if settles {
                    ""
                } else {
                    " (once: no reader fills it again)"
                };
                self.add(rule, format_args!("delete {}{again}", Bytes(key)));
            }
            Action::DeleteMatching { glob } => {
                self.add(
                    rule,
                    format_args!("delete every key that matches {}", Bytes(glob)),
                );
            }
            Action::Increment { key } => self.add(rule, format_args!("add one to {}", Bytes(key))),
            Action::RaiseGuard { key, version, .. } => {
                self.add(
                    rule,
                    format_args!("raise guard {} to {version}", Bytes(key)),
                );
            }
            Action::SkipGuard { version: b"" } => {
                self.add(rule, format_args!("raise no guard: the version is NULL"));
            }
            Action::SkipGuard { version } => {
                self.add(
                    rule,
                    format_args!("raise no guard: the version is {}", Bytes(version)),
                );
            }
            Action::DeleteTagSet { key, .. } => {
                self.add(
                    rule,
                    format_args!("delete tag set {} and the keys that it names", Bytes(key)),
                );
            }
            Action::DeleteTagSetsMatching { glob, .. } => self.add(
                rule,
                format_args!(
                    "delete every tag set that matches {} and the keys that it names",
                    Bytes(glob)
                ),
            ),
            Action::DeleteField { key, field } => {
                self.add(
                    rule,
                    format_args!("delete field {} of {}", Bytes(field), Bytes(key)),
                );
            }
            Action::Publish { channel, .. } => {
                self.add(
                    rule,
                    format_args!("publish the deletion on channel {channel}"),
                );
            }
            Action::BackwardVersion { before, after } => self.add(
                rule,
                format_args!(
                    "warn: the version went back from {} to {}",
                    Bytes(before),
                    Bytes(after)
                ),
            ),
            Action::Invalidate { path, at } => {
                let what = if is_tag(path) { "tag " } else { "" };
                let of = at.tenant.map(|tenant| format!(" of tenant {tenant}"));
                let names = at
                    .distributions
                    .map(|names| format!(" at {}", names.join(", ")));
                let (of, names) = (of.unwrap_or_default(), names.unwrap_or_default());
                self.add(rule, format_args!("invalidate {what}{path}{of}{names}"));
            }
            Action::Skip { path, class } => {
                self.add(
                    rule,
                    format_args!("send nothing for {path}: its class is {class}"),
                );
            }
            Action::MissedBump { version } => self.add(
                rule,
                format_args!(
                    "warn: the row changed, but its version {} did not",
                    Bytes(version)
                ),
            ),
        }
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.add(
            rule,
            format_args!(
                "widen to the whole table, because single rows cannot be known ({reason})"
            ),
        );
    }
}

/// Bytes as people read them: text as it is, anything else escaped.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => f.write_str(text),
            Err(_) => self.0.escape_ascii().fmt(f),
        }
    }
}
