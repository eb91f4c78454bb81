//! DATE, TIME, DATETIME and TIMESTAMP as the binlog packs them (MySQL source,
//! `sql-common/my_time.cc`, and "Date and Time Data Type Representation" in the
//! MySQL source documentation).

use crate::binlog::decode::column_type::fraction_bytes;
use crate::binlog::decode::error::ValueError;
use crate::binlog::events::cursor::{uint_be, uint_le};
use crate::model::{Date, DateTime, Time};

/// DATE: 15 bits of year, 4 of month, 5 of day.
pub fn date(bytes: &[u8]) -> Result<Date, ValueError> {
    let packed = uint_le(bytes).ok_or(ValueError::Length)?;
    checked_date(packed >> 9, packed >> 5 & 15, packed & 31)
}

/// TIME before MySQL 5.6: the decimal number HHMMSS, negative in two's
/// complement of 24 bits.
pub fn old_time(bytes: &[u8]) -> Result<Time, ValueError> {
    let packed = uint_le(bytes).ok_or(ValueError::Length)?;
    let negative = packed & 0x80_0000 != 0;
    let number = if negative {
        0x100_0000 - packed
    } else {
        packed
    };
    checked_time(
        negative,
        number / 10_000,
        number / 100 % 100,
        number % 100,
        Fraction::default(),
    )
}

/// DATETIME before MySQL 5.6: the decimal number YYYYMMDDhhmmss.
pub fn old_datetime(bytes: &[u8]) -> Result<DateTime, ValueError> {
    let number = uint_le(bytes).ok_or(ValueError::Length)?;
    let (day, time) = (number / 1_000_000, number % 1_000_000);
    checked_datetime(
        checked_date(day / 10_000, day / 100 % 100, day % 100)?,
        time / 10_000,
        time / 100 % 100,
        time % 100,
        Fraction::default(),
    )
}

/// TIMESTAMP before MySQL 5.6: seconds since 1970, little-endian.
pub fn old_timestamp(bytes: &[u8]) -> Result<DateTime, ValueError> {
    from_epoch(
        uint_le(bytes).ok_or(ValueError::Length)?,
        Fraction::default(),
    )
}

/// TIME: hours, minutes and seconds, then the fraction, as one number that
/// counts up from the smallest value, so that packed values sort as bytes. Taken
/// as one number it needs no borrow between seconds and fraction.
pub fn time(bytes: &[u8], decimals: u8) -> Result<Time, ValueError> {
    let packed = uint_be(bytes).ok_or(ValueError::Length)?;
    let fraction_bits = 8 * fraction_bytes(decimals);
    let zero = 0x80_0000 << fraction_bits;
    let (negative, magnitude) = (packed < zero, packed.abs_diff(zero));
    let whole = magnitude >> fraction_bits;
    let fraction = Fraction::new(magnitude & ((1 << fraction_bits) - 1), decimals)?;
    checked_time(negative, whole >> 12, whole >> 6 & 63, whole & 63, fraction)
}

/// DATETIME: 17 bits of `year * 13 + month`, 5 of day, 5 of hour, 6 of minute,
/// 6 of second behind a bit that is always set, then the fraction.
pub fn datetime(bytes: &[u8], decimals: u8) -> Result<DateTime, ValueError> {
    let packed = uint_be(bytes).ok_or(ValueError::Length)?;
    let fraction_bits = 8 * fraction_bytes(decimals);
    let whole = (packed >> fraction_bits)
        .checked_sub(0x80_0000_0000)
        .ok_or(ValueError::Temporal)?;
    let fraction = Fraction::new(packed & ((1 << fraction_bits) - 1), decimals)?;
    unpack_datetime(whole, fraction)
}

/// TIMESTAMP: seconds since 1970 in UTC, big-endian, then the fraction.
pub fn timestamp(bytes: &[u8], decimals: u8) -> Result<DateTime, ValueError> {
    let packed = uint_be(bytes).ok_or(ValueError::Length)?;
    let fraction_bits = 8 * fraction_bytes(decimals);
    let fraction = Fraction::new(packed & ((1 << fraction_bits) - 1), decimals)?;
    from_epoch(packed >> fraction_bits, fraction)
}

/// A DATE or DATETIME inside JSON: the packed DATETIME with a 24-bit fraction.
pub fn json_datetime(packed: u64) -> Result<DateTime, ValueError> {
    unpack_datetime(packed >> 24, Fraction::new(packed & 0xFF_FFFF, 6)?)
}

/// A TIME inside JSON: the packed TIME with a 24-bit fraction, signed.
pub fn json_time(packed: i64) -> Result<Time, ValueError> {
    let magnitude = packed.unsigned_abs();
    let whole = magnitude >> 24;
    checked_time(
        packed < 0,
        whole >> 12,
        whole >> 6 & 63,
        whole & 63,
        Fraction::new(magnitude & 0xFF_FFFF, 6)?,
    )
}

/// A fraction of a second and how much of it is printed.
#[derive(Clone, Copy, Default)]
struct Fraction {
    micros: u32,
    decimals: u8,
}

impl Fraction {
    /// `units` counts hundredths, ten thousandths or microseconds, for 1 to 2,
    /// 3 to 4 and 5 to 6 decimals.
    fn new(units: u64, decimals: u8) -> Result<Self, ValueError> {
        let unit = match fraction_bytes(decimals) {
            0 => 0,
            1 => 10_000,
            2 => 100,
            _ => 1,
        };
        let micros = below(units.checked_mul(unit), 1_000_000)?;
        Ok(Self {
            micros: u32::try_from(micros).map_err(|_| ValueError::Temporal)?,
            decimals,
        })
    }
}

fn unpack_datetime(whole: u64, fraction: Fraction) -> Result<DateTime, ValueError> {
    let (day, time) = (whole >> 17, whole & 0x1_FFFF);
    let months = day >> 5;
    checked_datetime(
        checked_date(months / 13, months % 13, day & 31)?,
        time >> 12,
        time >> 6 & 63,
        time & 63,
        fraction,
    )
}

/// Zero seconds stand for the zero date (MySQL manual, "The DATE, DATETIME, and
/// TIMESTAMP Types").
fn from_epoch(seconds: u64, fraction: Fraction) -> Result<DateTime, ValueError> {
    if seconds == 0 {
        return checked_datetime(checked_date(0, 0, 0)?, 0, 0, 0, fraction);
    }
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    checked_datetime(
        civil(days)?,
        second / 3_600,
        second / 60 % 60,
        second % 60,
        fraction,
    )
}

/// The date `days` days after 1970-01-01, in years that begin in March, so that
/// a leap day ends one.
fn civil(days: u64) -> Result<Date, ValueError> {
    // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 in 400 years.
    let days = days.checked_add(719_468).ok_or(ValueError::Temporal)?;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year + u64::from(month <= 2);
    checked_date(year, month, day_of_month)
}

fn checked_date(year: u64, month: u64, day: u64) -> Result<Date, ValueError> {
    Ok(Date {
        year: u16::try_from(below(Some(year), 10_000)?).map_err(|_| ValueError::Temporal)?,
        month: small(month, 13)?,
        day: small(day, 32)?,
    })
}

fn checked_datetime(
    date: Date,
    hours: u64,
    minutes: u64,
    seconds: u64,
    fraction: Fraction,
) -> Result<DateTime, ValueError> {
    Ok(DateTime {
        date,
        hours: small(hours, 24)?,
        minutes: small(minutes, 60)?,
        seconds: small(seconds, 60)?,
        micros: fraction.micros,
        decimals: fraction.decimals,
    })
}

fn checked_time(
    negative: bool,
    hours: u64,
    minutes: u64,
    seconds: u64,
    fraction: Fraction,
) -> Result<Time, ValueError> {
    Ok(Time {
        negative,
        hours: u16::try_from(below(Some(hours), 839)?).map_err(|_| ValueError::Temporal)?,
        minutes: small(minutes, 60)?,
        seconds: small(seconds, 60)?,
        micros: fraction.micros,
        decimals: fraction.decimals,
    })
}

fn small(value: u64, bound: u64) -> Result<u8, ValueError> {
    u8::try_from(below(Some(value), bound)?).map_err(|_| ValueError::Temporal)
}

fn below(value: Option<u64>, bound: u64) -> Result<u64, ValueError> {
    value
        .filter(|value| *value < bound)
        .ok_or(ValueError::Temporal)
}
