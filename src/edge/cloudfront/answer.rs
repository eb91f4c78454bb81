//! CloudFront's answers in the words of the contract.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_cloudfront::types;

use super::clock::ClockDifference;
use crate::edge::{
    AcceptedInvalidation, EdgeError, EdgeErrorKind, InvalidationBatch, Listed, Made, Page,
};

/// The most that one page lists.
pub(super) const PAGE_ITEMS: i32 = 100;

/// The `Status` of one that is in progress. The other is `Completed`.
const IN_PROGRESS: &str = "InProgress";

/// A page of the list of a CloudFront whose clock differs by this.
pub(super) fn page(
    distribution: &Arc<str>,
    list: Option<types::InvalidationList>,
    clock: ClockDifference,
) -> Result<Page, EdgeError> {
    let list = list.ok_or_else(|| incomplete(distribution, "the list of invalidations"))?;
    Ok(Page {
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
    })
}

/// What CloudFront says it has made of the request: an answer that does not say so may be
/// another's, or cut off.
pub(super) fn accepted(
    batch: &InvalidationBatch,
    answer: Option<types::Invalidation>,
) -> Result<AcceptedInvalidation, EdgeError> {
    let id = answer.and_then(|made| {
        let named = made.invalidation_batch?.caller_reference;
        (named == batch.caller_reference && !made.id.is_empty()).then_some(made.id)
    });
    id.map(|id| AcceptedInvalidation { id }).ok_or_else(|| {
        incomplete(
            &batch.scope.distribution,
            "the invalidation that was asked for",
        )
    })
}

/// An answer that lacks something.
fn incomplete(distribution: &Arc<str>, what: &str) -> EdgeError {
    EdgeError {
        distribution: Arc::clone(distribution),
        code: "IncompleteAnswer".to_owned(),
        reason: format!("it does not have {what}"),
        kind: EdgeErrorKind::Incomplete,
    }
}

/// An invalidation in full.
pub(super) fn made(
    distribution: &Arc<str>,
    id: &str,
    made: Option<types::Invalidation>,
) -> Result<Made, EdgeError> {
    let made = made.filter(|made| made.id == id);
    let completed = made.as_ref().is_some_and(|made| made.status != IN_PROGRESS);
    let batch = made.and_then(|made| made.invalidation_batch);
    let batch =
        batch.ok_or_else(|| incomplete(distribution, "the invalidation that was asked about"))?;
    let items = batch.paths.and_then(|paths| paths.items);
    Ok(Made {
        caller_reference: batch.caller_reference,
        paths: items.unwrap_or_default(),
        completed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Scope;

    fn answer(id: &str, caller_reference: Option<&str>) -> Option<types::Invalidation> {
        let paths = types::Paths::builder().quantity(1).items("/a").build();
        let batch = caller_reference.map(|named| {
            let batch = types::InvalidationBatch::builder().caller_reference(named);
            batch.paths(paths.unwrap()).build().unwrap()
        });
        let made = types::Invalidation::builder()
            .id(id)
            .status("Completed")
            .create_time(SystemTime::UNIX_EPOCH.into())
            .set_invalidation_batch(batch);
        Some(made.build().unwrap())
    }

    #[test]
    fn an_answer_that_does_not_name_the_request_has_accepted_nothing() {
        let batch = InvalidationBatch {
            scope: Scope::of(&"E1".into()),
            caller_reference: "evictd-1".to_owned(),
            paths: vec!["/a".to_owned()],
        };
        let accepts = |answer| accepted(&batch, answer).map(|accepted| accepted.id);
        assert_eq!(accepts(answer("I1", Some("evictd-1"))).unwrap(), "I1");
        for answer in [
            None,
            answer("I1", None),
            answer("", Some("evictd-1")),
            answer("I1", Some("evictd-2")),
        ] {
            let error = accepts(answer).unwrap_err();
            assert!(error.is_transient(), "{error}");
            assert_eq!(error.kind, EdgeErrorKind::Incomplete);
        }
    }

    #[test]
    fn an_answer_without_what_was_asked_about_says_nothing_of_it() {
        let distribution = "E1".into();
        let read = |answer| made(&distribution, "I1", answer);
        assert_eq!(read(answer("I1", Some("r"))).unwrap().paths, ["/a"]);
        for answer in [None, answer("I1", None), answer("I2", Some("r"))] {
            assert_eq!(read(answer).unwrap_err().kind, EdgeErrorKind::Incomplete);
        }
    }
}
