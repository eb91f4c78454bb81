//! Messages that an earlier invalidation stands for already.
//!
//! The problem: every path that is sent is paid for. After a crash between the
//! edge's acceptance and the deletion of the messages, they all come back; and
//! behind a wildcard that covers a whole backlog, each message of it would be sent
//! once more.
//!
//! The idea: a message enters the buffer once its Redis keys are deleted and
//! settled (Cache before edge). So an invalidation that is accepted after that
//! removes from the edge everything stale that one of its paths matches, whoever
//! asked for it. A message that was in the buffer before is done without another
//! call.
//!
//! What could go wrong is to call a later change done: its old copy would stay at
//! the edge (Over, never under). So "before" is told by the order in which the
//! sender made the messages, never by comparing clocks. The *horizon* of an
//! invalidation is the newest message in hand when the call was made, and it covers
//! messages of the same sender that were made up to then ([`Sent`]). Messages of an
//! earlier version have no sender, and are never covered.
//!
//! Every path is kept with its tenant: what one tenant's invalidation covers is not
//! another's. What is forgotten, because there is a maximum, is sent and paid for
//! again.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::model::Sent;
use crate::model::edge_item::{is_wildcard, matches, of_tenant};

/// Single paths that are remembered. An older one that is forgotten is at worst
/// paid for again.
const SINGLES_MAX: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
const WILDCARDS_MAX: usize = 500;

/// The paths of a distribution's newest invalidations, with their horizons.
#[derive(Debug)]
pub struct AlreadyInvalidated {
    singles: LruCache<Box<str>, Sent>,
    /// Wildcards with their tenants.
    wildcards: VecDeque<(Wildcard, Sent)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Wildcard {
    tenant: Option<Box<str>>,
    path: String,
}

impl Default for AlreadyInvalidated {
    fn default() -> Self {
        Self {
            singles: LruCache::new(SINGLES_MAX),
            wildcards: VecDeque::new(),
        }
    }
}

impl AlreadyInvalidated {
    /// Takes in that an invalidation of these paths was accepted.
    pub fn add<S: AsRef<str>>(
        &mut self,
        horizon: Sent,
        tenant: Option<&str>,
        paths: impl IntoIterator<Item = S>,
    ) {
        for path in paths {
            let path = path.as_ref();
            if is_wildcard(path) {
                let newer = |(other, known): &(Wildcard, Sent)| {
                    other.tenant.as_deref() != tenant
                        || other.path != path
                        || known.by != horizon.by
                        || known.number > horizon.number
                };
                self.wildcards.retain(newer);
                let wildcard = Wildcard {
                    tenant: tenant.map(Into::into),
                    path: path.to_owned(),
                };
                self.wildcards.push_back((wildcard, horizon));
                if self.wildcards.len() > WILDCARDS_MAX {
                    self.wildcards.pop_front();
                }
                continue;
            }
            let path = &*of_tenant(tenant, path);
            match self.singles.get_mut(path) {
                Some(known) if known.by == horizon.by => {
                    known.number = known.number.max(horizon.number);
                }
                Some(known) => *known = horizon,
                None => {
                    self.singles.put(path.into(), horizon);
                }
            }
        }
    }

    /// Whether a message that was sent then needs no further invalidation of this
    /// path.
    pub fn covers(&self, tenant: Option<&str>, path: &str, sent: Option<Sent>) -> bool {
        let Some(sent) = sent else {
            return false;
        };
        let reaches = |horizon: &Sent| horizon.reaches(sent);
        let single = self.singles.peek(&*of_tenant(tenant, path));
        single.is_some_and(reaches)
            || self.wildcards.iter().any(|(wildcard, horizon)| {
                reaches(horizon)
                    && wildcard.tenant.as_deref() == tenant
                    && matches(&wildcard.path, path)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u64) -> Option<Sent> {
        Some(Sent { by: 1, number })
    }

    #[test]
    fn what_was_in_the_buffer_before_is_covered_and_nothing_later() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = Sent::newest([7, 100, 50].into_iter().filter_map(sent)).unwrap();
        assert_eq!(Some(horizon), sent(100));
        covered.add(horizon, None, ["/a", "/b/*", "#t"]);
        for (path, at, expected) in [
            ("#t", 95, true),
            ("#tt", 95, false),
            ("/a", 100, true),
            ("/a", 101, false),
            ("/a/", 1, false),
            ("/b/1", 95, true),
            ("/b/*", 1, true),
            ("/b/c*", 1, true),
            ("/b*", 1, false),
            ("/b/1", 101, false),
        ] {
            let covers = covered.covers(None, path, sent(at));
            assert_eq!(covers, expected, "{path} {at}");
        }
        assert!(!covered.covers(None, "/a", None), "of an earlier version");
        let elsewhere = Some(Sent { by: 2, number: 1 });
        assert!(!covered.covers(None, "/a", elsewhere), "another sender's");
    }

    #[test]
    fn what_covers_a_tenant_covers_nobody_else() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = Sent { by: 1, number: 100 };
        covered.add(horizon, Some("dt_1"), ["/a", "/b/*"]);
        covered.add(horizon, Some("dt_2"), ["/*"]);
        for (tenant, path, expected) in [
            (Some("dt_1"), "/a", true),
            (Some("dt_1"), "/b/1", true),
            (Some("dt_1"), "#t", false),
            (Some("dt_2"), "/a", true),
            (Some("dt_2"), "#t", true),
            (Some("dt_3"), "/a", false),
            (None, "/a", false),
            (None, "/b/1", false),
        ] {
            let covers = covered.covers(tenant, path, sent(50));
            assert_eq!(covers, expected, "{tenant:?} {path}");
        }
    }

    #[test]
    fn a_later_invalidation_reaches_further_and_an_earlier_one_takes_nothing_back() {
        let mut covered = AlreadyInvalidated::default();
        for number in [100, 200, 150] {
            covered.add(Sent { by: 1, number }, None, ["/a", "/b/*"]);
        }
        for path in ["/a", "/b/1"] {
            assert!(covered.covers(None, path, sent(195)), "{path}");
        }
    }

    #[test]
    fn of_messages_of_two_senders_the_horizon_is_one_of_theirs() {
        let place = |by, number| Sent { by, number };
        let newest = Sent::newest([place(1, 7), place(2, 3), place(2, 1)]);
        assert_eq!(newest, Some(place(2, 3)));
        assert_eq!(Sent::newest([]), None);
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = Sent { by: 1, number: 9 };
        covered.add(horizon, None, (0..60_000).map(|n| format!("/{n}")));
        covered.add(horizon, None, (0..600).map(|n| format!("/{n}/*")));
        assert_eq!(covered.singles.len(), SINGLES_MAX.get());
        assert_eq!(covered.wildcards.len(), WILDCARDS_MAX);
        assert!(covered.covers(None, "/59999", sent(4)));
        assert!(!covered.covers(None, "/0", sent(4)));
    }
}
