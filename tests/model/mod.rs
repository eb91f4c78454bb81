//! The protocol between writers, readers, evictd and the edge, and a model checker that tries every interleaving
//! of it. It says which part is there for what: a proof for the whole, and for every part that is taken away the
//! accident that it prevents.
//!
//! # The parties
//!
//! - **A writer** commits a row. The change is in the binlog first, and visible to other sessions a little later.
//!   Every write bumps the row's version, unless it forgets to.
//! - **A reader** misses, reads the row, takes its time, and fills the cache with what it read: under one key or
//!   under a key for the version, by SET or by the fill script, which asks the guard.
//! - **evictd** reads the change in the binlog, waits until the row is visible (the *barrier*), raises the guard,
//!   deletes the entry, waits `settle_after` and deletes it again, sends the path, and stores its position. It may
//!   crash at any point; it then starts again from the stored position.
//! - **The edge** fetches the page when it has none. The application answers from the cache, or else from the row.
//!   That is one step here: a fetch that CloudFront began before an invalidation and stores afterwards is not
//!   modelled.
//!
//! # The promise
//!
//! Once every write is done with and nobody is in the middle of anything, what the cache serves is the row, and so
//! is what the edge serves. There may be nothing in either.
//!
//! # Time
//!
//! There is no clock. That fills take less than `settle_after` means here: the second deletion for a write comes
//! after every fill that read the row before the moment from which `settle_after` counts. That moment is when the
//! row became visible on the server that readers read from: the writer, or a replica that lags. Without a barrier it
//! is when the write was in the binlog.
//!
//! # Bounds
//!
//! One row, three writes (two with the edge), two readers, one crash, and readers that read and fill any number of
//! times. Rows share nothing in the protocol, so that a second one would add states and no behaviour.
//!
//! # Files
//!
//! - `protocol`: the parties above, between one server and one cache.
//! - `names`: names that are in use again, because a row was deleted and inserted under one version.
//! - `source`: a server that changes, is reset or freezes, with GTIDs and without, and what evictd knows of visibility.
//! - `edge`: what counts as done at the edge, while names and numbers come to mean something else.
//! - `visibility`: what is proved of `source`, and what each part of it prevents.

mod edge;
mod names;
mod protocol;
mod source;
mod visibility;

use std::fmt::{Debug, Display};
use std::hash::Hash;

use stateright::{Checker, Expectation, Model};

use self::protocol::{
    Entry, Fills, NO_STALE_ENTRY, NO_STALE_PAGE, Once, Protocol, Raise, Settle, Write,
};
use self::source::Source;

/// evictd as it is, with readers that use a plain key.
fn evictd() -> Protocol {
    Protocol {
        writes: &[Write::Bumps; 3],
        readers: 2,
        crashes: 1,
        entry: Entry::Plain,
        fills: Fills::Bounded,
        replica: false,
        barrier: true,
        raise: Raise::BeforeDeletion,
        guard_is_lost: false,
        settle: Settle::FromVisibility,
        recreated_settles: true,
        checkpoint: Once::Settled,
        path: None,
    }
}

/// The same with readers that use the fill script, and may take any time.
fn guarded() -> Protocol {
    Protocol {
        entry: Entry::Guarded,
        fills: Fills::Unbounded,
        ..evictd()
    }
}

/// More than any shortest accident of a [`small`] protocol takes.
const STEPS_MAX: usize = 25;

/// As few of everything as an accident takes, so that its story is short.
fn small(protocol: Protocol) -> Protocol {
    Protocol {
        writes: &[Write::Bumps],
        readers: 1,
        crashes: 0,
        ..protocol
    }
}

/// A protocol that a checker can walk through and tell of.
trait Checked:
    Model<
        State: Clone + Debug + Hash + PartialEq + Send + Sync,
        Action: Clone + Debug + Display + PartialEq + Send + Sync,
    > + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl Checked for Protocol {}
impl Checked for Source {}

/// Every interleaving keeps all promises, and reaches what shows that they do not hold for want of anything cached.
fn holds(model: impl Checked) {
    let described = format!("{model:?}");
    let properties = model.properties();
    let checker = model.checker().spawn_bfs().join();
    for property in properties {
        let (name, found) = (property.name, checker.discovery(property.name));
        if let Expectation::Sometimes = property.expectation {
            assert!(found.is_some(), "never: {name} with {described}");
        } else if let Some(path) = found {
            let story = story(path.into_actions());
            panic!("not so that {name} with {described}:\n{story:#?}");
        }
    }
    assert!(checker.is_done());
}

/// The shortest way to break the promise.
fn breaks(model: impl Checked, promise: &'static str) -> Vec<String> {
    (1..STEPS_MAX)
        .find_map(|steps| {
            let checker = model.clone().checker().target_max_depth(steps);
            checker.spawn_bfs().join().discovery(promise)
        })
        .map(|path| story(path.into_actions()))
        .unwrap_or_else(|| panic!("still {promise} with {model:?}"))
}

fn story(steps: Vec<impl Display>) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn plain_keys_stay_fresh_while_fills_are_shorter_than_settle_after() {
    holds(evictd());
}

#[test]
fn a_guard_keeps_entries_fresh_however_long_fills_take() {
    holds(guarded());
    // The guard as the pointer to the current version's key.
    holds(Protocol {
        entry: Entry::Pointed,
        ..guarded()
    });
}

#[test]
fn a_guard_needs_neither_barrier_nor_settling() {
    holds(Protocol {
        barrier: false,
        settle: Settle::Off,
        ..guarded()
    });
}

#[test]
fn versioned_keys_need_neither_barrier_nor_settling_while_every_write_bumps() {
    holds(Protocol {
        entry: Entry::Versioned,
        fills: Fills::Unbounded,
        barrier: false,
        settle: Settle::Off,
        ..evictd()
    });
}

#[test]
fn settling_covers_writes_that_forget_the_version() {
    for entry in [Entry::Versioned, Entry::Guarded, Entry::Pointed] {
        holds(Protocol {
            writes: &[Write::Bumps, Write::Forgets, Write::Bumps],
            entry,
            ..evictd()
        });
    }
}

#[test]
fn plain_keys_filled_from_a_replica_stay_fresh_while_settling_follows_its_lag() {
    holds(Protocol {
        replica: true,
        settle: Settle::FromReplica,
        ..evictd()
    });
}

#[test]
fn a_guard_keeps_entries_fresh_that_are_filled_from_a_replica() {
    holds(Protocol {
        replica: true,
        ..guarded()
    });
}

#[test]
fn settling_covers_a_guard_that_is_lost() {
    holds(Protocol {
        guard_is_lost: true,
        fills: Fills::Bounded,
        ..guarded()
    });
}

#[test]
fn the_edge_stays_fresh_when_paths_are_sent_after_settling() {
    holds(Protocol {
        writes: &[Write::Bumps; 2],
        path: Some(Once::Settled),
        ..evictd()
    });
}

#[test]
fn the_edge_stays_fresh_when_paths_are_sent_after_the_first_deletion_behind_a_guard() {
    holds(Protocol {
        writes: &[Write::Bumps; 2],
        path: Some(Once::Deleted),
        ..guarded()
    });
}

#[test]
fn without_the_barrier_a_reader_refills_the_row_that_is_not_replaced_yet() {
    let story = breaks(
        small(Protocol {
            barrier: false,
            settle: Settle::FromCommit,
            ..evictd()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn settling_that_counts_from_the_commit_is_over_too_early_when_the_row_is_visible_late() {
    let story = breaks(
        small(Protocol {
            settle: Settle::FromCommit,
            ..evictd()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn settling_that_counts_from_the_writer_is_over_too_early_for_a_replica_that_lags() {
    let story = breaks(
        small(Protocol {
            replica: true,
            ..evictd()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "write 1 is visible",
            "evictd reads the event of write 1",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "a reader reads row 0",
            "write 1 is visible on the replica",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn without_settling_a_late_fill_of_the_row_before_stays() {
    let story = breaks(
        small(Protocol {
            settle: Settle::Off,
            ..evictd()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn without_a_guard_a_fill_longer_than_settle_after_stays() {
    let story = breaks(
        small(Protocol {
            fills: Fills::Unbounded,
            ..evictd()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn a_guard_that_is_lost_lets_a_late_fill_through() {
    let story = breaks(
        small(Protocol {
            guard_is_lost: true,
            ..guarded()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd raises the guard for write 1",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "Redis drops the guard",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn a_guard_raised_after_the_deletion_lets_a_fill_in_between() {
    let story = breaks(
        small(Protocol {
            raise: Raise::AfterDeletion,
            settle: Settle::Off,
            ..guarded()
        }),
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd deletes the entry for write 1",
            "a reader fills row 0",
            "evictd raises the guard for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1"
        ]
    );
}

#[test]
fn a_write_that_forgets_the_version_gets_past_the_guard() {
    let story = breaks(
        Protocol {
            writes: &[Write::Forgets],
            ..small(guarded())
        },
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd raises the guard for write 1",
            "evictd deletes the entry for write 1",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn a_position_stored_before_settling_loses_the_second_deletion_in_a_crash() {
    let story = breaks(
        Protocol {
            checkpoint: Once::Deleted,
            crashes: 1,
            ..small(evictd())
        },
        NO_STALE_ENTRY,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd deletes the entry for write 1",
            "evictd stores the position after write 1",
            "evictd crashes and starts again",
            "a reader fills row 0"
        ]
    );
}

#[test]
fn a_path_sent_before_settling_lets_the_edge_refill_from_a_stale_entry() {
    let story = breaks(
        small(Protocol {
            path: Some(Once::Deleted),
            ..evictd()
        }),
        NO_STALE_PAGE,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "a reader reads row 0",
            "write 1 is visible",
            "evictd deletes the entry for write 1",
            "evictd sends the path for write 1",
            "a reader fills row 0",
            "the edge fetches the page",
            "evictd is done settling write 1",
            "evictd stores the position after write 1"
        ]
    );
}

#[test]
fn a_guard_without_the_barrier_lets_the_edge_refill_from_the_row_before() {
    let story = breaks(
        small(Protocol {
            barrier: false,
            path: Some(Once::Deleted),
            ..guarded()
        }),
        NO_STALE_PAGE,
    );
    assert_eq!(
        story,
        [
            "write 1 is in the binlog",
            "evictd reads the event of write 1",
            "evictd raises the guard for write 1",
            "evictd deletes the entry for write 1",
            "evictd sends the path for write 1",
            "the edge fetches the page",
            "write 1 is visible",
            "evictd is done settling write 1",
            "evictd stores the position after write 1"
        ]
    );
}
