//! evictd as a process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Process, eventually, scratch};

/// What to run.
#[derive(Clone, Debug)]
pub struct EvictdOptions {
    /// The built program: `env!("CARGO_BIN_EXE_evictd")` in tests.
    pub binary: PathBuf,
    /// The subcommand and its arguments; `--config FILE` is appended.
    pub args: Vec<String>,
    /// The configuration file's text.
    pub config: String,
    /// Added to the environment, from which everything AWS and evictd is removed first.
    pub env: Vec<(String, String)>,
}

impl EvictdOptions {
    /// `evictd run` with this configuration.
    pub fn run(binary: impl AsRef<Path>, config: impl Into<String>) -> Self {
        Self {
            binary: binary.as_ref().to_owned(),
            args: vec!["run".to_owned()],
            config: config.into(),
            env: Vec::new(),
        }
    }

    /// Another command line instead of `run`.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn envs(mut self, env: Vec<(String, String)>) -> Self {
        self.env.extend(env);
        self
    }
}

/// A running evictd. Dropping it kills it.
#[derive(Debug)]
pub struct Evictd {
    process: Process,
    dir: TempDir,
}

/// An evictd that has ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Evictd {
    pub fn start(options: &EvictdOptions) -> Self {
        let dir = scratch("evictd");
        let config = dir.path().join("evictd.toml");
        std::fs::write(&config, &options.config).expect("the scratch directory is writable");
        let mut command = Command::new(&options.binary);
        command.args(&options.args).arg("--config").arg(config);
        for (name, _) in std::env::vars_os() {
            let prefix = name.to_string_lossy();
            if [
                "AWS_",
                "EVICTD_",
                "NOTIFY_SOCKET",
                "WATCHDOG_",
                "CREDENTIALS_DIRECTORY",
            ]
            .iter()
            .any(|ours| prefix.starts_with(ours))
            {
                command.env_remove(name);
            }
        }
        command.envs(options.env.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn("evictd", &command, dir.path());
        Self { process, dir }
    }

    /// Runs a command that ends by itself, such as `check` or `plan`.
    pub async fn finish(options: &EvictdOptions, within: Duration) -> Finished {
        let mut evictd = Self::start(options);
        let status = evictd.exit(within).await;
        Finished {
            code: status.code(),
            stdout: evictd.stdout(),
            stderr: evictd.stderr(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Replaces its configuration file.
    pub fn rewrite(&self, config: &str) {
        let file = self.dir.path().join("evictd.toml");
        std::fs::write(file, config).expect("the scratch directory is writable");
    }

    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// What it has logged so far, wherever it logs to.
    pub fn lines(&self) -> Vec<String> {
        let text = self.stdout() + &self.stderr();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line that contains `needle` and returns it. Panics with the log when evictd ends before, or
    /// takes longer than `within`.
    pub async fn wait_for_line(&mut self, needle: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        let process = &mut self.process;
        eventually("a line in evictd's log", within + within, async || {
            let ended = process.exited();
            let text = process.stdout() + &process.stderr();
            let found = text.lines().find(|line| line.contains(needle));
            if found.is_none() {
                assert!(
                    ended.is_none() && Instant::now() < deadline,
                    "no line {needle:?} (ended: {ended:?})\n{}",
                    process.tail()
                );
            }
            found.map(str::to_owned)
        })
        .await
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// SIGTERM: asks it to end in order.
    pub fn terminate(&mut self) {
        self.process.signal("TERM");
    }

    /// Sends a signal by name.
    pub fn signal(&mut self, signal: &str) {
        self.process.signal(signal);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for its end. Panics with the log when it still runs after `within`.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        match self.process.wait(within).await {
            Some(status) => status,
            None => panic!(
                "evictd still runs after {within:?}\n{}",
                self.process.tail()
            ),
        }
    }

    /// The end of its log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}
