//! Every command in the documentation and in the help, run as it is written there, with the README's configuration and
//! real servers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::manual::{documented, words};
use crate::daemon::shop::WITHIN;
use crate::support::{
    EVICTD_PASSWORD, Mysql, MysqlOptions, Process, Redis, RedisOptions, free_port, scratch,
    shared_aws,
};

/// The tables of the README's rules, and changes in the binlog files that the documentation names.
const CHANGES: [&str; 4] = [
    "RESET BINARY LOGS AND GTIDS TO 41",
    "CREATE DATABASE shop;
     CREATE TABLE shop.users (
         id INT UNSIGNED PRIMARY KEY, slug VARCHAR(50) NOT NULL, name VARCHAR(100) NOT NULL DEFAULT 'Ada',
         email VARCHAR(100) NOT NULL DEFAULT '', version INT UNSIGNED NOT NULL DEFAULT 1);
     INSERT INTO shop.users (id, slug) VALUES (7, 'ada'), (8, 'grace'); FLUSH BINARY LOGS",
    "UPDATE shop.users SET name = 'Ada L.', version = version + 1; FLUSH BINARY LOGS",
    "UPDATE shop.users SET slug = 'grace', version = version + 1 WHERE id = 7",
];

struct World {
    _mysql: Mysql,
    _redis: Redis,
    env: Vec<(String, String)>,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let mysql = Mysql::start(MysqlOptions::default()).await;
        for sql in CHANGES {
            mysql.exec(sql).await;
        }
        let redis = Redis::start(RedisOptions::default()).await;
        let aws = shared_aws().await;
        let (queue, _) = aws.create_queue_with_dead_letters("documented", 5).await;
        let distribution = aws.create_distribution("documented").await;
        let dir = scratch("documented");
        let config = first_configuration()
            .lines()
            .filter(|line| !line.starts_with("tls = "))
            .map(|line| {
                let (field, _) = line.split_once(" = ").unwrap_or((line, ""));
                match field {
                    "url" if line.contains("mysql://") => format!("url = \"{}\"", mysql.url()),
                    "url" => format!("url = \"{}\"", redis.url()),
                    "queue_url" => format!("queue_url = \"{queue}\""),
                    "id" => format!("id = \"{distribution}\""),
                    _ => line.to_owned(),
                }
            })
            .collect::<Vec<_>>()
            .join("\n");
        let config = format!(
            "{config}\n[checkpoint]\npath = \"{}\"\n[metrics]\nlisten = \"127.0.0.1:{}\"\n",
            dir.path().join("shop.checkpoint.json").display(),
            free_port()
        );
        fs::write(dir.path().join("shop.toml"), &config).unwrap();
        let other = config.replace("user:{id}:profile", "user:{id}:page");
        assert_ne!(config, other);
        fs::write(dir.path().join("new.toml"), other).unwrap();
        // The machine's own configurations, and copies that the run books name.
        fs::create_dir_all(dir.path().join("etc/evictd")).unwrap();
        for file in [
            "etc/evictd/evictd.toml",
            "etc/evictd/drain-1.toml",
            "running.toml",
            "old-writer.toml",
        ] {
            fs::write(dir.path().join(file), &config).unwrap();
        }
        for file in ["mysql-bin.000041", "mysql-bin.000042"] {
            fs::copy(mysql.data_dir().join(file), dir.path().join(file)).unwrap();
        }
        let mut env = aws.env();
        for (name, value) in [
            ("EVICTD_CONFIG", "shop.toml"),
            ("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD),
        ] {
            env.push((name.to_owned(), value.to_owned()));
        }
        Self {
            _mysql: mysql,
            _redis: redis,
            env,
            dir,
        }
    }

    /// Runs one line. Absolute paths are taken as relative to the scratch directory.
    fn spawn(&self, line: &str) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evictd"));
        for word in words(line).iter().skip(1) {
            match word.strip_prefix('/') {
                Some(path) => command.arg(self.made(path)),
                None => command.arg(word),
            };
        }
        command
            .current_dir(self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let name = words(line).swap_remove(1);
        Process::spawn(&name, &command, &self.made("logs"))
    }

    /// Runs a line that ends by itself, and checks its exit code.
    async fn ends(&self, line: &str) {
        let mut evictd = self.spawn(line);
        let Some(status) = evictd.wait(WITHIN).await else {
            panic!("{line} does not end\n{}", evictd.tail());
        };
        let code = status.code().unwrap();
        assert!(
            codes(line).contains(&code),
            "{line} ended with {code}\n{}",
            evictd.tail()
        );
        assert!(!evictd.tail().contains("panicked"), "{}", evictd.tail());
    }

    /// Runs a line that is a daemon until it is healthy, and asks it to end.
    async fn serves(&self, line: &str) {
        let mut evictd = self.serving(line).await;
        evictd.signal("TERM");
        let Some(status) = evictd.wait(WITHIN).await else {
            panic!("{line} does not end\n{}", evictd.tail());
        };
        assert!(status.success(), "{line}: {status}\n{}", evictd.tail());
    }

    async fn serving(&self, line: &str) -> Process {
        let mut evictd = self.spawn(line);
        evictd
            .ready(WITHIN, async || {
                let mut health = self.spawn("evictd health");
                health
                    .wait(WITHIN)
                    .await
                    .is_some_and(|status| status.success())
            })
            .await;
        evictd
    }

    /// A file in the scratch directory, or else a directory that is created there.
    fn made(&self, path: &str) -> PathBuf {
        let here = self.dir.path().join(path);
        if !here.is_file() {
            fs::create_dir_all(&here).unwrap();
        }
        here
    }
}

/// Whether a line runs until it is asked to end.
fn is_daemon(line: &str) -> bool {
    let words = words(line);
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    has("run") || has("drain") && !has("--redrive")
}

/// The exit codes that a line may end with.
fn codes(line: &str) -> &'static [i32] {
    let checks = words(line).get(1).is_some_and(|word| word == "check");
    if checks && !line.contains("--offline") {
        // The distribution caches what the configuration calls strong.
        &[2]
    } else if line.contains("checkpoint set 3e11fa47-") {
        // These GTIDs are another server's.
        &[2]
    } else {
        &[0]
    }
}

#[tokio::test]
async fn every_command_in_the_documentation_and_in_the_help_does_what_it_is_for() {
    let world = World::new().await;
    let lines = documented();
    let (daemons, others): (Vec<&String>, Vec<&String>) =
        lines.iter().partition(|line| is_daemon(line));
    let (alone, beside): (Vec<&String>, Vec<&String>) = others
        .into_iter()
        .partition(|line| line.contains("checkpoint set") || line.contains("checkpoint clear"));
    assert!(daemons.len() > 3 && beside.len() > 12 && alone.len() > 1);

    let mut daemon = world.serving("evictd run").await;
    for line in beside {
        world.ends(line).await;
    }
    daemon.signal("TERM");
    assert!(
        daemon
            .wait(WITHIN)
            .await
            .is_some_and(|status| status.success())
    );
    for line in alone {
        world.ends(line).await;
    }
    for line in daemons {
        world.serves(line).await;
    }
}

/// The TOML in the README's section "A first configuration".
fn first_configuration() -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, after) = readme.split_once("## A first configuration").unwrap();
    let (_, after) = after.split_once("```toml").unwrap();
    after.split_once("```").unwrap().0.to_owned()
}
