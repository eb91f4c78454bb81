//! What accepted invalidations make unnecessary.
//!
//! A message enters the buffer once its Redis keys are deleted and settled
//! (Cache before edge). So an invalidation that is accepted later takes
//! everything stale away that one of its paths matches, whoever asked for it.
//! A message that was in the buffer before is done without another call, and
//! without paying again: after a crash between the acceptance and the message's
//! deletion, and behind a wildcard that covered a whole backlog.
//!
//! "Before" is told by the buffer's own order, never by comparing clocks: an
//! invalidation's horizon is the newest message in hand when the call was made.

use std::collections::{HashMap, VecDeque};

use crate::model::Order;

/// How far an invalidation reaches back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Horizon {
    /// Of this buffer's messages it covers
    pub buffer: u64,
    /// those that entered up to here.
    pub at: u64,
}

impl Horizon {
    /// The newest of these messages; `None` if they are not of one buffer.
    pub fn of(orders: impl IntoIterator<Item = Option<Order>>) -> Option<Self> {
        let mut horizon: Option<Self> = None;
        for order in orders {
            let Order { buffer, at, .. } = order?;
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
const SINGLES_MAX: usize = 50_000;
const WILDCARDS_MAX: usize = 500;

/// What the newest invalidations of a distribution cover.
#[derive(Debug, Default)]
pub struct Covered {
    singles: HashMap<Box<str>, Horizon>,
    order: VecDeque<Box<str>>,
    /// Beginnings, without the `*`.
    wildcards: VecDeque<(String, Horizon)>,
}

impl Covered {
    /// An invalidation of these paths was accepted.
    pub fn add<S: AsRef<str>>(&mut self, horizon: Horizon, paths: impl IntoIterator<Item = S>) {
        for path in paths {
            let path = path.as_ref();
            if let Some(prefix) = path.strip_suffix('*') {
                let newer = |(other, known): &(String, Horizon)| {
                    other != prefix || known.buffer != horizon.buffer || known.at > horizon.at
                };
                self.wildcards.retain(newer);
                self.wildcards.push_back((prefix.to_owned(), horizon));
                if self.wildcards.len() > WILDCARDS_MAX {
                    self.wildcards.pop_front();
                }
                continue;
            }
            let known = self.singles.get_mut(path);
            match known {
                Some(known) if known.buffer == horizon.buffer => {
                    known.at = known.at.max(horizon.at);
                }
                Some(known) => *known = horizon,
                None => {
                    self.singles.insert(path.into(), horizon);
                    self.order.push_back(path.into());
                    if self.order.len() > SINGLES_MAX
                        && let Some(oldest) = self.order.pop_front()
                    {
                        self.singles.remove(&oldest);
                    }
                }
            }
        }
    }

    /// Whether a message that stands there needs nothing more for this path.
    pub fn covers(&self, path: &str, order: Option<Order>) -> bool {
        let Some(order) = order else {
            return false;
        };
        let reaches =
            |horizon: &Horizon| horizon.buffer == order.buffer && horizon.at >= order.certain_from;
        self.singles.get(path).is_some_and(reaches)
            || self
                .wildcards
                .iter()
                .any(|(prefix, horizon)| reaches(horizon) && path.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(at: u64) -> Option<Order> {
        Some(Order {
            buffer: 1,
            at,
            certain_from: at + 5,
        })
    }

    #[test]
    fn what_was_in_the_buffer_before_is_covered_and_nothing_later() {
        let mut covered = Covered::default();
        let horizon = Horizon::of([order(7), order(100), order(50)]).unwrap();
        assert_eq!((horizon.buffer, horizon.at), (1, 100));
        covered.add(horizon, ["/a", "/b/*"]);
        for (path, at, expected) in [
            ("/a", 95, true),
            ("/a", 96, false),
            ("/a/", 1, false),
            ("/b/1", 95, true),
            ("/b/*", 1, true),
            ("/b/c*", 1, true),
            ("/b*", 1, false),
            ("/b/1", 101, false),
        ] {
            assert_eq!(covered.covers(path, order(at)), expected, "{path} {at}");
        }
        assert!(!covered.covers("/a", None), "a buffer without an order");
        let elsewhere = order(1).map(|order| Order { buffer: 2, ..order });
        assert!(!covered.covers("/a", elsewhere), "another buffer's order");
    }

    #[test]
    fn a_later_invalidation_reaches_further_and_an_earlier_one_takes_nothing_back() {
        let mut covered = Covered::default();
        for at in [100, 200, 150] {
            covered.add(Horizon { buffer: 1, at }, ["/a", "/b/*"]);
        }
        assert!(covered.covers("/a", order(195)) && covered.covers("/b/1", order(195)));
    }

    #[test]
    fn messages_of_two_buffers_have_no_horizon() {
        let other = order(3).map(|order| Order { buffer: 2, ..order });
        assert_eq!(Horizon::of([order(7), other]), None);
        assert_eq!(Horizon::of([order(7), None]), None);
        assert_eq!(Horizon::of([]), None);
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut covered = Covered::default();
        let horizon = Horizon { buffer: 1, at: 9 };
        covered.add(horizon, (0..60_000).map(|n| format!("/{n}")));
        covered.add(horizon, (0..600).map(|n| format!("/{n}/*")));
        assert_eq!(covered.singles.len(), SINGLES_MAX);
        assert_eq!(covered.wildcards.len(), WILDCARDS_MAX);
        assert!(covered.covers("/59999", order(4)) && !covered.covers("/0", order(4)));
    }
}
