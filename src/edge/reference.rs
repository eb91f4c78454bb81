//! The name of a request: what it stands for, and how far it reaches back.
//!
//! ```text
//! evictd-{buffer}-{horizon}-{SHA-256 of distribution, paths and messages}
//! ```
//!
//! A drain that reads the invalidations of another, or of itself before a
//! crash, learns from the name which messages they cover.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::covered::Horizon;

/// Names a request after all it stands for.
///
/// The messages are part of it, because the edge would answer a second change
/// to the same paths with the invalidation of the first. Lengths stand before
/// the texts, so that different lists never read the same.
pub fn caller_reference<'a>(
    distribution: &str,
    horizon: Option<Horizon>,
    paths: impl ExactSizeIterator<Item = &'a str>,
    messages: &[Arc<str>],
    salt: u32,
) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update(text.len().to_string());
        hash.update(b":");
        hash.update(text);
    };
    text(distribution);
    text(&paths.len().to_string());
    for path in paths {
        text(path);
    }
    for message in messages {
        text(message);
    }
    let mut name = match horizon {
        Some(Horizon { buffer, at }) => format!("evictd-{buffer:016x}-{at:x}-"),
        None => "evictd-".to_owned(),
    };
    name.push_str(&hex::encode(hash.finalize()));
    if salt > 0 {
        name.push_str(&format!("-{salt}"));
    }
    name
}

/// The horizon in a name, if it is one of evictd's and has one.
pub fn horizon(caller_reference: &str) -> Option<Horizon> {
    let mut parts = caller_reference.strip_prefix("evictd-")?.split('-');
    let buffer = u64::from_str_radix(parts.next()?, 16).ok()?;
    let at = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next()?;
    Some(Horizon { buffer, at })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_name_changes_with_everything_it_stands_for() {
        let messages: [Arc<str>; 2] = ["a".into(), "b".into()];
        let horizon = Some(Horizon { buffer: 1, at: 2 });
        let names: BTreeSet<String> = [
            ("E1", horizon, vec!["/a", "/b"], 2, 0),
            ("E2", horizon, vec!["/a", "/b"], 2, 0),
            ("E1", None, vec!["/a", "/b"], 2, 0),
            ("E1", horizon, vec!["/a"], 2, 0),
            ("E1", horizon, vec!["/a/b"], 2, 0),
            ("E1", horizon, vec!["/a", "/b"], 1, 0),
            ("E1", horizon, vec!["/a", "/b"], 2, 1),
            ("E1", horizon, vec!["/a", "/b"], 2, 2),
        ]
        .into_iter()
        .map(|(distribution, horizon, paths, count, salt)| {
            let paths = paths.into_iter();
            caller_reference(distribution, horizon, paths, &messages[..count], salt)
        })
        .collect();
        assert_eq!(names.len(), 8);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("evictd-") && name.len() < 128)
        );
    }

    #[test]
    fn the_horizon_is_read_back_from_the_name() {
        let largest = Some(Horizon {
            buffer: u64::MAX,
            at: u64::MAX,
        });
        for expected in [None, largest, Some(Horizon { buffer: 0, at: 0 })] {
            for salt in [0, u32::MAX] {
                let name = caller_reference("E1", expected, ["/a"].into_iter(), &[], salt);
                assert!(name.len() < 128);
                let read = horizon(&name);
                assert_eq!(read, expected, "{name}");
            }
        }
        for other in [
            "",
            "evictd-",
            "evictd-1-2",
            "deploy-2026-11-23-0",
            "evictd-1-x-y",
        ] {
            assert_eq!(horizon(other), None, "{other}");
        }
    }
}
