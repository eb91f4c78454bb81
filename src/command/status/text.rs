//! The status as text for people: what is wrong comes first.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::document::{Health, StatusDocument};
use super::span::span;
use crate::edge::budget::BudgetStatus;
use crate::ledger::Gap;

/// Dead letters, and gaps, that are shown.
const RECENT_SHOWN: usize = 3;

/// The whole text, with ages as of `now`.
pub fn render(status: &StatusDocument, now: Timestamp) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    write(&mut out, status, now).ok();
    out
}

fn write(out: &mut String, status: &StatusDocument, now: Timestamp) -> std::fmt::Result {
    let state = match status.state {
        Health::Ok => "OK",
        Health::Behind => "BEHIND",
        Health::Trouble => "TROUBLE",
        Health::Stuck => "STUCK",
        Health::Standby => "STANDBY",
        Health::NoDaemon => "NO DAEMON ANSWERS",
    };
    write!(out, "evictd {}: {state}", status.name)?;
    if let Some(started_at) = status.started_at {
        let role = status.role.as_deref().unwrap_or_default();
        write!(
            out,
            "  (version {}, role {role}, up {})",
            status.version,
            age(now, started_at)
        )?;
    }
    writeln!(out, "\n")?;
    for problem in &status.problems {
        let since = problem
            .since
            .map(|since| format!("for {} (since {})", age(now, since), moment(since)));
        line(
            out,
            &problem.part,
            &format!("! {}", since.unwrap_or_else(|| "now".to_owned())),
        )?;
        line(out, "", &format!("  {}", problem.text))?;
    }
    if !status.problems.is_empty() {
        writeln!(out)?;
    }
    running(out, status, now)?;
    on_disk(out, status, now)
}

/// Writes what only a running daemon knows.
fn running(out: &mut String, status: &StatusDocument, now: Timestamp) -> std::fmt::Result {
    if let (Some(at), Some(sha256)) = (status.config_loaded_at, &status.config_sha256) {
        let text = format!("loaded {} ago, SHA-256 {sha256}", age(now, at));
        line(out, "configuration", &text)?;
    }
    if let Some(leadership) = &status.leadership {
        let since = status.leadership_since.map(|since| age(now, since));
        let what = match leadership.as_str() {
            "leads" => "this process leads",
            _ if status.state != Health::Standby => "this process stands by",
            _ => "another process leads, this one stands by",
        };
        let since = since.map(|since| format!(" for {since}"));
        line(
            out,
            "leadership",
            &format!("{what}{}", since.unwrap_or_default()),
        )?;
    }
    if let Some(connected) = status.connected {
        let connected = if connected {
            "connected"
        } else {
            "NOT CONNECTED"
        };
        let since = status.connection_since.map(|since| age(now, since));
        line(
            out,
            "source",
            &format!("{connected} for {}", since.unwrap_or_default()),
        )?;
    }
    if let Some(lag) = status.lag_seconds {
        let lag = span(Duration::try_from_secs_f64(lag).unwrap_or_default());
        let bytes = match status.lag_bytes {
            Some(bytes) => format!("{} not read", size(bytes)),
            None => "unread bytes unknown".to_owned(),
        };
        line(out, "lag", &format!("{lag}, {bytes}"))?;
    }
    if let Some(position) = &status.position {
        line(out, "read up to", &position.to_string())?;
    }
    if status.state != Health::NoDaemon {
        line(
            out,
            "settling",
            &format!(
                "{} batches, {}",
                status.settling_batches,
                size(u64::try_from(status.settling_bytes).unwrap_or(u64::MAX))
            ),
        )?;
        let widened: Vec<String> = status
            .widenings
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        line(
            out,
            "since start",
            &format!(
                "{} keys deleted, {} missed version bumps, widened: {}",
                status.keys_deleted,
                status.missed_version_bumps,
                if widened.is_empty() {
                    "never".to_owned()
                } else {
                    widened.join(", ")
                }
            ),
        )?;
    }
    for part in &status.parts {
        if let (None, Some(error), Some(at)) =
            (part.trouble_since, &part.last_error, part.last_error_at)
        {
            let text = format!("works; last failed {} ago: {error}", age(now, at));
            line(out, &part.part, &text)?;
        }
    }
    Ok(())
}

/// Writes what outlives the daemon.
fn on_disk(out: &mut String, status: &StatusDocument, now: Timestamp) -> std::fmt::Result {
    match &status.checkpoint {
        Some(stored) => {
            let stored_at = stored
                .stored_at
                .map(|at| format!(", stored {} ago", age(now, at)));
            let committed_at = stored
                .committed_at
                .map(|at| format!(", last commit before it {} ago", age(now, at)));
            line(
                out,
                "checkpoint",
                &format!(
                    "{}{}{}",
                    stored.position,
                    stored_at.unwrap_or_default(),
                    committed_at.unwrap_or_default()
                ),
            )?;
        }
        None if status.state == Health::NoDaemon => line(out, "checkpoint", "none")?,
        None => line(out, "checkpoint", "none stored since the start")?,
    }
    for budget in &status.budgets {
        line(out, "budget", &budget_text(budget))?;
    }
    line(out, "gaps", &status.gaps.to_string())?;
    for gap in status.recent_gaps.iter().rev().take(RECENT_SHOWN) {
        line(out, "", &format!("- {}", gap_text(gap, now)))?;
    }
    let (put_back, missed) = (status.dead_letters_put_back, status.dead_letters_missed);
    let count = status.dead_letters;
    let of_which = match (put_back, missed) {
        (0, 0) => String::new(),
        (_, 0) => format!(", of which {put_back} were put back"),
        (0, _) => format!(", of which {missed} are not in the buffer any more"),
        _ => format!(
            ", of which {put_back} were put back, and {missed} are not in the buffer any more"
        ),
    };
    line(out, "dead letters", &format!("{count}{of_which}"))?;
    for letter in status.recent_dead_letters.iter().rev().take(RECENT_SHOWN) {
        let text = format!(
            "- {}: {} ({}): {}; {}",
            moment(letter.at),
            letter.subject(),
            letter.reason,
            letter.detail,
            match letter.missed_at {
                None => letter.remedy.as_str(),
                Some(_) =>
                    "it is not in the buffer any more: unless a gap of the buffer is on record since, change its row \
                     once more, or invalidate its paths yourself",
            }
        );
        line(out, "", &text)?;
    }
    Ok(())
}

fn budget_text(budget: &BudgetStatus) -> String {
    let BudgetStatus {
        distribution,
        month,
        spent,
        limit,
        left,
        forecast,
    } = budget;
    let of = match (limit, left) {
        (Some(limit), Some(left)) => {
            let percent = spent.saturating_mul(100) / (*limit).max(1);
            format!(" of {limit} ({percent} %), {left} left")
        }
        _ => ", no budget".to_owned(),
    };
    let over = match limit {
        Some(limit) if forecast > limit => ", OVER THE BUDGET",
        _ => "",
    };
    format!(
        "{distribution}: {spent} paths in {month}{of}; at this pace {forecast} in the month{over}"
    )
}

fn gap_text(gap: &Gap, now: Timestamp) -> String {
    let outcome = match (gap.done_at, &gap.to) {
        _ if gap.halted => {
            "halted; set source.on_gap = \"invalidate-all\", or correct the checkpoint".to_owned()
        }
        _ if gap.repeated => "interrupted, and begun anew".to_owned(),
        (Some(done_at), _) => {
            format!(
                "everything invalidated within {}",
                age(done_at, gap.begun_at)
            )
        }
        (None, _) => format!(
            "everything is being invalidated, for {} so far",
            age(now, gap.begun_at)
        ),
    };
    let to = gap.to.as_ref().map(|to| format!(" to {to}"));
    format!(
        "{}: {}{}: {}: {outcome}",
        moment(gap.begun_at),
        gap.from,
        to.unwrap_or_default(),
        gap.reason
    )
}

fn line(out: &mut String, label: &str, text: &str) -> std::fmt::Result {
    writeln!(out, "  {label:<13} {text}")
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn age(now: Timestamp, at: Timestamp) -> String {
    span(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

/// A number of bytes, rounded down.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        1_000_000_000.. => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::status::document::{PartStatus, Problem, StoredPlace};
    use crate::ledger::{BinlogPlace, DeadLetter, LedgerSummary};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn place(offset: u64) -> BinlogPlace {
        BinlogPlace {
            file: "mysql-bin.000004".to_owned(),
            offset,
            gtid: None,
        }
    }

    #[test]
    fn what_is_wrong_comes_first_with_its_beginning_and_what_to_do() {
        let mut letter = DeadLetter::new(
            "no-permission",
            "NOPERM No permissions to access a key",
            "let evictd's account change it",
        )
        .of_key(b"user:9:profile");
        letter.at = at("2026-11-23T01:00:00Z");
        let gap = Gap {
            id: 1,
            begun_at: at("2026-11-22T03:00:00Z"),
            from: place(4),
            to: Some(place(900)),
            reason: "the binlog was purged".to_owned(),
            done_at: Some(at("2026-11-22T03:00:02Z")),
            halted: false,
            repeated: false,
        };
        let ledger = LedgerSummary {
            gaps: 1,
            recent_gaps: [gap].into(),
            dead_letters: 1,
            recent_dead_letters: [letter].into(),
            ..LedgerSummary::default()
        };
        let budget = |distribution: &str, limit: Option<u64>| BudgetStatus {
            distribution: distribution.to_owned(),
            month: "2026-11".to_owned(),
            spent: 13_512,
            limit,
            left: limit.map(|limit| limit.saturating_sub(13_512)),
            forecast: 18_300,
        };
        let budgets = vec![
            budget("images", None),
            budget("main", Some(20_000)),
            budget("shop", Some(15_000)),
        ];
        let status = StatusDocument {
            version: "1.2.3".to_owned(),
            state: Health::Trouble,
            role: Some("all".to_owned()),
            started_at: Some(at("2026-11-23T00:00:00Z")),
            connected: Some(true),
            connection_since: Some(at("2026-11-23T00:00:01Z")),
            position: Some(place(1_500)),
            lag_seconds: Some(44.9),
            lag_bytes: Some(812_345),
            checkpoint: Some(StoredPlace {
                position: place(1_200),
                stored_at: Some(at("2026-11-23T03:11:15Z")),
                age_seconds: Some(45.0),
                committed_at: None,
            }),
            settling_batches: 2,
            settling_bytes: 4_096,
            keys_deleted: 12_345,
            widenings: [("gap".to_owned(), 2), ("statement".to_owned(), 1)].into(),
            problems: vec![Problem {
                part: "cache".to_owned(),
                since: Some(at("2026-11-23T03:11:15Z")),
                text: "Redis at cache:6379/0 does not answer; check redis.url".to_owned(),
            }],
            parts: vec![PartStatus {
                part: "source".to_owned(),
                trouble_since: None,
                last_error: Some("MySQL at db:3306 ended the binlog stream".to_owned()),
                last_error_at: Some(at("2026-11-23T02:12:00Z")),
            }],
            ..StatusDocument::from_disk("shop", None, &ledger, budgets)
        };
        insta::assert_snapshot!(render(&status, at("2026-11-23T03:12:00Z")));
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0.25, "0.2 s"),
            (61.0, "1 min 1 s"),
            (7_260.0, "2 h 1 min"),
            (180_000.0, "2 d 2 h"),
        ] {
            assert_eq!(span(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(size(999), "999 B");
        assert_eq!(size(2_999_999), "2 MB");
    }
}
