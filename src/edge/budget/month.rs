//! A month, in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Names the month: `2026-11`.
pub(super) fn month_of(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

/// How many paths the month will have at its end, if they come as often as so
/// far. The first hour of a month says little, and counts as whole.
pub(super) fn forecast(spent: u64, now: Timestamp) -> u64 {
    const HOUR_S: u64 = 3_600;
    let today = now.to_zoned(TimeZone::UTC);
    let days = u64::try_from(today.days_in_month()).unwrap_or(30);
    let full_days = u64::try_from(today.day()).unwrap_or(1).saturating_sub(1);
    let hour = u64::try_from(today.hour()).unwrap_or(0);
    let minute = u64::try_from(today.minute()).unwrap_or(0);
    let elapsed_s = (full_days * 24 + hour) * HOUR_S + minute * 60;
    let scaled = u128::from(spent) * u128::from(days * 24 * HOUR_S);
    u64::try_from(scaled / u128::from(elapsed_s.max(HOUR_S))).unwrap_or(u64::MAX)
}
