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
//! messages of the same sender that were made up to then. Messages of an earlier
//! version have no sender: for them the buffer's own order counts, and those whose
//! place in it is not certain are not covered. A local file may be set back to an
//! earlier copy of itself; so each of its openings counts as a buffer of its own,
//! which covers what the openings before it in the same file have written.
//!
//! Every path is kept with its tenant: what one tenant's invalidation covers is not
//! another's. What is forgotten, because there is a maximum, is sent and paid for
//! again.

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
    /// Reaches to the newest of these messages. It says nothing of those that have
    /// no order with that one.
    pub fn of<'a>(orders: impl IntoIterator<Item = Option<&'a QueuePosition>>) -> Option<Self> {
        let mut newest: Option<&QueuePosition> = None;
        for order in orders {
            let Some(order) = order else { continue };
            newest = match newest {
                None => Some(order),
                Some(known) if known.buffer == order.buffer => {
                    Some(if known.at < order.at { order } else { known })
                }
                Some(known) if order.followed_by.contains(&known.buffer) => Some(known),
                Some(_) => Some(order),
            }
        }
        newest.map(|&QueuePosition { buffer, at, .. }| Self { buffer, at })
    }

    /// Whether it covers a message at this place.
    pub fn reaches(&self, order: &QueuePosition) -> bool {
        self.buffer == order.buffer && self.at >= order.certain_from
            || order.followed_by.contains(&self.buffer)
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
    pub fn covers(&self, tenant: Option<&str>, path: &str, order: Option<&QueuePosition>) -> bool {
        let Some(order) = order else {
            return false;
        };
        let reaches = |horizon: &CoveredUpTo| horizon.reaches(order);
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
    use std::sync::Arc;

    use super::*;

    fn order(at: u64) -> QueuePosition {
        QueuePosition {
            buffer: 1,
            at,
            certain_from: at + 5,
            followed_by: Arc::default(),
        }
    }

    #[test]
    fn what_was_in_the_buffer_before_is_covered_and_nothing_later() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = CoveredUpTo::of([7, 100, 50].map(order).iter().map(Some)).unwrap();
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
            let covers = covered.covers(None, path, Some(&order(at)));
            assert_eq!(covers, expected, "{path} {at}");
        }
        assert!(
            !covered.covers(None, "/a", None),
            "a buffer without an order"
        );
        let elsewhere = QueuePosition {
            buffer: 2,
            ..order(1)
        };
        assert!(
            !covered.covers(None, "/a", Some(&elsewhere)),
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
            let covers = covered.covers(tenant, path, Some(&order(50)));
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
            assert!(covered.covers(None, path, Some(&order(195))), "{path}");
        }
    }

    #[test]
    fn of_messages_of_two_senders_the_horizon_is_one_of_theirs() {
        let other = QueuePosition {
            buffer: 2,
            ..order(3)
        };
        let of = CoveredUpTo { buffer: 2, at: 3 };
        assert_eq!(CoveredUpTo::of([Some(&order(7)), Some(&other)]), Some(of));
        let of = CoveredUpTo { buffer: 1, at: 7 };
        assert_eq!(CoveredUpTo::of([Some(&order(7)), None]), Some(of));
        assert_eq!(CoveredUpTo::of([None]), None);
    }

    #[test]
    fn a_later_opening_of_a_file_covers_what_earlier_ones_wrote_and_another_file_nothing() {
        let written_by = |buffer, at, followed_by: &[u64]| QueuePosition {
            buffer,
            at,
            certain_from: at,
            followed_by: followed_by.into(),
        };
        let (first, second) = (written_by(1, 700, &[2, 3]), written_by(2, 800, &[3]));
        let third = written_by(3, 900, &[]);
        for orders in [[&first, &second, &third], [&third, &first, &second]] {
            let horizon = CoveredUpTo::of(orders.map(Some));
            assert_eq!(horizon, Some(CoveredUpTo { buffer: 3, at: 900 }));
        }
        let mut covered = AlreadyInvalidated::default();
        covered.add(CoveredUpTo { buffer: 2, at: 850 }, None, ["/a", "/b/*"]);
        // An earlier copy of the file, which went on by itself.
        let set_back = written_by(4, 750, &[]);
        for path in ["/a", "/b/1"] {
            assert!(covered.covers(None, path, Some(&first)));
            assert!(covered.covers(None, path, Some(&second)));
            assert!(!covered.covers(None, path, Some(&third)));
            assert!(!covered.covers(None, path, Some(&set_back)));
        }
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut covered = AlreadyInvalidated::default();
        let horizon = CoveredUpTo { buffer: 1, at: 9 };
        covered.add(horizon, None, (0..60_000).map(|n| format!("/{n}")));
        covered.add(horizon, None, (0..600).map(|n| format!("/{n}/*")));
        assert_eq!(covered.singles.len(), SINGLES_MAX.get());
        assert_eq!(covered.wildcards.len(), WILDCARDS_MAX);
        assert!(covered.covers(None, "/59999", Some(&order(4))));
        assert!(!covered.covers(None, "/0", Some(&order(4))));
    }
}
