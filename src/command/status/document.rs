//! The status as one document: the answer of `/status`, and the source of what
//! `evictd status` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::daemon::Daemon;
use super::span::span;
use crate::checkpoint::Stored;
use crate::edge::budget::BudgetStatus;
use crate::ledger::{BinlogPlace, DeadLetter, Gap, LedgerSummary};
use crate::progress::board::{Component, Leadership, PartState, Reports, Snapshot};

/// Time that one attempt of a task may take before the task counts as stuck.
/// Every call has a shorter timeout of its own; scans are exempt.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(120);

/// Dead letters that a status holds.
const DEAD_LETTERS_SHOWN: usize = 5;

/// The state of a daemon, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Ok,
    /// It works, but is further behind than `metrics.lag_max`.
    Behind,
    /// A part does not work, and is being tried again.
    Trouble,
    /// A task makes no progress: evictd has to be restarted.
    Stuck,
    /// Nothing is wrong; another process leads.
    Standby,
    /// No daemon answers: the status is from disk.
    NoDaemon,
}

/// Everything that is known of a daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusDocument {
    pub name: String,
    pub version: String,
    pub state: Health,
    /// The trouble, since when, and what to do.
    pub problems: Vec<Problem>,
    /// `all`, `tail`, `drain` or `dry-run`; none from disk.
    pub role: Option<String>,
    pub started_at: Option<Timestamp>,
    /// When the configuration in use was loaded; none from disk.
    pub config_loaded_at: Option<Timestamp>,
    /// The beginning of its SHA-256.
    pub config_sha256: Option<String>,
    /// `leads` or `stands-by`; none in a process that never leads, and from
    /// disk.
    #[serde(default)]
    pub leadership: Option<String>,
    #[serde(default)]
    pub leadership_since: Option<Timestamp>,
    /// Whether the binlog is being read; none in a process that does not read
    /// it.
    pub connected: Option<bool>,
    /// Since when it has been connected, or not connected.
    pub connection_since: Option<Timestamp>,
    /// The position after the last whole transaction that was read.
    pub position: Option<BinlogPlace>,
    /// Age of the oldest change whose keys may not be deleted yet.
    pub lag_seconds: Option<f64>,
    /// Longest lag at which it is still ready.
    pub lag_seconds_max: Option<f64>,
    /// Bytes of the binlog that are not read yet, where the server says.
    pub lag_bytes: Option<u64>,
    pub checkpoint: Option<StoredPlace>,
    /// Batches that wait for their second deletion.
    pub settling_batches: usize,
    /// The memory that those batches take.
    pub settling_bytes: usize,
    /// Keys deleted since the start.
    pub keys_deleted: u64,
    /// Mapped rows that changed without their version, since the start.
    pub missed_version_bumps: u64,
    /// Invalidations that cover more than the change, since the start, by
    /// reason.
    pub widenings: BTreeMap<String, u64>,
    /// Every part that has reported.
    pub parts: Vec<PartStatus>,
    /// The month's paths of each distribution, in a process that sends paths.
    pub budgets: Vec<BudgetStatus>,
    /// Number of gaps on record.
    pub gaps: u64,
    /// The newest gaps, oldest first.
    pub recent_gaps: Vec<Gap>,
    /// Number of dead letters on record.
    pub dead_letters: u64,
    /// Those that an operator made messages again.
    #[serde(default)]
    pub dead_letters_put_back: u64,
    /// Those that were to be, and were not in the buffer any more.
    #[serde(default)]
    pub dead_letters_missed: u64,
    /// The newest others, oldest first.
    pub recent_dead_letters: Vec<DeadLetter>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub part: String,
    pub since: Option<Timestamp>,
    /// The fault, and what to do.
    pub text: String,
}

/// The stored position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPlace {
    pub position: BinlogPlace,
    /// When it was stored; none from disk.
    pub stored_at: Option<Timestamp>,
    /// Time since it was stored.
    pub age_seconds: Option<f64>,
    /// When the last transaction before the position was committed.
    pub committed_at: Option<Timestamp>,
}

/// The state of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    pub part: String,
    /// Since when it has been failing, if it is failing.
    pub trouble_since: Option<Timestamp>,
    /// Its last failure, which may be over.
    pub last_error: Option<String>,
    /// When it last failed.
    pub last_error_at: Option<Timestamp>,
}

impl StatusDocument {
    /// The status of this process.
    pub fn of(daemon: &Daemon, reports: &Reports) -> Self {
        let now = Timestamp::now();
        let snapshot = reports.board.snapshot();
        let ledger = reports.ledger.summary();
        let lag = snapshot.lag(now);
        let mut problems = stuck(&snapshot, ATTEMPT_MAX);
        let mut state = if problems.is_empty() {
            Health::Ok
        } else {
            Health::Stuck
        };
        let mut worse = |than: Health, problem: Problem| {
            if state == Health::Ok {
                state = than;
            }
            problems.push(problem);
        };
        for (part, found) in &snapshot.parts {
            if let (Some(since), Some((_, error))) = (found.trouble_since, &found.last_error) {
                let problem = Problem::new(part, Some(since), error.clone());
                worse(Health::Trouble, problem);
            }
        }
        if let Some(trouble) = reports.ledger.write_failure() {
            let problem = Problem::new("ledger", Some(trouble.since), trouble.error);
            worse(Health::Trouble, problem);
        }
        for gap in ledger.recent_gaps.iter().filter(|gap| gap.is_open()) {
            let text = format!(
                "changes after {} are lost: everything that rules cover is being invalidated; expect load on the database",
                gap.from
            );
            let problem = Problem::new("gap", Some(gap.begun_at), text);
            worse(Health::Trouble, problem);
        }
        let loaded = &daemon.loaded;
        if let Some((at, reason)) = &loaded.refused {
            let text = format!(
                "the file was refused, and the previous configuration stays in use: {reason}; correct the file and send SIGHUP again"
            );
            let problem = Problem::new("configuration", Some(*at), text);
            worse(Health::Trouble, problem);
        }
        for misfit in &loaded.misfits {
            let text = format!(
                "a rule does not fit the tables as they are, and widens wherever it does not: {misfit}; correct the rule or the table, then send SIGHUP"
            );
            let problem = Problem::new("rules", Some(loaded.at), text);
            worse(Health::Trouble, problem);
        }
        if let Some(lag) = lag.filter(|lag| *lag > daemon.lag_max) {
            let text = format!(
                "evictd is {} behind, and metrics.lag_max is {}: unless another problem explains it, evictd is catching up or is too slow",
                span(lag),
                span(daemon.lag_max)
            );
            let since = now.checked_sub(jiff::SignedDuration::try_from(lag).unwrap_or_default());
            worse(Health::Behind, Problem::new("lag", since.ok(), text));
        }
        let (leadership, leadership_since) = snapshot.leadership.unzip();
        if state == Health::Ok && leadership == Some(Leadership::StandsBy) {
            state = Health::Standby;
        }
        let connected = snapshot.connection_changed_at.map(|_| snapshot.connected);
        Self {
            name: daemon.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state,
            problems,
            role: Some(daemon.role.clone()),
            started_at: Some(daemon.started_at),
            config_loaded_at: Some(loaded.at),
            config_sha256: Some(loaded.hash.clone()),
            leadership: leadership.map(|leadership| leadership.to_string()),
            leadership_since,
            connected,
            connection_since: snapshot.connection_changed_at,
            position: snapshot
                .reading
                .as_ref()
                .and_then(|reading| reading.position.as_ref())
                .map(BinlogPlace::from),
            lag_seconds: lag.map(|lag| lag.as_secs_f64()),
            lag_seconds_max: Some(daemon.lag_max.as_secs_f64()),
            lag_bytes: snapshot.binlog_lag_bytes(),
            checkpoint: snapshot.stored.as_ref().map(|(at, position)| StoredPlace {
                position: position.into(),
                stored_at: Some(*at),
                age_seconds: Some(now.duration_since(*at).as_secs_f64()),
                committed_at: None,
            }),
            settling_batches: snapshot.settling_batches,
            settling_bytes: snapshot.settling_bytes,
            keys_deleted: snapshot.keys_deleted,
            missed_version_bumps: snapshot.missed_bumps,
            widenings: snapshot
                .widenings
                .iter()
                .map(|(reason, count)| (reason.to_string(), *count))
                .collect(),
            parts: snapshot.parts.iter().map(part_status).collect(),
            budgets: reports.board.budgets(),
            ..Self::of_ledger(&ledger)
        }
    }

    /// The status of a daemon that does not answer, from what it left on disk.
    pub fn from_disk(
        name: &str,
        stored: Option<&Stored>,
        ledger: &LedgerSummary,
        budgets: Vec<BudgetStatus>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            budgets,
            checkpoint: stored.map(|stored| StoredPlace {
                position: (&stored.position()).into(),
                stored_at: None,
                age_seconds: None,
                committed_at: stored.committed_at,
            }),
            ..Self::of_ledger(ledger)
        }
    }

    fn of_ledger(ledger: &LedgerSummary) -> Self {
        let newest = ledger.recent_dead_letters.iter().rev();
        let open = newest.filter(|letter| letter.redriven_at.is_none());
        let mut letters: Vec<_> = open.take(DEAD_LETTERS_SHOWN).cloned().collect();
        letters.reverse();
        Self {
            name: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: Health::NoDaemon,
            problems: Vec::new(),
            role: None,
            started_at: None,
            config_loaded_at: None,
            config_sha256: None,
            leadership: None,
            leadership_since: None,
            connected: None,
            connection_since: None,
            position: None,
            lag_seconds: None,
            lag_seconds_max: None,
            lag_bytes: None,
            checkpoint: None,
            settling_batches: 0,
            settling_bytes: 0,
            keys_deleted: 0,
            missed_version_bumps: 0,
            widenings: BTreeMap::new(),
            parts: Vec::new(),
            budgets: Vec::new(),
            gaps: ledger.gaps,
            recent_gaps: ledger.recent_gaps.iter().cloned().collect(),
            dead_letters: ledger.dead_letters,
            dead_letters_put_back: ledger.put_back,
            dead_letters_missed: ledger.missed,
            recent_dead_letters: letters,
        }
    }

    /// Whether every task makes progress, and a line that says so. A server
    /// that does not answer is not ill health, since a restart does not help.
    pub fn health(&self) -> (bool, String) {
        let first = self.problems.first();
        if self.state != Health::Stuck {
            let trouble = first.map_or(String::new(), |problem| {
                format!("; in trouble: {}: {}", problem.part, problem.text)
            });
            return (true, format!("ok: every task makes progress{trouble}"));
        }
        let text = first.map_or("", |problem| problem.text.as_str());
        (false, format!("stuck: {text}"))
    }

    fn trouble_of(&self, part: &Component) -> Option<&str> {
        let part = part.to_string();
        let trouble = self.problems.iter().find(|problem| problem.part == part)?;
        Some(&trouble.text)
    }

    /// Whether the daemon reads the binlog and is not too far behind, and a
    /// line that says so.
    pub fn readiness(&self) -> (bool, String) {
        let not = |text: String| (false, format!("not ready: {text}"));
        if self.leadership == Some(Leadership::StandsBy.to_string()) {
            let trouble = self.trouble_of(&Component::Leadership);
            return not(trouble
                .unwrap_or("it stands by while another evictd leads")
                .to_owned());
        }
        match (self.role.as_deref(), self.connected) {
            (Some("drain"), _) => return (true, "ready: it only drains".to_owned()),
            (_, Some(true)) => {}
            (_, None) => return not("it is starting".to_owned()),
            (_, Some(false)) => {
                let why = self.trouble_of(&Component::Source);
                let why = why.unwrap_or("it is connecting");
                return not(format!("not connected to the source: {why}"));
            }
        }
        let lag = self.lag_seconds.unwrap_or_default();
        let max = self.lag_seconds_max.unwrap_or(f64::INFINITY);
        if lag > max {
            return not(format!(
                "{lag:.1} s behind, and at most {max:.1} s are allowed"
            ));
        }
        (true, format!("ready: {lag:.1} s behind"))
    }

    /// The status as one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

impl Problem {
    fn new(part: impl ToString, since: Option<Timestamp>, text: String) -> Self {
        Self {
            part: part.to_string(),
            since,
            text,
        }
    }
}

/// The tasks whose current attempt takes longer than `attempt_max`.
pub fn stuck(snapshot: &Snapshot, attempt_max: Duration) -> Vec<Problem> {
    snapshot
        .parts
        .iter()
        .filter_map(|(part, found)| {
            let elapsed = found.busy_since?.elapsed();
            (elapsed > attempt_max).then(|| {
                let text = format!(
                    "the task of {part} has made no progress for {}: restart evictd, and report this",
                    span(elapsed)
                );
                Problem::new(part, None, text)
            })
        })
        .collect()
}

fn part_status((part, found): (&Component, &PartState)) -> PartStatus {
    let (at, error) = found.last_error.clone().unzip();
    PartStatus {
        part: part.to_string(),
        trouble_since: found.trouble_since,
        last_error: error,
        last_error_at: at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::status::daemon::Loaded;
    use crate::model::CommitTime;

    fn daemon() -> Daemon {
        Daemon {
            name: "shop".to_owned(),
            role: "all".to_owned(),
            started_at: Timestamp::now(),
            lag_max: Duration::from_secs(60),
            loaded: Loaded::of(""),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_makes_no_progress_is_stuck_and_one_that_retries_is_not() {
        let reports = Reports::default();
        let part = Component::Checkpoint;
        for _ in 0..10 {
            reports.board.started(&part);
            reports.board.failed(&part, "no space left".to_owned());
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let status = StatusDocument::of(&daemon(), &reports);
        assert_eq!((status.state, status.health().0), (Health::Trouble, true));
        tokio::time::advance(ATTEMPT_MAX).await;
        let status = StatusDocument::of(&daemon(), &reports);
        let (healthy, line) = status.health();
        assert_eq!((status.state, healthy), (Health::Stuck, false));
        assert!(
            line.contains("checkpoint") && line.contains("restart"),
            "{line}"
        );
        reports.board.idle(&part);
        assert!(
            StatusDocument::of(&daemon(), &reports).health().0,
            "it waits for work"
        );
    }

    #[test]
    fn it_is_ready_once_it_is_connected_and_only_within_the_lag_allowed() {
        let reports = Reports::default();
        let ready = || StatusDocument::of(&daemon(), &reports).readiness();
        assert_eq!(ready(), (false, "not ready: it is starting".to_owned()));
        reports.board.stands_by();
        let standby = StatusDocument::of(&daemon(), &reports);
        assert_eq!((standby.state, standby.health().0), (Health::Standby, true));
        assert!(ready().1.starts_with("not ready: it stands by"));
        reports.board.leads();
        reports.board.disconnected();
        assert!(!ready().0);
        reports.board.connected();
        assert!(ready().0);
        let reading = |age_us: u64| crate::progress::board::ReadingState {
            committed_at: CommitTime::from_micros(CommitTime::now().micros() - age_us),
            ..Default::default()
        };
        reports.board.reads(reading(59_000_000));
        assert!(ready().0);
        reports.board.reads(reading(61_000_000));
        assert!(!ready().0);
        assert_eq!(
            StatusDocument::of(&daemon(), &reports).state,
            Health::Behind
        );
        let drain = Daemon {
            role: "drain".to_owned(),
            ..daemon()
        };
        assert!(
            StatusDocument::of(&drain, &Reports::default())
                .readiness()
                .0
        );
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let reports = Reports::default();
        let gap =
            reports
                .ledger
                .gap_begun(BinlogPlace::default(), BinlogPlace::default(), "purged");
        reports.ledger.gap_done(gap);
        reports.ledger.halted(BinlogPlace::default(), "purged");
        let letter = DeadLetter::new("undecodable", "why", "what");
        reports.ledger.dead_letter(letter);
        let status = StatusDocument::of(&daemon(), &reports);
        let read: StatusDocument = serde_json::from_str(&status.json()).unwrap();
        assert_eq!(read.recent_gaps, status.recent_gaps);
        assert_eq!(read.recent_dead_letters, status.recent_dead_letters);
        assert_eq!(read.json(), status.json());
    }
}
