//! Notifications to the service manager: that the daemon is up, how it is
//! doing, that it makes progress, and that it ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shown::Shown;
use crate::command::shutdown::{GRACE, LEDGER_GRACE};
use crate::command::status::daemon::Daemon;
use crate::command::status::document::{ATTEMPT_MAX, Health, StatusDocument, stuck};
use crate::command::{CommandError, status};
use crate::progress::board::{Component, Leadership, Snapshot};
use crate::telemetry::systemd::{self, Supervisor};

/// Interval between two looks at whether the start is over.
const STARTING: Duration = Duration::from_millis(100);

/// Longest interval between two looks at the daemon after its start.
const RUNNING: Duration = Duration::from_secs(5);

/// Shortest interval between two status lines: the position changes all the
/// time.
const STATUS_INTERVAL: Duration = Duration::from_secs(20);

/// Number of times the watchdog is fed within its limit.
const TIMES_ALIVE: u32 = 4;

/// Time that a shutdown needs beyond the grace periods.
const STOP_MARGIN: Duration = Duration::from_secs(3);

/// Keeps the service manager informed until the process ends, if a service
/// manager started it. The token is cancelled once the manager was told that the
/// process is stopping.
pub(super) fn report(
    shown: watch::Receiver<Shown>,
    shutdown: &CancellationToken,
) -> Result<Option<CancellationToken>, CommandError> {
    let refused = |error| CommandError::failed(anyhow::Error::new(error).context("NOTIFY_SOCKET"));
    let Some(supervisor) = Supervisor::of_environment().map_err(refused)? else {
        return Ok(None);
    };
    let told_stopping = CancellationToken::new();
    let service = Service {
        supervisor,
        watchdog: systemd::watchdog(),
        shown,
        told_stopping: told_stopping.clone(),
        starving: false,
        unheard: false,
    };
    tokio::spawn(service.run(shutdown.clone()));
    Ok(Some(told_stopping))
}

/// A daemon that a service manager started.
struct Service {
    supervisor: Supervisor,
    /// The watchdog's limit: the time for which evictd may be silent.
    watchdog: Option<Duration>,
    shown: watch::Receiver<Shown>,
    /// Cancelled once the manager was told that the process is stopping.
    told_stopping: CancellationToken,
    /// Whether the watchdog is not being fed.
    starving: bool,
    /// Whether the last message did not reach the manager.
    unheard: bool,
}

impl Service {
    /// Never returns: the watchdog watches until the process is gone.
    async fn run(mut self, shutdown: CancellationToken) {
        let mut up = false;
        let mut stopping = false;
        let mut told = String::new();
        let mut status_due = Instant::now();
        loop {
            let Shown {
                daemon, reports, ..
            } = self.shown.borrow().clone();
            let snapshot = reports.board.snapshot();
            if !up && is_up(&daemon, &snapshot) {
                // Sent again if it does not reach the manager.
                up = self.heard(self.supervisor.ready());
                status_due = Instant::now();
            }
            self.feed(&snapshot);
            if shutdown.is_cancelled() && !stopping {
                let within = GRACE + LEDGER_GRACE + STOP_MARGIN;
                stopping = self.heard(self.supervisor.stopping(within));
                if stopping {
                    self.told_stopping.cancel();
                }
                status_due = Instant::now();
            }
            if status_due <= Instant::now() {
                let text = if stopping {
                    "finishing what is in flight".to_owned()
                } else {
                    line(&StatusDocument::of(&daemon, &reports), up)
                };
                if text != told && self.heard(self.supervisor.status(&text)) {
                    told = text;
                    status_due = Instant::now() + STATUS_INTERVAL;
                }
            }
            let pause = tokio::time::sleep(self.pause(up));
            if shutdown.is_cancelled() {
                pause.await;
            } else {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = pause => {}
                }
            }
        }
    }

    /// Feeds the watchdog if every task makes progress. The judgement is that
    /// of `/healthz`, with the watchdog's limit if that is shorter. Tasks say
    /// on the board when they begin an attempt and when it ends; a timer alone
    /// never feeds the watchdog.
    fn feed(&mut self, snapshot: &Snapshot) {
        let Some(limit) = self.watchdog else {
            return;
        };
        let stuck = stuck(snapshot, limit.min(ATTEMPT_MAX));
        let Some(problem) = stuck.first() else {
            self.starving = false;
            self.heard(self.supervisor.alive());
            return;
        };
        if !std::mem::replace(&mut self.starving, true) {
            tracing::error!(
                part = problem.part,
                watchdog_s = limit.as_secs_f64(),
                "a task makes no progress: unless it goes on, systemd's watchdog restarts evictd"
            );
        }
    }

    fn pause(&self, up: bool) -> Duration {
        let pause = if up { RUNNING } else { STARTING };
        self.watchdog
            .map_or(pause, |limit| pause.min(limit / TIMES_ALIVE))
    }

    /// Whether the manager was told. READY and STOPPING are sent again if not;
    /// of the others, the next message replaces the lost one.
    fn heard(&mut self, told: std::io::Result<()>) -> bool {
        match told {
            Ok(()) => {
                self.unheard = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unheard, true) {
                    tracing::warn!(%error, "the service manager cannot be notified; trying again until that works");
                }
                false
            }
        }
    }
}

/// Whether the start is over: the first packet of the binlog came, the queue
/// answered, or another process leads. For a dry run, it is enough to be
/// connected.
fn is_up(daemon: &Daemon, snapshot: &Snapshot) -> bool {
    match daemon.role.as_str() {
        // The queue and the distributions are asked before the drain begins.
        "drain" => snapshot.parts.contains_key(&Component::Drain),
        "dry-run" => snapshot.connected,
        _ => {
            let stands_by = matches!(snapshot.leadership, Some((Leadership::StandsBy, _)));
            stands_by
                || snapshot
                    .reading
                    .as_ref()
                    .is_some_and(|reading| reading.heard)
        }
    }
}

/// The status line that `systemctl status` shows.
fn line(status: &StatusDocument, up: bool) -> String {
    let lag = Duration::try_from_secs_f64(status.lag_seconds.unwrap_or_default());
    let lag = status::span::span(lag.unwrap_or_default());
    let place = match (up, &status.position) {
        (false, _) => "starting".to_owned(),
        (true, _) if status.state == Health::Standby => {
            "another process leads, standing by".to_owned()
        }
        (true, Some(position)) => format!("read up to {position}, lag {lag}"),
        (true, None) => "running".to_owned(),
    };
    match (status.state, status.problems.first()) {
        (Health::Ok, _) | (_, None) => place,
        (_, Some(problem)) => format!("{place}; {}: {}", problem.part, problem.text),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use jiff::Timestamp;

    use super::*;
    use crate::command::status::daemon::Loaded;
    use crate::progress::board::ReadingState;
    use crate::progress::board::Reports;

    /// A manager's socket, and a service that reports there.
    struct Manager {
        socket: UnixDatagram,
        _dir: tempfile::TempDir,
        reports: Reports,
        shutdown: CancellationToken,
    }

    impl Manager {
        fn of(role: &str, watchdog: Option<Duration>) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            let reports = Reports::default();
            let shutdown = CancellationToken::new();
            let service = Service {
                supervisor: Supervisor::at(path.to_str().unwrap()).unwrap(),
                watchdog,
                shown: watch::Sender::new(Shown {
                    daemon: Daemon {
                        name: "shop".to_owned(),
                        role: role.to_owned(),
                        started_at: Timestamp::now(),
                        lag_max: Duration::from_secs(60),
                        loaded: Loaded::of(""),
                    },
                    reports: reports.clone(),
                    listens: None,
                })
                .subscribe(),
                told_stopping: CancellationToken::new(),
                starving: false,
                unheard: false,
            };
            tokio::spawn(service.run(shutdown.clone()));
            Self {
                socket,
                _dir: dir,
                reports,
                shutdown,
            }
        }

        /// The messages sent since the last time, after `time` has passed.
        async fn after(&self, time: Duration) -> Vec<String> {
            tokio::time::sleep(time).await;
            let mut messages = Vec::new();
            let mut bytes = [0; 2048];
            while let Ok(length) = self.socket.recv(&mut bytes) {
                messages.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
            }
            messages
        }

        fn hears(&self) {
            let reading = ReadingState {
                heard: true,
                drained: true,
                ..ReadingState::default()
            };
            self.reports.board.reads(reading);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_up_once_the_first_packet_came_and_not_when_it_is_connected() {
        let manager = Manager::of("all", None);
        assert_eq!(manager.after(SECOND).await, ["STATUS=starting"]);
        manager.reports.board.connected();
        manager.reports.board.reads(ReadingState::default());
        manager.reports.board.started(&Component::Drain);
        manager.reports.board.idle(&Component::Drain);
        assert_eq!(manager.after(60 * SECOND).await, [""; 0]);
        manager.hears();
        let up = manager.after(SECOND).await;
        assert_eq!(up, ["READY=1", "STATUS=running"]);
        assert_eq!(manager.after(600 * SECOND).await, [""; 0], "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_up_once_it_drains() {
        let manager = Manager::of("drain", None);
        manager.reports.board.connected();
        assert_eq!(manager.after(SECOND).await, ["STATUS=starting"]);
        manager.reports.board.started(&Component::Drain);
        let up = manager.after(SECOND).await;
        assert_eq!(up, ["READY=1", "STATUS=running"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_by_progress_and_not_by_time() {
        for (watchdog, limit) in [
            (Duration::from_secs(40), Duration::from_secs(40)),
            // `/healthz` would have called it stuck long before.
            (Duration::from_secs(3_600), ATTEMPT_MAX),
        ] {
            let manager = Manager::of("all", Some(watchdog));
            manager.hears();
            // Neither an idle task nor one attempt after the other is a
            // standstill.
            for _ in 0..10 {
                let idle = manager.after(limit).await;
                assert!(
                    idle.iter().any(|message| message == "WATCHDOG=1"),
                    "{idle:?}"
                );
                manager.reports.board.started(&Component::Cache);
            }
            manager.reports.board.started(&Component::Cache);
            manager.after(limit + RUNNING).await;
            let silent = manager.after(10 * watchdog).await;
            assert!(
                !silent.iter().any(|message| message == "WATCHDOG=1"),
                "{silent:?}"
            );
            manager.reports.board.idle(&Component::Cache);
            let again = manager.after(watchdog).await;
            assert!(
                again.iter().any(|message| message == "WATCHDOG=1"),
                "{again:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn people_are_told_a_few_times_a_minute_what_is_wrong() {
        let manager = Manager::of("all", None);
        manager.hears();
        manager.after(SECOND).await;
        let mut count = 0;
        for number in 0..120 {
            manager
                .reports
                .board
                .failed(&Component::Cache, format!("attempt {number}\nof many"));
            for message in manager.after(SECOND).await {
                assert!(message.contains("; cache: attempt"), "{message}");
                assert_eq!(message.lines().count(), 1, "{message}");
                count += 1;
            }
        }
        assert!((2..=7).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_announced_with_the_time_that_it_takes_and_is_watched() {
        let manager = Manager::of("all", Some(20 * SECOND));
        manager.hears();
        manager.after(SECOND).await;
        manager.shutdown.cancel();
        let end = manager.after(SECOND).await;
        assert!(
            end.contains(&"STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000".to_owned()),
            "{end:?}"
        );
        assert!(
            end.contains(&"STATUS=finishing what is in flight".to_owned()),
            "{end:?}"
        );
        let later = manager.after(30 * SECOND).await;
        assert!(
            later.iter().all(|message| message == "WATCHDOG=1"),
            "{later:?}"
        );
        assert!(!later.is_empty());
    }
}
