//! CloudFront's answers in the words of the contract.

use std::time::SystemTime;

use aws_sdk_cloudfront::types;

use super::clock::ClockDifference;
use crate::edge::{Listed, Made, Page};

/// The most that one page lists.
pub(super) const PAGE_ITEMS: i32 = 100;

/// The `Status` of one that is in progress. The other is `Completed`.
const IN_PROGRESS: &str = "InProgress";

/// A page of the list of a CloudFront whose clock differs by this.
pub(super) fn page(list: Option<types::InvalidationList>, clock: ClockDifference) -> Page {
    let Some(list) = list else {
        return Page::default();
    };
    Page {
        next: list.next_marker.filter(|_| list.is_truncated),
        invalidations: list
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|item| Listed {
                completed: item.status != IN_PROGRESS,
                // Before the epoch there was no CloudFront.
                made_at: SystemTime::try_from(item.create_time)
                    .map_or(SystemTime::UNIX_EPOCH, |at| clock.correct(at)),
                id: item.id,
            })
            .collect(),
    }
}

/// An invalidation in full.
pub(super) fn made(made: Option<types::Invalidation>) -> Made {
    let completed = made.as_ref().is_none_or(|made| made.status != IN_PROGRESS);
    let batch = made.and_then(|made| made.invalidation_batch);
    let (caller_reference, paths) = match batch {
        None => (String::new(), None),
        Some(batch) => (batch.caller_reference, batch.paths),
    };
    let items = paths.and_then(|paths| paths.items);
    Made {
        caller_reference,
        paths: items.unwrap_or_default(),
        completed,
    }
}
