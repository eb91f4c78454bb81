//! A MySQL server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Identity, Process, free_port, scratch, servers};

/// The password of the user `evictd`, who has the grants that evictd asks for and no more.
pub const EVICTD_PASSWORD: &str = "evict me";

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// How a server differs from the usual one.
#[derive(Clone, Debug)]
pub struct MysqlOptions {
    /// `gtid_mode` and `enforce_gtid_consistency`.
    pub gtid: bool,
    /// `binlog_row_metadata`: `FULL` or `MINIMAL`.
    pub row_metadata: &'static str,
    /// `lower_case_table_names=1`: names are stored in lower case, and compared without it. Takes a data directory
    /// of its own, which takes seconds to be made.
    pub lower_case_names: bool,
    /// What the server presents; otherwise a certificate it signed itself.
    pub tls: Option<Identity>,
    /// More arguments for `mysqld`; they win over all others.
    pub extra: Vec<String>,
}

impl Default for MysqlOptions {
    fn default() -> Self {
        Self {
            gtid: true,
            row_metadata: "FULL",
            lower_case_names: false,
            tls: None,
            extra: Vec::new(),
        }
    }
}

/// A running (or stopped) server with data and a binlog of its own.
#[derive(Debug)]
pub struct Mysql {
    process: Process,
    command_line: Vec<String>,
    port: u16,
    dir: TempDir,
}

impl Mysql {
    /// Starts a server on a new data directory.
    pub async fn start(options: MysqlOptions) -> Self {
        let port = free_port();
        let dir = scratch("mysql");
        let data = dir.path().join("data");
        let mut make_data = copying(&servers().mysql_data, &data);
        if options.lower_case_names {
            // The setting is fixed when a data directory is made.
            make_data = Command::new(&servers().mysqld);
            make_data
                .args(["--initialize-insecure", "--lower-case-table-names=1"])
                .arg(format!("--datadir={}", data.display()));
        }
        let made = make_data.output().expect("cp and mysqld can be run");
        let reason = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "no data directory: {reason}");

        // Run by the server at each start, before it listens; not in the binlog, and no GTID is spent on it.
        let init_file = dir.path().join("init.sql");
        std::fs::write(
            &init_file,
            format!(
                "SET sql_log_bin = 0;\n\
                 CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED WITH caching_sha2_password BY '';\n\
                 GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n\
                 CREATE USER IF NOT EXISTS 'evictd'@'%' IDENTIFIED WITH caching_sha2_password BY '{EVICTD_PASSWORD}';\n\
                 GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT, TRIGGER ON *.* TO 'evictd'@'%';\n"
            ),
        )
        .expect("the scratch directory is writable");

        let on_off = if options.gtid { "ON" } else { "OFF" };
        let mut command_line = vec![
            format!("--datadir={}", data.display()),
            format!("--init-file={}", init_file.display()),
            format!("--port={port}"),
            format!("--gtid-mode={on_off}"),
            format!("--enforce-gtid-consistency={on_off}"),
            format!("--binlog-row-metadata={}", options.row_metadata),
        ];
        command_line.extend(FIXED_OPTIONS.map(str::to_owned));
        if options.lower_case_names {
            command_line.push("--lower-case-table-names=1".to_owned());
        }
        if let Some(identity) = &options.tls {
            command_line.extend([
                format!("--ssl-ca={}", identity.ca.display()),
                format!("--ssl-cert={}", identity.certificate.display()),
                format!("--ssl-key={}", identity.key.display()),
            ]);
        }
        command_line.extend(options.extra);

        let process = spawn(&command_line, &dir);
        let mut mysql = Self {
            process,
            command_line,
            port,
            dir,
        };
        mysql.ready().await;
        mysql
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// For `source.url`: the user `evictd`, without its password ([`EVICTD_PASSWORD`]).
    pub fn url(&self) -> String {
        format!("mysql://evictd@127.0.0.1:{}", self.port)
    }

    /// Where the binlog files are.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// A new connection as root.
    pub async fn conn(&self) -> Conn {
        self.try_conn().await.unwrap_or_else(|error| {
            panic!("cannot connect to MySQL: {error}\n{}", self.process.tail())
        })
    }

    /// A new connection as root, if the server takes one.
    pub async fn try_conn(&self) -> mysql_async::Result<Conn> {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .prefer_socket(false);
        Conn::new(opts).await
    }

    /// Runs one statement or several, separated by `;`, as root.
    pub async fn exec(&self, sql: impl AsRef<str>) {
        let sql = sql.as_ref();
        let mut conn = self.conn().await;
        if let Err(error) = conn.query_drop(sql).await {
            panic!("{error}\nin: {sql}");
        }
        conn.disconnect().await.expect("a connection can be closed");
    }

    /// The rows of a query run as root.
    pub async fn rows<T>(&self, sql: impl AsRef<str>) -> Vec<T>
    where
        T: FromRow + Send + 'static,
    {
        let sql = sql.as_ref();
        let mut conn = self.conn().await;
        let rows = match conn.query(sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{error}\nin: {sql}"),
        };
        conn.disconnect().await.expect("a connection can be closed");
        rows
    }

    /// Shuts the server down in order. It can [`start_again`](Self::start_again).
    pub async fn stop(&mut self) {
        self.hang_up().await;
        self.process.stop(STOP_WITHIN).await;
    }

    /// Closes the connections that nobody uses at the moment, and takes no others but root's. While its binlog is read, a
    /// server that shuts down waits eight seconds for them.
    async fn hang_up(&self) {
        const IDLE: &str = "SELECT id FROM information_schema.processlist WHERE command = 'Sleep'";
        let Ok(mut conn) = self.try_conn().await else {
            return;
        };
        conn.query_drop("SET GLOBAL offline_mode = ON").await.ok();
        let idle: Vec<u64> = conn.query(IDLE).await.unwrap_or_default();
        for id in idle {
            // It may have gone by itself.
            conn.query_drop(format!("KILL {id}")).await.ok();
        }
        conn.disconnect().await.ok();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name: `"STOP"` freezes the server with its connections open, `"CONT"` lets it go on.
    pub fn signal(&mut self, signal: &str) {
        self.process.signal(signal);
    }

    /// Starts a stopped or killed server on its old port and data.
    pub async fn start_again(&mut self) {
        assert!(self.process.exited().is_some(), "the server still runs");
        self.process = spawn(&self.command_line, &self.dir);
        self.ready().await;
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Starts a stopped server with one more argument, this time only.
    pub async fn start_with(&mut self, argument: &str) {
        self.command_line.push(argument.to_owned());
        self.start_again().await;
        self.command_line.pop();
    }

    /// Keeps a copy of a stopped server's data and binlog, for [`put_back`](Self::put_back).
    pub fn copy_data(&self) {
        let kept = self.dir.path().join("copy");
        // Otherwise it would be copied into the one before.
        std::fs::remove_dir_all(&kept).ok();
        copy(&self.data_dir(), &kept);
    }

    /// Replaces a stopped server's data and binlog by the copy.
    pub fn put_back(&self) {
        std::fs::remove_dir_all(self.data_dir()).expect("the server is stopped");
        copy(&self.dir.path().join("copy"), &self.data_dir());
    }

    /// Starts another server on a copy of this one's data, with a UUID of its own. This one has to be stopped
    /// meanwhile.
    pub async fn copy(&self, server_id: u32) -> Self {
        let port = free_port();
        let dir = scratch("mysql");
        let data = dir.path().join("data");
        copy(&self.data_dir(), &data);
        std::fs::remove_file(data.join("auto.cnf")).expect("the server had a UUID");
        let init_file = dir.path().join("init.sql");
        std::fs::copy(self.dir.path().join("init.sql"), &init_file).expect("there is room");
        let mut command_line = self.command_line.clone();
        command_line.extend([
            format!("--datadir={}", data.display()),
            format!("--init-file={}", init_file.display()),
            format!("--port={port}"),
            format!("--server-id={server_id}"),
        ]);
        let process = spawn(&command_line, &dir);
        let mut copy = Self {
            process,
            command_line,
            port,
            dir,
        };
        copy.ready().await;
        copy
    }

    async fn ready(&mut self) {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .prefer_socket(false);
        let answers = async || match Conn::new(opts.clone()).await {
            Ok(conn) => conn.disconnect().await.is_ok(),
            Err(_) => false,
        };
        self.process.ready(READY_WITHIN, answers).await;
    }
}

/// Small, quick to start, and safe against a killed server (not against a machine that loses power).
const FIXED_OPTIONS: [&str; 25] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--mysqlx=OFF",
    "--socket=mysql.sock",
    "--pid-file=mysqld.pid",
    "--secure-file-priv=NULL",
    "--server-id=1",
    "--log-bin=mysql-bin",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--sync-binlog=0",
    "--log-error-verbosity=2",
    "--performance-schema=OFF",
    "--max-connections=100",
    "--table-open-cache=256",
    "--key-buffer-size=1M",
    "--temptable-max-ram=16M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    "--innodb-redo-log-capacity=32M",
    "--innodb-doublewrite=OFF",
    "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-fast-shutdown=1",
];

fn copying(from: &Path, to: &Path) -> Command {
    let mut command = Command::new("cp");
    command.args(["-r", "--sparse=always", "--"]);
    command.args([from, to]);
    command
}

fn copy(from: &Path, to: &Path) {
    let status = copying(from, to).status().expect("cp can be run");
    assert!(status.success(), "{}: {status}", to.display());
}

fn spawn(command_line: &[String], dir: &TempDir) -> Process {
    let mut command = Command::new(&servers().mysqld);
    command.args(command_line);
    Process::spawn("mysqld", &command, dir.path())
}

/// One server for every test that leaves it as it found it: its own schema, no `RESET`, `PURGE`, `SET GLOBAL` or
/// restart.
pub async fn shared_mysql() -> &'static Mysql {
    static SHARED: OnceCell<Mysql> = OnceCell::const_new();
    SHARED
        .get_or_init(|| Mysql::start(MysqlOptions::default()))
        .await
}
