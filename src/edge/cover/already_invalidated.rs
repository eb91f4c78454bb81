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
//! the edge (Over, never under). So "before" is told by the buffer's own order,
//! never by comparing clocks. The *horizon* of an invalidation is the newest
//! message in hand when the call was made, and it covers messages of the same
//! buffer that entered up to there. Messages whose place is not certain are not
//! covered. Every path is kept with its tenant: what one tenant's invalidation
//! covers is not another's. What is forgotten, because there is a maximum, is sent
//! and paid for again.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::model::QueuePosition;
use crate::model::edge_item::{is_wildcard, matches, of_tenant};

/// Which messages an invalidation covers: its horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoveredUpTo {
    /// The buffer, see [`QueuePosition::buffer`].
    pub buffer: u64,
    /// The newest message that is covered, by its place in the buffer's order.
    pub at: u64,
}

impl CoveredUpTo {
    /// Reaches to the newest of these messages; `None` if they are not of one
    /// buffer.
    pub fn of(orders: impl IntoIterator<Item = Option<QueuePosition>>) -> Option<Self> {
        let mut horizon: Option<Self> = None;
        for order in orders {
            let QueuePosition { buffer, at, .. } = order?;
            match &mut horizon {
                None => horizon = Some(Self { buffer, at }),
                Some(known) if known.buffer == buffer => known.at = known.at.max(at),
                Some(_) => return None,
            }
        }
        horizon
    }
}

/// Single paths that are remembered. An older one that is forgotten is at worst
/// paid for again.
const SINGLES_MAX: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
const WILDCARDS_MAX: usize = 500;

/// The paths of a distribution's newest invalidations, with their horizons.
#[derive(Debug)]
pub struct AlreadyInvalidated {
    singles: LruCache<Box<str>, CoveredUpTo>,
    /// Wildcards with their tenants.
    wildcards: VecDeque<(Wildcard, CoveredUpTo)>,
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
        horizon: CoveredUpTo,
        tenant: Option<&str>,
        paths: impl IntoIterator<Item = S>,
    ) {
        for path in paths {
            let path = path.as_ref();
            if is_wildcard(path) {
                let newer = |(other, known): &(Wildcard, CoveredUpTo)| {
                    other.tenant.as_deref() != tenant
                        || other.path != path
                        || known.buffer != horizon.buffer
                        || known.at > horizon.at
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
                Some(known) if known.buffer == horizon.buffer => {
                    known.at = known.at.max(horizon.at);
                }
                Some(known) => *known = horizon,
                None => {
                    self.singles.put(path.into(), horizon);
                }
            }
        }
    }

    /// Whether a message at this place of its buffer's order needs no further
    /// invalidation of this path.
    pub fn covers(&self, tenant: Option<&str>, path: &str, order: Option<QueuePosition>) -> bool {
        let Some(order) = order else {
            return false;
        };
        let reaches = |horizon: &CoveredUpTo| {
            horizon.buffer == order.buffer && horizon.at >= order.certain_from
        };
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

    fn order(at: u64) -> Option<QueuePosition> {
        Some(QueuePosition {
            buffer: 1,
            at,
            certain_from: at + 5,
        })
    }

    #[test]
    fn what_was_in_the_buffer_before_is_covered_and_nothing_later() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = CoveredUpTo::of([order(7), order(100), order(50)]).unwrap();
        assert_eq!((horizon.buffer, horizon.at), (1, 100));
        covered.add(horizon, None, ["/a", "/b/*", "#t"]);
        for (path, at, expected) in [
            ("#t", 95, true),
            ("#tt", 95, false),
            ("/a", 95, true),
            ("/a", 96, false),
            ("/a/", 1, false),
            ("/b/1", 95, true),
            ("/b/*", 1, true),
            ("/b/c*", 1, true),
            ("/b*", 1, false),
            ("/b/1", 101, false),
        ] {
            let covers = covered.covers(None, path, order(at));
            assert_eq!(covers, expected, "{path} {at}");
        }
        assert!(
            !covered.covers(None, "/a", None),
            "a buffer without an order"
        );
        let elsewhere = order(1).map(|order| QueuePosition { buffer: 2, ..order });
        assert!(
            !covered.covers(None, "/a", elsewhere),
            "another buffer's order"
        );
    }

    #[test]
    fn what_covers_a_tenant_covers_nobody_else() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = CoveredUpTo { buffer: 1, at: 100 };
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
            let covers = covered.covers(tenant, path, order(50));
            assert_eq!(covers, expected, "{tenant:?} {path}");
        }
    }

    #[test]
    fn a_later_invalidation_reaches_further_and_an_earlier_one_takes_nothing_back() {
        let mut covered = AlreadyInvalidated::default();
        for at in [100, 200, 150] {
            covered.add(CoveredUpTo { buffer: 1, at }, None, ["/a", "/b/*"]);
        }
        for path in ["/a", "/b/1"] {
            assert!(covered.covers(None, path, order(195)), "{path}");
        }
    }

    #[test]
    fn messages_of_two_buffers_have_no_horizon() {
        let other = order(3).map(|order| QueuePosition { buffer: 2, ..order });
        assert_eq!(CoveredUpTo::of([order(7), other]), None);
        assert_eq!(CoveredUpTo::of([order(7), None]), None);
        assert_eq!(CoveredUpTo::of([]), None);
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = CoveredUpTo { buffer: 1, at: 9 };
        covered.add(horizon, None, (0..60_000).map(|n| format!("/{n}")));
        covered.add(horizon, None, (0..600).map(|n| format!("/{n}/*")));
        assert_eq!(covered.singles.len(), SINGLES_MAX.get());
        assert_eq!(covered.wildcards.len(), WILDCARDS_MAX);
        assert!(covered.covers(None, "/59999", order(4)));
        assert!(!covered.covers(None, "/0", order(4)));
    }
}
