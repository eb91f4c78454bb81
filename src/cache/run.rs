//! What a server says of its process, and of what it loaded and saved.

use std::collections::HashMap;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::outcome::CacheError;
use crate::redis::connection::Connection;

/// A process that holds entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRun {
    pub address: String,
    /// The run id and the replication id: another process, or one that was a
    /// replica in between, has another.
    pub id: String,
    /// The replication id of the primary that it was a replica of, if it was one.
    pub succeeds: Option<String>,
    /// The time since the process began, rounded down to seconds.
    pub up: Duration,
    /// Whether it is known to have begun without any entry.
    pub began_empty: bool,
    /// Whether a change counts only once replicas have it, which take over with it.
    pub replicated: bool,
    /// Whether it appends changes to a file, besides saving snapshots.
    pub appends: bool,
    /// When it last saved a snapshot, by its own clock. Only a change counts.
    pub saved_at: String,
    /// The time that the last snapshot took, rounded down to seconds.
    pub saving_took: Duration,
}

/// Asks every primary about itself.
pub(super) async fn runs(connection: &mut Connection) -> Result<Vec<ServerRun>, CacheError> {
    let replicated = connection.is_replicated();
    let mut runs = Vec::new();
    for primary in connection.keyspace().await?.primaries {
        let answer = connection.run_at(&primary, redis::cmd("INFO")).await?;
        let run = redis::from_redis_value::<String>(answer)
            .map_err(RedisError::from)
            .and_then(|info| parse(&info, primary.to_string()));
        let run = run.map_err(|error| connection.failed(&error))?;
        runs.push(ServerRun { replicated, ..run });
    }
    Ok(runs)
}

/// Reads the answer of a primary to INFO.
fn parse(info: &str, address: String) -> Result<ServerRun, RedisError> {
    let fields: HashMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let text = |name: &str| fields.get(name).copied().unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().ok();
    let server = |kind, text| RedisError::from((ErrorKind::Server(kind), text));
    if text("loading") == "1" {
        return Err(server(ServerErrorKind::BusyLoading, "it loads its entries"));
    }
    if text("role") == "slave" {
        return Err(server(ServerErrorKind::ReadOnly, "it is a replica"));
    }
    let (Some(run_id), Some(up_s)) = (fields.get("run_id"), number("uptime_in_seconds")) else {
        return Err((ErrorKind::UnexpectedReturnType, "INFO has no run_id").into());
    };
    let appends = text("aof_enabled") == "1";
    // A replica that took over has had entries from another server.
    let succeeds = text("master_replid2");
    let had_primary = succeeds.bytes().any(|digit| digit != b'0');
    Ok(ServerRun {
        address,
        id: format!("{run_id}/{}", text("master_replid")),
        succeeds: had_primary.then(|| succeeds.to_owned()),
        up: Duration::from_secs(up_s),
        // From Redis 7 on. The file that changes are appended to does not count.
        began_empty: !appends && !had_primary && number("rdb_last_load_keys_loaded") == Some(0),
        replicated: false,
        appends,
        saved_at: text("rdb_last_save_time").to_owned(),
        // -1 before the first one.
        saving_took: Duration::from_secs(number("rdb_last_bgsave_time_sec").unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_says_when_it_began_and_what_it_has_of_before() {
        let info = "# Server\r\nrun_id:ab\r\nuptime_in_seconds:7\r\n# Persistence\r\nloading:0\r\n\
            rdb_last_save_time:1700000000\r\nrdb_last_bgsave_time_sec:-1\r\naof_enabled:0\r\n\
            rdb_last_load_keys_loaded:0\r\n# Replication\r\nrole:master\r\nmaster_replid:cd\r\nmaster_replid2:0000\r\n";
        let parse = |info: &str| parse(info, "cache:6379".to_owned());
        let run = parse(info).unwrap();
        assert_eq!((run.id.as_str(), run.up.as_secs()), ("ab/cd", 7));
        assert_eq!(run.saved_at, "1700000000");
        assert!(run.began_empty);
        for (from, to) in [
            ("loaded:0", "loaded:3"),
            ("aof_enabled:0", "aof_enabled:1"),
            ("rdb_last_load_keys_loaded:0\r\n", ""),
            ("master_replid2:0000", "master_replid2:0ab0"),
        ] {
            let run = parse(&info.replace(from, to)).unwrap();
            assert!(!run.began_empty, "{to}");
            let succeeds = to.strip_prefix("master_replid2:").map(str::to_owned);
            assert_eq!(run.succeeds, succeeds);
        }
        for (from, to) in [
            ("loading:0", "loading:1"),
            ("role:master", "role:slave"),
            ("run_id:ab\r\n", ""),
        ] {
            assert!(parse(&info.replace(from, to)).is_err(), "{to}");
        }
    }
}
