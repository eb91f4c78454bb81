//! The lag of an Aurora cluster's readers behind the writer.
//!
//! Every instance of a cluster reports its lag about once a second, and the
//! writer lists the reports in a table of `information_schema` ("Replicas lag
//! behind the writer", Aurora user guide; the columns are the ones that AWS' own
//! drivers read). Untested on Aurora itself: the tests use a table of the same
//! shape.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::binlog::connection::client::Client;
use crate::binlog::connection::connector::Connector;
use crate::binlog::error::SourceError;
use crate::telemetry::metric;

/// The table as Aurora calls it.
pub const AURORA_TABLE: &str = "information_schema.replica_host_status";

const ASK_EVERY: Duration = Duration::from_secs(1);

/// Time after which a connection without an answer counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// Age beyond which a report says nothing about now.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Silence after which a reader is gone. Its row stays for a while; AWS' drivers
/// draw the line here.
const GONE_AFTER: Duration = Duration::from_secs(300);

/// Most that a report may seem to come from the future.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// The writer's changes that every reader has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadersApplied {
    /// Changes that were visible on the writer by then are visible on every reader.
    pub through: Instant,
    /// When that was known.
    pub seen_at: Instant,
}

#[derive(Clone, Debug)]
struct InstanceReport {
    server: String,
    is_writer: bool,
    /// `None`: not a number of milliseconds.
    lag: Option<Duration>,
    /// Age of the report in µs; negative if it seems to come from the future.
    age_us: Option<i64>,
}

/// A connection that asks for the readers' lag.
#[derive(Debug)]
pub struct ReplicaLag {
    connector: Connector,
    question: String,
    conn: Option<Client>,
}

impl ReplicaLag {
    /// Does not connect before the first question. `table` is the qualified name of the table
    /// that has the reports: [`AURORA_TABLE`].
    pub fn new(connector: Connector, table: &str) -> Self {
        // The age by the server's own clock, in whatever time zone it reports.
        let question = format!(
            "SELECT SERVER_ID, SESSION_ID = 'MASTER_SESSION_ID', REPLICA_LAG_IN_MILLISECONDS + 0e0, \
             TIMESTAMPDIFF(MICROSECOND, LAST_UPDATE_TIMESTAMP, NOW(6)) FROM {table}"
        );
        Self {
            connector,
            question,
            conn: None,
        }
    }

    /// Asks about once a second and publishes how far every reader is, for as
    /// long as somebody listens. While that is not known nothing is published:
    /// what was known before stays true.
    ///
    /// The metric shows `min` plus the slowest reader's lag, and `max` where
    /// that is more or not known.
    pub async fn follow(
        mut self,
        publish: watch::Sender<Option<ReadersApplied>>,
        min: Duration,
        max: Duration,
    ) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = true;
        while !publish.is_closed() {
            ticks.tick().await;
            let asked_at = Instant::now();
            let stretched = match self.ask().await {
                Ok(applied) => {
                    if !known {
                        tracing::info!("it is known again how far the readers are behind");
                    }
                    known = true;
                    publish.send_replace(Some(applied));
                    max.min(min + asked_at.saturating_duration_since(applied.through))
                }
                Err(error) => {
                    if known {
                        tracing::warn!(%error, settle_after_s = max.as_secs_f64(),
                            "it is not known how far the readers are behind: keys settle for as long as redis.settle_after allows");
                    }
                    known = false;
                    max
                }
            };
            metrics::gauge!(metric::SETTLE_AFTER).set(stretched.as_secs_f64());
        }
    }

    /// Asks how far every reader is.
    ///
    /// # Errors
    ///
    /// It is not known: no connection, no such table, or a report that is
    /// missing, stale or makes no sense.
    pub async fn ask(&mut self) -> Result<ReadersApplied, SourceError> {
        // Taken before the question: changes after it do not count.
        let asked_at = Instant::now();
        let answer = timeout(PATIENCE, self.reports()).await;
        let reports =
            answer.map_err(|_| self.connector.unreachable("no answer about the readers"))??;
        let through = applied(&reports, asked_at).map_err(|reason| self.connector.unfit(reason))?;
        let seen_at = Instant::now();
        Ok(ReadersApplied { through, seen_at })
    }

    /// The table may have its times in the server's own time zone, with which
    /// AWS' drivers compare them too.
    async fn connect(&self) -> Result<Client, SourceError> {
        let mut conn = self.connector.connect().await?;
        let zone = conn.query_drop("SET time_zone = @@GLOBAL.time_zone").await;
        zone.map_err(|error| self.not_read(&error))?;
        Ok(conn)
    }

    fn not_read(&self, error: &mysql_async::Error) -> SourceError {
        let doing = "read how far the readers are behind";
        self.connector.statement_error(error, doing, "SELECT")
    }

    async fn reports(&mut self) -> Result<Vec<InstanceReport>, SourceError> {
        // Taken out, so that a connection in the middle of a question is not
        // used again, however this ends.
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.connect().await?,
        };
        type LagRow = (String, Option<bool>, Option<f64>, Option<i64>);
        let rows: Result<Vec<LagRow>, _> = conn.query(&self.question).await;
        let rows = rows.map_err(|error| self.not_read(&error))?;
        self.conn = Some(conn);
        let report = |(server, is_writer, lag_ms, age_us): LagRow| InstanceReport {
            server,
            is_writer: is_writer == Some(true),
            lag: lag_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok()),
            age_us,
        };
        Ok(rows.into_iter().map(report).collect())
    }
}

/// The moment whose visible changes on the writer are visible on every reader,
/// or why it is not known.
fn applied(reports: &[InstanceReport], asked_at: Instant) -> Result<Instant, String> {
    if !reports.iter().any(|report| report.is_writer) {
        return Err("no instance reports that it is the writer".to_owned());
    }
    let age = |report: &InstanceReport| {
        let age_us = report.age_us?;
        match u64::try_from(age_us) {
            Ok(age_us) => Some(Duration::from_micros(age_us)),
            Err(_) => (Duration::from_micros(age_us.unsigned_abs()) <= AHEAD_MAX)
                .then_some(Duration::ZERO),
        }
    };
    // A reader counts as gone only while others report: else it is rather the
    // clocks that disagree.
    let reporting = reports
        .iter()
        .any(|report| age(report).is_some_and(|age| age <= STALE_AFTER));
    let mut through = asked_at;
    for report in reports.iter().filter(|report| !report.is_writer) {
        let server = &report.server;
        let (Some(lag), Some(age)) = (report.lag, age(report)) else {
            return Err(format!("reader {server} reports no lag, or at no time"));
        };
        if age > GONE_AFTER && reporting {
            continue;
        }
        if age > STALE_AFTER {
            let age_s = age.as_secs();
            return Err(format!("reader {server} reported last {age_s} s ago"));
        }
        let reader = asked_at
            .checked_sub(age.saturating_add(lag))
            .ok_or_else(|| format!("reader {server} reports a lag of {} s", lag.as_secs()))?;
        through = through.min(reader);
    }
    Ok(through)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(server: &str, lag_ms: Option<u64>, age_ms: Option<i64>) -> InstanceReport {
        InstanceReport {
            server: server.to_owned(),
            is_writer: server == "writer",
            lag: lag_ms.map(Duration::from_millis),
            age_us: age_ms.map(|ms| ms * 1_000),
        }
    }

    #[test]
    fn the_slowest_reader_counts_and_the_age_of_its_report_too() {
        let now = Instant::now() + Duration::from_secs(60);
        let writer = report("writer", Some(0), Some(400));
        let old_writer = report("writer", None, Some(86_400_000));
        let fast = report("fast", Some(10), Some(500));
        let slow = report("slow", Some(700), Some(100));
        let old = report("old", Some(5), Some(900));
        let ahead = report("ahead", Some(5), Some(-800));
        let gone = report("gone", Some(5), Some(301_000));
        let cases = [
            (vec![&writer], Ok(0)),
            // A cluster without readers has nothing to refresh its own report for.
            (vec![&old_writer], Ok(0)),
            (vec![&writer, &fast], Ok(510)),
            (vec![&fast, &writer, &slow], Ok(800)),
            (vec![&writer, &old, &slow], Ok(905)),
            (vec![&writer, &ahead], Ok(5)),
            (vec![&writer, &fast, &gone], Ok(510)),
            (vec![&old_writer, &fast, &gone], Ok(510)),
            (
                vec![&old_writer, &gone],
                Err("reader gone reported last 301 s ago"),
            ),
            (vec![], Err("the writer")),
            (vec![&fast], Err("the writer")),
        ];
        for (reports, expected) in cases {
            let reports: Vec<InstanceReport> = reports.into_iter().cloned().collect();
            let behind = applied(&reports, now).map(|through| now - through);
            match (behind, expected) {
                (Ok(behind), Ok(ms)) => assert_eq!(behind, Duration::from_millis(ms)),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (behind, expected) => panic!("{reports:?}: {behind:?} and not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_known() {
        let writer = report("writer", Some(0), Some(0));
        for reader in [
            report("r", None, Some(0)),
            report("r", Some(0), None),
            report("r", Some(0), Some(-1_001)),
            report("r", Some(0), Some(10_001)),
            report("r", Some(0), Some(i64::MIN / 1_000)),
        ] {
            let outcome = applied(&[writer.clone(), reader.clone()], Instant::now());
            assert!(outcome.is_err(), "{reader:?}: {outcome:?}");
        }
    }
}
