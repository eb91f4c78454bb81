//! A clock of this machine that AWS does not accept.

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// AWS accepts signatures whose time differs by five minutes at most. A clock that
/// is right answers within seconds.
const OFF_MIN: SignedDuration = SignedDuration::from_mins(4);

/// The time in an answer's `Date`.
pub fn date(header: &str) -> Option<Timestamp> {
    let parsed = rfc2822::parse(header).ok()?;
    Some(parsed.timestamp())
}

/// Says that this machine's clock is off, if that is why AWS refused a signature
/// with `code` and `reason`. `date` is the `Date` of the answer.
pub fn explain(code: &str, reason: &str, date: Option<&str>) -> Option<String> {
    explain_at(Timestamp::now(), code, reason, date)
}

fn explain_at(now: Timestamp, code: &str, reason: &str, date: Option<&str>) -> Option<String> {
    let by_itself = match code {
        "RequestTimeTooSkewed" => true,
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "AccessDenied" => {
            reason.contains("Signature expired") || reason.contains("Signature not yet current")
        }
        "RequestExpired" => false,
        _ => return None,
    };
    match date.and_then(self::date) {
        Some(theirs) => {
            let off = now.duration_since(theirs).abs() >= OFF_MIN;
            off.then(|| {
                format!("this machine's clock says {now:.0}, and that of AWS {theirs:.0}: set this machine's clock (NTP)")
            })
        }
        None => by_itself.then(|| "this machine's clock is off: set it (NTP)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_signature_is_the_clocks_fault_if_the_times_differ() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let (same, other) = (
            Some("Sun, 01 Mar 2026 12:00:30 GMT"),
            Some("Sun, 01 Mar 2026 09:00:00 GMT"),
        );
        let late = "Signature expired: 20260301T120000Z is now earlier than";
        for (code, reason, date, off) in [
            ("SignatureDoesNotMatch", late, other, true),
            (
                "SignatureDoesNotMatch",
                "The request signature",
                other,
                true,
            ),
            (
                "SignatureDoesNotMatch",
                "The request signature",
                same,
                false,
            ),
            ("InvalidSignatureException", late, None, true),
            ("RequestExpired", "Request has expired", same, false),
            ("RequestExpired", "Request has expired", other, true),
            ("RequestTimeTooSkewed", "", None, true),
            ("AccessDenied", "no", None, false),
            ("Throttling", "Rate exceeded", other, false),
        ] {
            let words = explain_at(now, code, reason, date);
            assert_eq!(words.is_some(), off, "{code} {reason} {date:?}");
            if let (Some(words), true) = (words, date == other) {
                assert!(words.contains("2026-03-01T12:00:00Z"), "{words}");
                assert!(words.contains("2026-03-01T09:00:00Z"), "{words}");
            }
        }
    }
}
