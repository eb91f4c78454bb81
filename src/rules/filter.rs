//! Template filters, which stand after `|` in a placeholder.

use std::fmt::Write as _;

use jiff::civil;
use jiff::fmt::{strtime, temporal};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha1::Sha1;

use super::suggestion::suggestion;
use crate::model::{Shape, Value};

/// The characters that PHP's `rawurlencode` encodes: all but letters, digits and
/// `-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

static TEMPORAL: temporal::DateTimeParser = temporal::DateTimeParser::new();

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Lower case, by Unicode's rules.
    Lower,
    /// Upper case, by Unicode's rules.
    Upper,
    /// Percent-encodes all but letters, digits and `-_.~`, as PHP's `rawurlencode`.
    UrlEncode,
    /// Lower-case hexadecimal digits of the bytes.
    Hex,
    /// Sixteen bytes as a hyphenated UUID; text stays as it is.
    Uuid,
    /// MD5 in hexadecimal.
    Md5,
    /// SHA-1 in hexadecimal.
    Sha1,
    /// CRC-32 in decimal, as PHP's and MySQL's `crc32`.
    Crc32,
    /// A date or time through a `strftime` format; a TIMESTAMP as a session with
    /// this time zone reads it, or else in UTC.
    Date {
        format: String,
        zone: Option<TimeZone>,
    },
    /// The text for NULL.
    Default(String),
}

/// The names of all filters, for suggestions.
pub const NAMES: [&str; 10] = [
    "lower",
    "upper",
    "urlencode",
    "hex",
    "uuid",
    "md5",
    "sha1",
    "crc32",
    "date",
    "default",
];

/// The error that a filter cannot turn a value into text, such as a zero date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrenderable;

impl Filter {
    /// Makes the filter called `name`, with the arguments in its parentheses.
    pub fn new(name: &str, arguments: &[&str]) -> Result<Self, String> {
        let plain = |filter| {
            if arguments.is_empty() {
                Ok(filter)
            } else {
                Err(format!("filter `{name}` takes no argument"))
            }
        };
        match name {
            "lower" => plain(Filter::Lower),
            "upper" => plain(Filter::Upper),
            "urlencode" => plain(Filter::UrlEncode),
            "hex" => plain(Filter::Hex),
            "uuid" => plain(Filter::Uuid),
            "md5" => plain(Filter::Md5),
            "sha1" => plain(Filter::Sha1),
            "crc32" => plain(Filter::Crc32),
            "date" => match *arguments {
                [format] => date(format, None),
                [format, zone] => date(format, Some(time_zone(zone)?)),
                _ => Err(
                    "filter `date` needs a format, and may have a time zone: date(\"%Y-%m\", \"Europe/Berlin\")"
                        .to_owned(),
                ),
            },
            "default" => match *arguments {
                [text] => Ok(Filter::Default(text.to_owned())),
                _ => Err("filter `default` needs a text: default(\"none\")".to_owned()),
            },
            _ => Err(format!(
                "there is no filter `{name}`{}",
                suggestion(name, NAMES)
            )),
        }
    }

    /// Checks that columns of this shape can pass, as far as is known before a
    /// value is seen.
    pub fn accepts(&self, shape: Shape) -> Result<(), &'static str> {
        match (self, shape) {
            (Filter::Date { .. }, Shape::Integer | Shape::Number | Shape::Bytes) => {
                Err("filter `date` needs a DATE, DATETIME or TIMESTAMP column")
            }
            (Filter::Date { zone: Some(_), .. }, Shape::Temporal | Shape::Text) => Err(
                "filter `date` takes a time zone for a TIMESTAMP column only: other columns have the same text in every session",
            ),
            (Filter::Uuid, Shape::Integer | Shape::Number | Shape::Temporal | Shape::Timestamp) => {
                Err("filter `uuid` needs a BINARY(16) or text column")
            }
            _ => Ok(()),
        }
    }

    /// Whether it never makes one text of two numbers or points in time.
    pub fn keeps_apart(&self) -> bool {
        match self {
            Filter::Lower
            | Filter::Upper
            | Filter::UrlEncode
            | Filter::Hex
            | Filter::Uuid
            | Filter::Md5
            | Filter::Sha1
            | Filter::Default(_) => true,
            Filter::Crc32 | Filter::Date { .. } => false,
        }
    }

    /// Rewrites `text`, which was rendered from `value`.
    pub fn apply(&self, value: &Value<'_>, text: &mut Vec<u8>) -> Result<(), Unrenderable> {
        match self {
            Filter::Lower => map_text(text, str::to_lowercase),
            Filter::Upper => map_text(text, str::to_uppercase),
            Filter::UrlEncode => *text = percent_encode(text, RESERVED).to_string().into_bytes(),
            Filter::Hex => *text = hex::encode(&text).into_bytes(),
            Filter::Uuid => {
                if matches!(value, Value::Bytes(_)) {
                    let uuid: [u8; 16] = text.as_slice().try_into().map_err(|_| Unrenderable)?;
                    *text = hyphenated(uuid).into_bytes();
                }
            }
            Filter::Md5 => *text = hex::encode(Md5::digest(&text)).into_bytes(),
            Filter::Sha1 => *text = hex::encode(Sha1::digest(&text)).into_bytes(),
            Filter::Crc32 => *text = crc32fast::hash(text).to_string().into_bytes(),
            Filter::Date { format, zone } => {
                let when = civil_time(value, text).ok_or(Unrenderable)?;
                let formatted = formatted(format, when, zone.as_ref());
                *text = formatted.map_err(|_| Unrenderable)?.into_bytes();
            }
            // It applies only where the value is NULL.
            Filter::Default(_) => {}
        }
        Ok(())
    }
}

fn date(format: &str, zone: Option<TimeZone>) -> Result<Filter, String> {
    formatted(
        format,
        civil::date(2000, 1, 1).at(0, 0, 0, 0),
        zone.as_ref(),
    )
    .map_err(|error| format!("filter `date`: format \"{format}\": {error}"))?;
    let format = format.to_owned();
    Ok(Filter::Date { format, zone })
}

/// `when`, which is in UTC where there is a `zone`, as a clock there shows it. An
/// instant has one local time, around a change of the clocks too.
fn formatted(
    format: &str,
    when: civil::DateTime,
    zone: Option<&TimeZone>,
) -> Result<String, jiff::Error> {
    match zone {
        None => strtime::format(format, when),
        Some(zone) => {
            let utc = when.to_zoned(TimeZone::UTC)?;
            strtime::format(format, &utc.with_time_zone(zone.clone()))
        }
    }
}

/// A zone of the database that is compiled in, or an offset, as MySQL's
/// `time_zone` takes both.
fn time_zone(name: &str) -> Result<TimeZone, String> {
    let zones = TimeZoneDatabase::bundled();
    let zone = TEMPORAL.parse_time_zone_with(&zones, name);
    zone.map_err(|_| {
        let known: Vec<String> = zones.available().map(|zone| zone.to_string()).collect();
        format!(
            "filter `date`: there is no time zone \"{name}\"{}",
            suggestion(name, known.iter().map(String::as_str))
        )
    })
}

fn map_text(text: &mut Vec<u8>, map: impl Fn(&str) -> String) {
    if let Ok(valid) = std::str::from_utf8(text) {
        *text = map(valid).into_bytes();
    }
}

fn hyphenated(uuid: [u8; 16]) -> String {
    uuid.iter()
        .enumerate()
        .fold(String::with_capacity(36), |mut out, (index, byte)| {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            // Writing to a String cannot fail.
            write!(out, "{byte:02x}").ok();
            out
        })
}

/// The value as a point in time; `None` for MySQL's zero dates and for text
/// that is not a date.
fn civil_time(value: &Value<'_>, text: &[u8]) -> Option<civil::DateTime> {
    let date = |date: &crate::model::Date| {
        civil::Date::new(
            i16::try_from(date.year).ok()?,
            i8::try_from(date.month).ok()?,
            i8::try_from(date.day).ok()?,
        )
        .ok()
    };
    match value {
        Value::Date(day) => Some(date(day)?.at(0, 0, 0, 0)),
        Value::DateTime(when) => {
            let time = civil::Time::new(
                i8::try_from(when.hours).ok()?,
                i8::try_from(when.minutes).ok()?,
                i8::try_from(when.seconds).ok()?,
                i32::try_from(when.micros).ok()?.checked_mul(1_000)?,
            )
            .ok()?;
            Some(date(&when.date)?.to_datetime(time))
        }
        _ => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Date, DateTime};

    fn apply(name: &str, arguments: &[&str], value: &Value<'_>) -> Result<String, Unrenderable> {
        let mut text = Vec::new();
        value.write_text(&mut text);
        Filter::new(name, arguments)
            .unwrap()
            .apply(value, &mut text)?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn filters_render_what_php_and_mysql_would() {
        let text = Value::Text("Zoë & Co/1~".into());
        let cases = [
            ("lower", &text, "zoë & co/1~"),
            ("upper", &text, "ZOË & CO/1~"),
            ("urlencode", &text, "Zo%C3%AB%20%26%20Co%2F1~"),
            ("hex", &Value::Bytes((&[0, 171][..]).into()), "00ab"),
            (
                "md5",
                &Value::Text("hello".into()),
                "5d41402abc4b2a76b9719d911017c592",
            ),
            (
                "sha1",
                &Value::Text("hello".into()),
                "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
            ),
            ("crc32", &Value::Text("hello".into()), "907060870"),
            (
                "uuid",
                &Value::Bytes((0..16).collect::<Vec<u8>>().into()),
                "00010203-0405-0607-0809-0a0b0c0d0e0f",
            ),
            ("uuid", &Value::Text("as-it-is".into()), "as-it-is"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(apply(name, &[], value).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn dates_are_formatted_and_zero_dates_are_not() {
        let date = Date {
            year: 2026,
            month: 3,
            day: 9,
        };
        let when = DateTime {
            date,
            hours: 23,
            minutes: 5,
            seconds: 0,
            micros: 0,
            decimals: 0,
        };
        assert_eq!(
            apply("date", &["%Y-%m"], &Value::Date(date)).as_deref(),
            Ok("2026-03")
        );
        assert_eq!(
            apply("date", &["%d %H"], &Value::DateTime(when)).as_deref(),
            Ok("09 23")
        );
        let text = Value::Text("2026-03-09 10:00:00".into());
        assert_eq!(apply("date", &["%j"], &text).as_deref(), Ok("068"));
        let zero = Date {
            year: 0,
            month: 0,
            day: 0,
        };
        assert_eq!(
            apply("date", &["%Y"], &Value::Date(zero)),
            Err(Unrenderable)
        );
    }

    #[test]
    fn a_point_in_time_is_what_a_clock_in_the_zone_shows() {
        let at = |text: &str| {
            let at: civil::DateTime = text.parse().unwrap();
            let number = |part: i8| u8::try_from(part).unwrap();
            Value::DateTime(DateTime {
                date: Date {
                    year: at.year().try_into().unwrap(),
                    month: number(at.month()),
                    day: number(at.day()),
                },
                hours: number(at.hour()),
                minutes: number(at.minute()),
                seconds: number(at.second()),
                micros: (at.subsec_nanosecond() / 1_000).try_into().unwrap(),
                decimals: 6,
            })
        };
        for (utc, zone, local) in [
            (
                "2026-07-01 22:30:00",
                "Europe/Berlin",
                "2026-07-02 00:30:00 +0200",
            ),
            (
                "2026-12-31 23:30:00",
                "Europe/Berlin",
                "2027-01-01 00:30:00 +0100",
            ),
            // An hour that comes twice, and one that does not come.
            (
                "2026-10-25 00:30:00",
                "Europe/Berlin",
                "2026-10-25 02:30:00 +0200",
            ),
            (
                "2026-10-25 01:30:00",
                "Europe/Berlin",
                "2026-10-25 02:30:00 +0100",
            ),
            (
                "2026-03-29 00:59:59",
                "Europe/Berlin",
                "2026-03-29 01:59:59 +0100",
            ),
            (
                "2026-03-29 01:00:00",
                "Europe/Berlin",
                "2026-03-29 03:00:00 +0200",
            ),
            ("2026-07-01 22:30:00", "+05:30", "2026-07-02 04:00:00 +0530"),
            ("2026-07-01 22:30:00", "utc", "2026-07-01 22:30:00 +0000"),
        ] {
            let format = "%Y-%m-%d %H:%M:%S %z";
            let rendered = apply("date", &[format, zone], &at(utc));
            assert_eq!(rendered.as_deref(), Ok(local), "{utc} {zone}");
        }
        let fraction = apply(
            "date",
            &["%T%.6f", "Asia/Tokyo"],
            &at("2026-07-01 22:30:00.25"),
        );
        assert_eq!(fraction.as_deref(), Ok("07:30:00.250000"));
    }

    #[test]
    fn a_zone_that_does_not_exist_is_refused_with_a_suggestion() {
        let error = Filter::new("date", &["%Y", "Europe/Berln"]).unwrap_err();
        assert!(error.contains("did you mean `Europe/Berlin`"), "{error}");
        assert!(Filter::new("date", &["%Y", "+99:00"]).is_err());
        assert!(Filter::new("date", &["%Y", "UTC", "x"]).is_err());
    }

    #[test]
    fn a_zone_is_for_points_in_time_only() {
        let filter = Filter::new("date", &["%Y", "Europe/Berlin"]).unwrap();
        assert_eq!(filter.accepts(Shape::Timestamp), Ok(()));
        assert!(filter.accepts(Shape::Temporal).is_err());
        assert!(filter.accepts(Shape::Text).is_err());
    }

    #[test]
    fn a_filter_that_does_not_exist_is_refused_with_a_suggestion() {
        let error = Filter::new("uper", &[]).unwrap_err();
        assert!(error.contains("did you mean `upper`"), "{error}");
        assert!(Filter::new("date", &["%Q"]).is_err());
        assert!(Filter::new("date", &[]).is_err());
        assert!(Filter::new("lower", &["x"]).is_err());
    }
}
