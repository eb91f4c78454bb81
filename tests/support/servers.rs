//! Where the server programs are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::provision::provision;

/// The programs that `scripts/provision` found or unpacked.
#[derive(Debug)]
pub struct Servers {
    pub mysqld: PathBuf,
    pub mysql: PathBuf,
    /// An initialised data directory without a server UUID, to be copied.
    pub mysql_data: PathBuf,
    pub redis_server: PathBuf,
    pub redis_cli: PathBuf,
    pub redis_benchmark: PathBuf,
    pub ministack: PathBuf,
}

/// Runs `scripts/provision` once per process (30 ms when nothing is missing) and reads what it wrote.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        provision("servers");
        let env_file = cache_dir().join("env");
        let text = std::fs::read_to_string(&env_file)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", env_file.display()));
        let values: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let path = |key: &str| {
            let value = values.get(key);
            PathBuf::from(value.unwrap_or_else(|| panic!("{} has no {key}", env_file.display())))
        };
        Servers {
            mysqld: path("MYSQLD"),
            mysql: path("MYSQL"),
            mysql_data: path("MYSQL_DATA"),
            redis_server: path("REDIS_SERVER"),
            redis_cli: path("REDIS_CLI"),
            redis_benchmark: path("REDIS_BENCHMARK"),
            ministack: path("MINISTACK"),
        }
    })
}

/// The same rule as in `scripts/provision`.
pub(super) fn cache_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set("EVICTD_SERVERS") {
        return dir.into();
    }
    let base = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")));
    base.expect("HOME is set").join("evictd/servers")
}
