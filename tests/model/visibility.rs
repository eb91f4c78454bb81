//! What evictd knows of visibility, and what it does where it does not know: proofs over [`Source`], and for every part
//! that is taken away the accident that it prevents.

use super::source::{
    Asks, Elsewhere, Lacking, NO_STALE_ENTRY, NO_STANDSTILL, Open, Remembers, Source,
};
use super::{breaks, holds};

/// evictd as it is, on a server to which nothing happens.
fn evictd() -> Source {
    Source {
        named: &[true, true],
        fails_over: false,
        resets: false,
        freezes: false,
        crashes: false,
        asks: Asks::ItsOwn,
        remembers: Remembers::OfOneStream,
        lacking: Lacking::IsUnknown,
        open: Open::IsClosed,
        elsewhere: Elsewhere::Widens,
    }
}

#[test]
fn gtids_may_be_switched_on_and_off_and_nothing_stays_stale() {
    for named in [
        [true, false, true],
        [false, true, false],
        [true, false, false],
    ] {
        holds(Source {
            named: Box::leak(Box::new(named)),
            crashes: true,
            ..evictd()
        });
    }
}

#[test]
fn a_reset_leaves_nothing_stale() {
    holds(Source {
        resets: true,
        crashes: true,
        ..evictd()
    });
}

#[test]
fn a_failover_to_a_server_that_lacks_a_transaction_leaves_nothing_stale_and_stops_nothing() {
    holds(Source {
        fails_over: true,
        crashes: true,
        ..evictd()
    });
}

#[test]
fn a_frozen_server_leaves_nothing_stale() {
    holds(Source {
        freezes: true,
        crashes: true,
        ..evictd()
    });
}

#[test]
fn a_server_that_freezes_and_fails_over_or_is_reset_leaves_nothing_stale() {
    for fails_over in [true, false] {
        holds(Source {
            fails_over,
            resets: !fails_over,
            freezes: true,
            crashes: true,
            ..evictd()
        });
    }
}

#[test]
fn without_gtids_a_reset_and_a_failover_leave_nothing_stale() {
    holds(Source {
        named: &[true, false],
        fails_over: true,
        resets: true,
        ..evictd()
    });
}

#[test]
fn the_visibility_of_earlier_transactions_says_nothing_about_one_without_a_gtid() {
    let story = breaks(
        Source {
            named: &[true, false],
            asks: Asks::EverythingBefore,
            ..evictd()
        },
        NO_STALE_ENTRY,
    );
    assert!(
        story
            .iter()
            .any(|step| step == "write 2 is in the binlog without a GTID"),
        "{story:#?}"
    );
}

#[test]
fn what_was_visible_before_a_reset_says_nothing_about_the_same_number_after_it() {
    let story = breaks(
        Source {
            resets: true,
            remembers: Remembers::ForEver,
            ..evictd()
        },
        NO_STALE_ENTRY,
    );
    assert!(
        story
            .iter()
            .any(|step| step == "binlog and GTIDs are reset"),
        "{story:#?}"
    );
}

#[test]
fn waiting_for_a_transaction_that_a_new_server_lacks_stops_every_deletion() {
    let story = breaks(
        Source {
            named: &[true],
            fails_over: true,
            lacking: Lacking::IsNotYet,
            ..evictd()
        },
        NO_STANDSTILL,
    );
    assert!(
        story
            .iter()
            .any(|step| step == "another server takes over and lacks 1"),
        "{story:#?}"
    );
}

#[test]
fn what_was_deleted_unseen_and_not_again_is_filled_with_the_row_before() {
    let story = breaks(
        Source {
            named: &[true],
            freezes: true,
            open: Open::IsForgotten,
            ..evictd()
        },
        NO_STALE_ENTRY,
    );
    assert!(
        story.iter().any(|step| step == "the server freezes"),
        "{story:#?}"
    );
}

#[test]
fn a_position_stored_past_what_is_not_visible_loses_its_deletion_in_a_crash() {
    let story = breaks(
        Source {
            named: &[true],
            freezes: true,
            crashes: true,
            open: Open::LetsThePositionGo,
            ..evictd()
        },
        NO_STALE_ENTRY,
    );
    assert!(
        story
            .iter()
            .any(|step| step == "evictd crashes and starts again"),
        "{story:#?}"
    );
}

/// Asynchronous replication does that: nobody knows of the lost write, and a reader had its row.
#[test]
fn what_was_visible_and_lost_before_evictd_read_it_stays_where_the_change_of_server_is_nothing() {
    let story = breaks(
        Source {
            named: &[true],
            fails_over: true,
            elsewhere: Elsewhere::GoesOn,
            ..evictd()
        },
        NO_STALE_ENTRY,
    );
    assert!(
        story
            .iter()
            .any(|step| step == "another server takes over and lacks 1"),
        "{story:#?}"
    );
}
