//! The path classes, compared with the cache behaviours of a live distribution.

use serde::Serialize;

use crate::command::finding::Level;
use crate::edge::cache_behavior::{Behavior, Ttl};
use crate::model::invalidation::PathClass;
use crate::rules::path_class::PathClasses;

/// Shortest TTL that suits immutable files. Those that expire sooner are
/// fetched more often than they need to be.
const IMMUTABLE_SECONDS_MIN: i64 = 86_400;
/// Longest TTL that suits `short-ttl`: such paths are never invalidated, and
/// may be stale for as long.
const SHORT_SECONDS_MAX: i64 = 5;

/// A path class and a cache behaviour that match the same paths.
#[derive(Clone, Debug, Serialize)]
pub struct ClassRow {
    pub distribution: String,
    /// The pattern of the `[[path]]`; `(none)` for paths that no `[[path]]`
    /// matches.
    pub pattern: String,
    /// The declared class, or `cached` if there is none.
    pub class: &'static str,
    /// The pattern of the behaviour that CloudFront applies to these paths.
    pub behavior: String,
    /// A path that both match.
    pub example: String,
    /// The behaviour's cache policy.
    pub policy: String,
    pub ttl: Ttl,
    pub level: Level,
    /// The fault, and what to do.
    pub verdict: String,
}

/// Compares each class with each behaviour that matches some of its paths;
/// `None` if the patterns are too complex to compare.
pub fn audit(name: &str, classes: &PathClasses, behaviors: &[Behavior]) -> Option<Vec<ClassRow>> {
    let patterns: Vec<String> = behaviors
        .iter()
        .map(|behavior| behavior.pattern.clone())
        .collect();
    let declared: Vec<(String, PathClass)> = classes.iter().collect();
    let rows = classes
        .overlaps(&patterns)?
        .into_iter()
        .filter_map(|overlap| {
            let behavior = behaviors.get(overlap.behavior)?;
            let class = overlap.class.and_then(|index| declared.get(index));
            let (level, verdict) = match class {
                Some((_, class)) => verdict(*class, behavior),
                None => undeclared(behavior),
            };
            Some(ClassRow {
                distribution: name.to_owned(),
                pattern: class.map_or_else(|| "(none)".to_owned(), |(pattern, _)| pattern.clone()),
                class: class
                    .map_or(PathClass::Cached, |(_, class)| *class)
                    .as_str(),
                behavior: behavior.pattern.clone(),
                example: overlap.example,
                policy: behavior.policy.clone(),
                ttl: behavior.ttl,
                level,
                verdict,
            })
        });
    Some(rows.collect())
}

fn undeclared(behavior: &Behavior) -> (Level, String) {
    match behavior.ttl.max_s {
        0 => (
            Level::Note,
            "no [[path]] covers it: its paths count as cached, but are never cached here; declare it strong".to_owned(),
        ),
        _ => (Level::Note, "no [[path]] covers it: it counts as cached".to_owned()),
    }
}

fn verdict(class: PathClass, behavior: &Behavior) -> (Level, String) {
    let Ttl {
        min_s,
        default_s,
        max_s,
    } = behavior.ttl;
    let fine = || (Level::Ok, "as declared".to_owned());
    match class {
        PathClass::Strong if min_s > 0 => (
            Level::Error,
            format!("cached for {min_s} s at least, even where the origin forbids it; use the policy CachingDisabled"),
        ),
        PathClass::Strong if max_s > 0 => (
            Level::Error,
            "the origin's headers decide whether it is cached; use the policy CachingDisabled".to_owned(),
        ),
        PathClass::Strong if !behavior.forwards_all => (
            Level::Warning,
            "not all headers and cookies reach the origin; use the origin request policy AllViewer".to_owned(),
        ),
        PathClass::Strong => fine(),
        PathClass::Immutable if max_s.min(default_s.max(min_s)) < IMMUTABLE_SECONDS_MIN => (
            Level::Warning,
            "expires within a day, unless the origin says otherwise; use the policy CachingOptimized".to_owned(),
        ),
        PathClass::Immutable => fine(),
        PathClass::ShortTtl if min_s > SHORT_SECONDS_MAX => (
            Level::Error,
            format!("cached for {min_s} s at least and never invalidated; lower the TTL to {SHORT_SECONDS_MAX} s, or declare it cached"),
        ),
        PathClass::ShortTtl if max_s > SHORT_SECONDS_MAX => (
            Level::Warning,
            format!("may be cached for {max_s} s and is never invalidated; lower the maximum TTL to {SHORT_SECONDS_MAX} s, or declare it cached"),
        ),
        PathClass::ShortTtl => fine(),
        PathClass::Cached if max_s == 0 => (
            Level::Warning,
            "never cached: its invalidations are paid for in vain; declare it strong".to_owned(),
        ),
        PathClass::Cached => fine(),
    }
}

pub fn table(rows: &[ClassRow]) -> String {
    const HEAD: [&str; 7] = [
        "",
        "class",
        "pattern",
        "behavior",
        "policy",
        "min/default/max s",
        "verdict",
    ];
    let cells: Vec<[String; 7]> = rows
        .iter()
        .map(|row| {
            let Ttl {
                min_s,
                default_s,
                max_s,
            } = row.ttl;
            [
                row.level.as_str().to_owned(),
                row.class.to_owned(),
                row.pattern.clone(),
                row.behavior.clone(),
                row.policy.clone(),
                format!("{min_s}/{default_s}/{max_s}"),
                match row.level {
                    Level::Ok | Level::Note => row.verdict.clone(),
                    Level::Warning | Level::Error => {
                        format!("{} (such as {})", row.verdict, row.example)
                    }
                },
            ]
        })
        .collect();
    let head = HEAD.map(str::to_owned);
    let mut widths = [0; 7];
    for row in std::iter::once(&head).chain(&cells) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&head).chain(&cells) {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_judged_by_the_ttls_and_by_what_reaches_the_origin() {
        use Level::{Error, Ok, Warning};
        use PathClass::{Cached, Immutable, ShortTtl, Strong};
        for (class, ttl, forwards_all, expected) in [
            (Strong, (0, 0, 0), true, Ok),
            (Strong, (0, 0, 0), false, Warning),
            (Strong, (0, 86_400, 31_536_000), true, Error),
            (Strong, (1, 1, 1), true, Error),
            (Immutable, (1, 86_400, 31_536_000), false, Ok),
            (Immutable, (0, 60, 31_536_000), false, Warning),
            (Immutable, (0, 86_400, 3_600), false, Warning),
            (ShortTtl, (0, 2, 5), false, Ok),
            (ShortTtl, (0, 0, 0), false, Ok),
            (ShortTtl, (0, 2, 60), false, Warning),
            (ShortTtl, (30, 30, 60), false, Error),
            (Cached, (0, 0, 31_536_000), false, Ok),
            (Cached, (0, 0, 0), false, Warning),
        ] {
            let (min_s, default_s, max_s) = ttl;
            let behavior = Behavior {
                pattern: "*".to_owned(),
                policy: "p".to_owned(),
                ttl: Ttl {
                    min_s,
                    default_s,
                    max_s,
                },
                forwards_all,
            };
            let (level, verdict) = verdict(class, &behavior);
            assert_eq!(level, expected, "{class} {ttl:?}: {verdict}");
        }
    }
}
