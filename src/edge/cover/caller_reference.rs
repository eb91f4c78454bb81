//! The name of a request, which says how far the request reaches back.
//!
//! ```text
//! evictd-{sender}-{number}-{SHA-256 of distribution, paths and messages}
//! evictd-tenant-{sender}-{number}-{…, of the tenant too}
//! ```
//!
//! A drain that reads the invalidations of another, or of itself before a
//! crash, learns from the name which messages they cover.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::edge::Scope;
use crate::model::Sent;

const OWN: &str = "evictd-";

/// Read as the name of a distribution's invalidation, it has no horizon: a
/// tenant's invalidation covers nobody else's messages.
const TENANTS: &str = "evictd-tenant-";

/// Names a request after everything it stands for.
///
/// The messages are part of it, because the edge would answer a second change
/// to the same paths with the invalidation of the first. Lengths stand before
/// the texts, so that different lists never read the same.
pub fn caller_reference<'a>(
    scope: &Scope,
    horizon: Option<Sent>,
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
    text(&scope.distribution);
    if let Some(tenant) = &scope.tenant {
        text("tenant");
        text(tenant);
    }
    text(&paths.len().to_string());
    for path in paths {
        text(path);
    }
    for message in messages {
        text(message);
    }
    let prefix = match scope.tenant {
        None => OWN,
        Some(_) => TENANTS,
    };
    let mut name = match horizon {
        Some(Sent { by, number }) => format!("{prefix}{by:016x}-{number:x}-"),
        None => prefix.to_owned(),
    };
    name.push_str(&hex::encode(hash.finalize()));
    if salt > 0 {
        name.push_str(&format!("-{salt}"));
    }
    name
}

/// The horizon in the name of an invalidation that was made there, if it is one
/// of evictd's and has one.
pub fn horizon(caller_reference: &str, scope: &Scope) -> Option<Sent> {
    let prefix = match scope.tenant {
        None => OWN,
        Some(_) => TENANTS,
    };
    let mut parts = caller_reference.strip_prefix(prefix)?.split('-');
    let by = u64::from_str_radix(parts.next()?, 16).ok()?;
    let number = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next()?;
    Some(Sent { by, number })
}

/// Whether this is the name of a tenant's invalidation.
pub fn is_of_tenant(caller_reference: &str) -> bool {
    caller_reference.starts_with(TENANTS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scope(distribution: &str, tenant: Option<&str>) -> Scope {
        Scope {
            distribution: distribution.into(),
            tenant: tenant.map(Into::into),
        }
    }

    #[test]
    fn the_name_changes_with_everything_it_stands_for() {
        let messages: [Arc<str>; 2] = ["a".into(), "b".into()];
        let horizon = Some(Sent { by: 1, number: 2 });
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
        .flat_map(|(distribution, horizon, paths, count, salt)| {
            let paths = paths.into_iter();
            [None, Some("dt_1"), Some("dt_2")].map(|tenant| {
                let scope = scope(distribution, tenant);
                caller_reference(&scope, horizon, paths.clone(), &messages[..count], salt)
            })
        })
        .collect();
        assert_eq!(names.len(), 24);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("evictd-") && name.len() < 128)
        );
    }

    #[test]
    fn the_horizon_is_read_back_from_the_name() {
        let largest = Some(Sent {
            by: u64::MAX,
            number: u64::MAX,
        });
        for expected in [None, largest, Some(Sent { by: 0, number: 0 })] {
            for salt in [0, u32::MAX] {
                for tenant in [None, Some("dt_1")] {
                    let own = scope("E1", tenant);
                    let name = caller_reference(&own, expected, ["/a"].into_iter(), &[], salt);
                    assert!(name.len() < 128);
                    assert_eq!(is_of_tenant(&name), tenant.is_some());
                    assert_eq!(horizon(&name, &own), expected, "{name}");
                    let other = scope("E1", tenant.xor(Some("dt_1")));
                    assert_eq!(horizon(&name, &other), None, "{name}");
                }
            }
        }
        for other in [
            "",
            "evictd-",
            "evictd-1-2",
            "deploy-2026-11-23-0",
            "evictd-1-x-y",
        ] {
            assert_eq!(horizon(other, &scope("E1", None)), None, "{other}");
        }
    }
}
