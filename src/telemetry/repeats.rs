//! Log lines that would repeat: the first is logged at once, and then the
//! number of further ones once a minute.
//!
//! A line repeats if it has the same message about the same subject: a rule, a
//! table, a distribution. Changes of state, such as the beginning and the end
//! of an outage, do not go through here.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

/// Time for which repetitions are counted before they are logged.
const WINDOW: Duration = Duration::from_secs(60);

/// Interval at which windows are looked through.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Subjects that are told apart (Bounded). Further ones share one window for
/// each message.
const SUBJECTS_MAX: usize = 1_000;

/// Stands for the subjects beyond [`SUBJECTS_MAX`].
const OTHERS: &str = "others";

/// Logs a message about a subject. If it was logged lately, it is only counted.
///
/// `repeating!(warn, subject, { field = value, … }, "message")`, with what
/// tracing's macros take between the braces.
macro_rules! repeating {
    (warn, $($rest:tt)*) => {
        $crate::telemetry::repeats::repeating!(@ WARN, warn, $($rest)*)
    };
    (error, $($rest:tt)*) => {
        $crate::telemetry::repeats::repeating!(@ ERROR, error, $($rest)*)
    };
    (info, $($rest:tt)*) => {
        $crate::telemetry::repeats::repeating!(@ INFO, info, $($rest)*)
    };
    (@ $level:ident, $log:ident, $subject:expr, { $($field:tt)* }, $message:literal) => {
        if $crate::telemetry::repeats::is_new(tracing::Level::$level, $message, $subject) {
            tracing::$log!($($field)*, $message);
        }
    };
}
pub(crate) use repeating;

static REPEATS: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);

/// Whether a message about `subject` is to be logged now. If not, it is
/// counted.
pub fn is_new(level: Level, message: &'static str, subject: &str) -> bool {
    lock().is_new(level, message, subject, Instant::now())
}

/// Logs once a minute what was repeated. Never returns.
pub async fn summarise() {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        ticks.tick().await;
        let due = lock().due(Instant::now(), WINDOW);
        due.iter().for_each(Summary::log);
    }
}

/// Logs the repetitions that are not logged yet, before the process ends.
pub fn flush() {
    // The lock is released before anything is logged.
    let due = lock().due(Instant::now(), Duration::ZERO);
    due.iter().for_each(Summary::log);
}

/// Locks the windows: for a moment, never across an await or a log line.
fn lock() -> MutexGuard<'static, Repeats> {
    REPEATS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The messages logged lately, by message and subject.
#[derive(Debug, Default)]
struct Repeats {
    windows: HashMap<(&'static str, Box<str>), Window>,
}

#[derive(Debug)]
struct Window {
    level: Level,
    began: Instant,
    /// Repetitions since then.
    more: u64,
}

/// The line that is logged for a window that ends.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    message: &'static str,
    subject: Box<str>,
    more: u64,
    seconds: u64,
}

impl Repeats {
    fn is_new(&mut self, level: Level, message: &'static str, subject: &str, now: Instant) -> bool {
        let mut key = (message, Box::from(subject));
        if self.windows.len() >= SUBJECTS_MAX && !self.windows.contains_key(&key) {
            key.1 = OTHERS.into();
        }
        match self.windows.get_mut(&key) {
            Some(window) => {
                window.more += 1;
                false
            }
            None => {
                let window = Window {
                    level,
                    began: now,
                    more: 0,
                };
                self.windows.insert(key, window);
                true
            }
        }
    }

    /// Ends the windows that are `at_least` as old. A message that repeated
    /// begins another window; any other is forgotten, so that it is new again.
    fn due(&mut self, now: Instant, at_least: Duration) -> Vec<Summary> {
        let mut due = Vec::new();
        self.windows.retain(|(message, subject), window| {
            let age = now.saturating_duration_since(window.began);
            if age < at_least {
                return true;
            }
            if window.more == 0 {
                return false;
            }
            due.push(Summary {
                level: window.level,
                message,
                subject: subject.clone(),
                more: std::mem::take(&mut window.more),
                seconds: age.as_secs(),
            });
            window.began = now;
            true
        });
        due.sort_by(|a, b| (a.message, &a.subject).cmp(&(b.message, &b.subject)));
        due
    }
}

impl Summary {
    fn log(&self) {
        let Self {
            message,
            subject,
            more,
            seconds,
            ..
        } = self;
        match self.level {
            Level::ERROR => {
                tracing::error!(%subject, more, seconds, "and {more} more in the last {seconds} s: {message}");
            }
            Level::WARN => {
                tracing::warn!(%subject, more, seconds, "and {more} more in the last {seconds} s: {message}");
            }
            _ => {
                tracing::info!(%subject, more, seconds, "and {more} more in the last {seconds} s: {message}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSED: &str = "its version did not";

    fn more(due: &[Summary]) -> Vec<(&str, u64)> {
        due.iter()
            .map(|summary| (&*summary.subject, summary.more))
            .collect()
    }

    #[test]
    fn the_first_is_logged_at_once_and_the_others_are_counted_once_a_minute() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut logged = 0;
        for second in 0..150 {
            logged += u32::from(repeats.is_new(Level::WARN, MISSED, "users", at(second)));
        }
        assert_eq!(logged, 1);
        assert!(
            repeats.is_new(Level::WARN, MISSED, "orders", at(150)),
            "another subject"
        );
        assert!(repeats.is_new(Level::WARN, "another message", "users", at(150)));
        assert_eq!(more(&repeats.due(at(150), WINDOW)), [("users", 149)]);
        assert_eq!(repeats.due(at(150), WINDOW), [], "said once");
        assert!(
            !repeats.is_new(Level::WARN, MISSED, "users", at(151)),
            "it goes on"
        );
        assert_eq!(more(&repeats.due(at(211), WINDOW)), [("users", 1)]);
        assert_eq!(repeats.due(at(272), WINDOW), []);
        assert!(
            repeats.is_new(Level::WARN, MISSED, "users", at(273)),
            "a minute of silence"
        );
    }

    #[test]
    fn subjects_beyond_the_bound_share_a_window() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let mut logged = 0;
        for number in 0..3 * SUBJECTS_MAX {
            let subject = number.to_string();
            logged += usize::from(repeats.is_new(Level::ERROR, MISSED, &subject, now));
        }
        assert_eq!(logged, SUBJECTS_MAX + 1);
        assert_eq!(repeats.windows.len(), SUBJECTS_MAX + 1);
        let due = repeats.due(now, Duration::ZERO);
        assert_eq!(more(&due), [(OTHERS, 2_000 - 1)]);
        assert_eq!(repeats.windows.len(), 1, "what did not repeat is forgotten");
    }
}
