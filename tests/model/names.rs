//! Names that contain the version and are in use again after a write.

use super::protocol::{Entry, Fills, NO_STALE_ENTRY, Protocol, Write};
use super::{breaks, evictd, guarded, holds, small};

/// Readers that use a key for each version.
fn versioned() -> Protocol {
    Protocol {
        entry: Entry::Versioned,
        ..evictd()
    }
}

#[test]
fn versioned_keys_stay_fresh_when_a_row_is_deleted_and_inserted_under_its_version() {
    holds(Protocol {
        writes: &[Write::Recreates, Write::Bumps, Write::Recreates],
        ..versioned()
    });
}

#[test]
fn a_guard_keeps_a_row_fresh_that_is_deleted_and_inserted_under_its_version() {
    holds(Protocol {
        writes: &[Write::Recreates, Write::Bumps, Write::Bumps],
        fills: Fills::Unbounded,
        ..guarded()
    });
}

#[test]
fn without_settling_the_name_of_a_recreated_row_a_late_fill_of_the_row_before_stays() {
    let story = breaks(
        Protocol {
            writes: &[Write::Recreates],
            recreated_settles: false,
            ..small(versioned())
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
            "a reader fills row 0",
            "evictd is done settling write 1",
            "evictd stores the position after write 1",
        ]
    );
}
