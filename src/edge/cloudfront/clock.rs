//! CloudFront's clock, as the `Date` of its answers tells it.
//!
//! Every invalidation has the time at which it was made, by that clock, and it is
//! compared with times of this machine and of the source. A clock that differs
//! would hide invalidations from a successor, which would pay for them again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_cloudfront::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_cloudfront::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_cloudfront::error::BoxError;

use crate::telemetry::clock;

/// A `Date` names a whole second.
const DATE_STEP: Duration = Duration::from_secs(1);

/// Keeps the `Date` of one call's answer.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerDate {
    date: Arc<Mutex<Option<SystemTime>>>,
}

impl Intercept for AnswerDate {
    fn name(&self) -> &'static str {
        "AnswerDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(clock::date).map(SystemTime::from);
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

impl AnswerDate {
    /// How CloudFront's clock differs, after a call that began and ended then by
    /// this machine's clock.
    pub(super) fn difference(
        &self,
        asked_at: SystemTime,
        answered_at: SystemTime,
    ) -> ClockDifference {
        let date = self.date.lock().unwrap_or_else(PoisonError::into_inner);
        ClockDifference::of(*date, asked_at, answered_at)
    }
}

/// The difference of CloudFront's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockDifference {
    /// None that its answer shows.
    None,
    Behind(Duration),
    Ahead(Duration),
}

impl ClockDifference {
    /// The smallest difference that explains the answer.
    fn of(date: Option<SystemTime>, asked_at: SystemTime, answered_at: SystemTime) -> Self {
        let Some(date) = date else {
            return Self::None;
        };
        let behind = asked_at.duration_since(date + DATE_STEP);
        let ahead = date.duration_since(answered_at);
        match (behind, ahead) {
            (Ok(behind), _) if !behind.is_zero() => Self::Behind(behind),
            (_, Ok(ahead)) if !ahead.is_zero() => Self::Ahead(ahead),
            _ => Self::None,
        }
    }

    /// A time of CloudFront's clock by this machine's.
    pub(super) fn correct(self, at: SystemTime) -> SystemTime {
        let corrected = match self {
            Self::None => Some(at),
            Self::Behind(difference) => at.checked_add(difference),
            Self::Ahead(difference) => at.checked_sub(difference),
        };
        corrected.unwrap_or(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_the_smallest_that_explains_the_answer() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let difference = |date, asked, answered| ClockDifference::of(date, at(asked), at(answered));
        let ms = Duration::from_millis;
        for (date, asked, answered, expected) in [
            (None, 100_000, 100_100, ClockDifference::None),
            (Some(100_000), 100_500, 100_600, ClockDifference::None),
            (Some(100_000), 100_900, 101_100, ClockDifference::None),
            (Some(101_000), 100_900, 101_100, ClockDifference::None),
            (
                Some(90_000),
                100_500,
                100_600,
                ClockDifference::Behind(ms(9_500)),
            ),
            (
                Some(110_000),
                100_500,
                100_600,
                ClockDifference::Ahead(ms(9_400)),
            ),
            // A slow answer proves little.
            (Some(95_000), 94_000, 114_000, ClockDifference::None),
        ] {
            let found = difference(date.map(at), asked, answered);
            assert_eq!(found, expected, "{date:?} {asked} {answered}");
        }
    }

    #[test]
    fn a_time_of_the_other_clock_is_corrected() {
        let at = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let ten = Duration::from_secs(10);
        assert_eq!(ClockDifference::None.correct(at(50)), at(50));
        assert_eq!(ClockDifference::Behind(ten).correct(at(50)), at(60));
        assert_eq!(ClockDifference::Ahead(ten).correct(at(50)), at(40));
        assert_eq!(
            ClockDifference::Ahead(ten).correct(at(5)),
            at(5).checked_sub(ten).unwrap()
        );
    }
}
