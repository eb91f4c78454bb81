//! A Redis server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::{Identity, Process, eventually, free_port, scratch, servers};

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How a server differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Keeps every write on disk, so that keys survive `stop` and even `kill`. Otherwise a stopped server
    /// starts again empty.
    pub append_only: bool,
    /// Also listens with TLS, at [`Redis::tls_url`].
    pub tls: Option<Identity>,
    /// More arguments for `redis-server`; they win over all others.
    pub extra: Vec<String>,
}

/// A running (or stopped) server.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    command_line: Vec<String>,
    port: u16,
    tls_port: Option<u16>,
    dir: TempDir,
}

impl Redis {
    pub async fn start(options: RedisOptions) -> Self {
        Self::start_at(free_port(), options).await
    }

    /// CONFIG SET.
    pub async fn configure(&self, name: &str, value: &str) {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg(name).arg(value);
        let _: () = set.query_async(&mut self.conn().await).await.unwrap();
    }

    /// Lets it take nothing more that needs memory beyond `bytes`; 0: any.
    pub async fn limit_memory(&self, bytes: u64) {
        self.configure("maxmemory-policy", "noeviction").await;
        self.configure("maxmemory", &bytes.to_string()).await;
    }

    pub async fn start_at(port: u16, options: RedisOptions) -> Self {
        let dir = scratch("redis");
        let append_only = if options.append_only { "yes" } else { "no" };
        let mut command_line: Vec<String> = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--daemonize",
            "no",
            "--appendonly",
            append_only,
            "--appendfsync",
            "no",
            "--port",
        ]
        .map(str::to_owned)
        .to_vec();
        command_line.push(port.to_string());
        let mut tls_port = None;
        if let Some(identity) = &options.tls {
            let port = *tls_port.insert(free_port());
            for (name, value) in [
                ("--tls-port", port.to_string()),
                (
                    "--tls-cert-file",
                    identity.certificate.display().to_string(),
                ),
                ("--tls-key-file", identity.key.display().to_string()),
                ("--tls-ca-cert-file", identity.ca.display().to_string()),
                ("--tls-auth-clients", "no".to_owned()),
            ] {
                command_line.extend([name.to_owned(), value]);
            }
        }
        command_line.extend(options.extra);

        let process = spawn(&command_line, &dir);
        let mut redis = Self {
            process,
            command_line,
            port,
            tls_port,
            dir,
        };
        redis.ready().await;
        redis
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it has neither been stopped nor killed.
    pub fn is_running(&self) -> bool {
        // A process that was waited for is gone from there.
        Path::new("/proc").join(self.pid().to_string()).exists()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Of a server started with [`RedisOptions::tls`].
    pub fn tls_url(&self) -> String {
        let port = self.tls_port.expect("started with TLS");
        format!("rediss://127.0.0.1:{port}/0")
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("the URL is well formed")
    }

    pub async fn conn(&self) -> MultiplexedConnection {
        // A busy machine answers late, and what is tested is something else.
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(READY_WITHIN))
            .set_response_timeout(Some(READY_WITHIN));
        self.client()
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap_or_else(|error| {
                panic!("cannot connect to Redis: {error}\n{}", self.process.tail())
            })
    }

    /// Every key, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.conn().await.keys("*").await.expect("KEYS answers");
        keys.sort();
        keys
    }

    pub async fn stop(&mut self) {
        self.process.stop(STOP_WITHIN).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name: `"STOP"` freezes the server with its connections open, `"CONT"` lets it go on.
    pub fn signal(&mut self, signal: &str) {
        self.process.signal(signal);
    }

    /// Removes the snapshot that the next start would begin with.
    pub fn forget_snapshot(&self) {
        std::fs::remove_file(self.dir.path().join("dump.rdb")).ok();
    }

    /// Starts a stopped or killed server on its old port.
    pub async fn start_again(&mut self) {
        self.start_again_with(&[]).await;
    }

    /// Starts a stopped or killed server on its old port, with more arguments this time.
    pub async fn start_again_with(&mut self, arguments: &[&str]) {
        assert!(self.process.exited().is_some(), "the server still runs");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        let command_line: Vec<String> =
            self.command_line.iter().cloned().chain(arguments).collect();
        self.process = spawn(&command_line, &self.dir);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let client = redis::Client::open(self.url()).expect("the URL is well formed");
        let answers = async || match client.get_multiplexed_async_connection().await {
            // Fails with LOADING until the append-only file is read.
            Ok(mut conn) => redis::cmd("PING")
                .query_async::<()>(&mut conn)
                .await
                .is_ok(),
            Err(_) => false,
        };
        self.process.ready(READY_WITHIN, answers).await;
    }
}

fn spawn(command_line: &[String], dir: &TempDir) -> Process {
    let mut command = Command::new(&servers().redis_server);
    command.args(command_line).current_dir(dir.path());
    Process::spawn("redis-server", &command, dir.path())
}
