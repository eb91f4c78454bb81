//! The time at which a change was committed.

use std::num::NonZeroU64;
use std::time::Duration;

use jiff::Timestamp;

use super::cast::non_negative;

/// The time of a commit, in microseconds since the Unix epoch, by the source's
/// clock.
///
/// It comes from the transaction's GTID event, which holds the time at which
/// the server that is read from committed (`immediate_commit_timestamp`), or
/// from the event's header where the server sends no such time.
///
/// The epoch itself is not a commit time, so that an `Option<CommitTime>` is as
/// large as a `u64`. `None` sorts before every time: of several options, `max`
/// is the newest that is known. For the oldest that is known, leave out `None`
/// before `min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitTime(NonZeroU64);

impl CommitTime {
    /// The time this many microseconds after the epoch; `None` for 0, which
    /// stands for no time in the binlog and in messages.
    pub fn from_micros(micros: u64) -> Option<Self> {
        NonZeroU64::new(micros).map(Self)
    }

    /// The time of a timestamp; `None` if it is not after the epoch.
    pub fn from_timestamp(at: Timestamp) -> Option<Self> {
        Self::from_micros(non_negative(at.as_microsecond()))
    }

    /// The end of a second, given in seconds since the epoch.
    pub fn end_of_second(second: u32) -> Self {
        let end = (u64::from(second) + 1) * 1_000_000;
        Self(NonZeroU64::new(end).unwrap_or(NonZeroU64::MIN))
    }

    /// The present time, by this machine's clock.
    pub fn now() -> Self {
        Self::from_timestamp(Timestamp::now()).unwrap_or(Self(NonZeroU64::MIN))
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> u64 {
        self.0.get()
    }

    /// The time since the epoch.
    pub fn since_epoch(self) -> Duration {
        Duration::from_micros(self.micros())
    }

    /// The same time as a timestamp; `None` if it is out of a timestamp's range.
    pub fn timestamp(self) -> Option<Timestamp> {
        let micros = i64::try_from(self.micros()).ok()?;
        Timestamp::from_microsecond(micros).ok()
    }

    /// Time since the commit, by this machine's clock. A commit in the future
    /// comes from a clock that is off, and counts as now.
    pub fn age(self) -> Duration {
        self.age_at(Timestamp::now())
    }

    /// The age at another time.
    pub fn age_at(self, now: Timestamp) -> Duration {
        let now = non_negative(now.as_microsecond());
        Duration::from_micros(now.saturating_sub(self.micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> CommitTime {
        CommitTime::from_micros(micros).unwrap()
    }

    #[test]
    fn an_optional_time_is_as_large_as_a_number_and_zero_is_none() {
        assert_eq!(size_of::<Option<CommitTime>>(), size_of::<u64>());
        assert_eq!(CommitTime::from_micros(0), None);
        assert_eq!(at(1).micros(), 1);
        assert_eq!(at(u64::MAX).micros(), u64::MAX);
    }

    #[test]
    fn the_newest_is_the_maximum_and_the_oldest_the_minimum_of_the_known() {
        let times = [Some(at(7)), None, Some(at(5))];
        assert_eq!(times.into_iter().max(), Some(Some(at(7))));
        assert_eq!(times.into_iter().flatten().min(), Some(at(5)));
        assert_eq!([None, Some(at(5))].into_iter().min(), Some(None));
    }

    #[test]
    fn a_time_is_the_same_as_a_timestamp() {
        let timestamp = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        let time = CommitTime::from_timestamp(timestamp).unwrap();
        assert_eq!(time, at(1_700_000_000_123_456));
        assert_eq!(time.timestamp(), Some(timestamp));
        assert_eq!(time.since_epoch(), timestamp.as_duration().unsigned_abs());
        let before = Timestamp::from_microsecond(-1).unwrap();
        assert_eq!(CommitTime::from_timestamp(before), None);
        assert_eq!(CommitTime::from_timestamp(Timestamp::UNIX_EPOCH), None);
        let year_10000 = 253_402_300_800_000_000;
        for out_of_range in [year_10000, u64::MAX] {
            assert_eq!(at(out_of_range).timestamp(), None);
        }
    }

    #[test]
    fn a_second_ends_where_the_next_one_begins() {
        assert_eq!(CommitTime::end_of_second(0), at(1_000_000));
        assert_eq!(
            CommitTime::end_of_second(u32::MAX),
            at(4_294_967_296_000_000)
        );
    }

    #[test]
    fn the_age_is_the_time_since_and_never_negative() {
        let now = Timestamp::from_microsecond(10_000_000).unwrap();
        assert_eq!(at(4_000_000).age_at(now), Duration::from_secs(6));
        assert_eq!(at(10_000_001).age_at(now), Duration::ZERO);
        assert_eq!(at(u64::MAX).age(), Duration::ZERO);
        assert!(CommitTime::now().age() < Duration::from_secs(60));
    }
}
