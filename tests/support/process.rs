//! Child processes that never outlive this one.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

const POLL_EVERY: Duration = Duration::from_millis(10);
const LOG_TAIL_LINES: usize = 40;

/// A running program. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Runs `command` with its output appended to `NAME.stdout` and `NAME.stderr` in `dir`.
    pub fn spawn(name: &str, command: &Command, dir: &Path) -> Self {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));

        // The kernel kills the child when the thread that started it ends.
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(current_dir) = command.get_current_dir() {
            wrapped.current_dir(current_dir);
        }
        wrapped
            .process_group(0) // Ctrl-C reaches this process alone, which then ends its children in order.
            .stdin(Stdio::null())
            .stdout(append_to(&stdout))
            .stderr(append_to(&stderr));
        let child = spawn_from_lasting_thread(wrapped)
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends a signal by name (`"TERM"`, `"STOP"`, …); no harm if the process has ended.
    pub fn signal(&mut self, signal: &str) {
        if self.exited().is_some() {
            return;
        }
        // Until it is waited for, the id stays this child's.
        let status = Command::new("sh")
            .args([
                "-c",
                "kill -s \"$1\" \"$2\"",
                "kill",
                signal,
                &self.pid().to_string(),
            ])
            .stderr(Stdio::null())
            .status()
            .expect("sh can be run");
        assert!(
            status.success() || self.exited().is_some(),
            "kill -s {signal} {} failed",
            self.name
        );
        // On a busy machine its threads may go on for a moment.
        while signal == "STOP" && !self.is_stopped() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether no thread of it runs (proc(5), `/proc/pid/stat`).
    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        threads.into_iter().flatten().flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            !state.starts_with(['R', 'S', 'D'])
        })
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            self.child.kill().expect("a child can be killed");
            self.child.wait().expect("a child can be waited for");
        }
    }

    /// Waits for the end; `None` if it still runs after `within`.
    pub async fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            pause().await;
        }
    }

    /// SIGTERM, then SIGKILL if that has not ended it `within`.
    pub async fn stop(&mut self, within: Duration) {
        self.signal("TERM");
        if self.wait(within).await.is_none() {
            self.kill();
        }
    }

    /// Polls until the server answers. Panics with the end of its log when it exits or takes too long.
    pub async fn ready(&mut self, within: Duration, mut answers: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + within;
        while !answers().await {
            if let Some(status) = self.exited() {
                panic!(
                    "{} ended ({status}) at its start\n{}",
                    self.name,
                    self.tail()
                );
            }
            assert!(
                Instant::now() < deadline,
                "{} does not answer after {within:?}\n{}",
                self.name,
                self.tail()
            );
            pause().await;
        }
    }

    /// The end of what it printed, for error messages.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for (stream, content) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let lines: Vec<&str> = content.lines().collect();
            let (_, last) = lines.split_at(lines.len().saturating_sub(LOG_TAIL_LINES));
            text.push_str(&format!(
                "--- {} {stream}:\n{}\n",
                self.name,
                last.join("\n")
            ));
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Polls until `check` gives a value. Panics with `what` when that takes longer than `within`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not after {within:?}: {what}");
        pause().await;
    }
}

/// Real time on purpose: servers do not follow a test's paused Tokio clock.
async fn pause() {
    tokio::task::spawn_blocking(|| std::thread::sleep(POLL_EVERY))
        .await
        .expect("sleeping does not panic");
}

/// Starts `command` from a thread that lives as long as the process.
///
/// The parent-death signal comes when the starting *thread* ends, and a test's thread ends with its test: a
/// server shared between tests would die with the first of them.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<Child> {
    type Job = (Command, mpsc::Sender<std::io::Result<Child>>);
    static JOBS: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, received) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for (mut command, reply) in received {
                    // A starter that has gone away drops the child unstarted or unwatched; either way it dies
                    // with this process.
                    drop(reply.send(command.spawn()));
                }
            })
            .expect("a thread can be started");
        jobs
    });
    let (reply, child) = mpsc::channel();
    JOBS.send((command, reply))
        .expect("the spawner lives as long as the process");
    child.recv().expect("the spawner answers every job")
}

fn append_to(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}

fn read_lossy(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
