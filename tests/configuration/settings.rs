//! Defaults, and what sections make of each other.

use std::path::PathBuf;
use std::time::Duration;

use evictd::config::{self, CheckpointConfig, SettleConfig, TlsMode};
use evictd::model::position::{OnGap, Start};

use super::smallest::{SMALLEST, refusal};

#[test]
fn the_smallest_configuration_has_safe_defaults() {
    let config = config::parse(SMALLEST).unwrap();
    assert_eq!(
        config.checkpoint,
        CheckpointConfig::File {
            path: PathBuf::from("/var/lib/evictd/shop.checkpoint.json")
        }
    );
    assert_eq!(
        config.source.tls.mode,
        TlsMode::Disabled,
        "the host is a loopback address"
    );
    assert_eq!(
        (config.source.server_id, config.source.start),
        (None, Start::Current)
    );
    assert_eq!(
        (config.source.heartbeat, config.source.on_gap),
        (Duration::from_secs(10), OnGap::InvalidateAll)
    );
    assert!(config.buffer.is_none() && config.cloudfront.is_none());
    assert_eq!(config.metrics_listen, None);
    assert_eq!(config.lag_max, Duration::from_secs(60));
    assert_eq!(config.log_level, None);
    for level in ["warn", "info,evictd=debug", "info,evictd::evict=trace"] {
        let config = config::parse(&format!("{SMALLEST}[log]\nlevel = \"{level}\"\n")).unwrap();
        assert_eq!(config.log_level.as_deref(), Some(level));
    }
    assert_eq!(config.ledger_dir, Some(PathBuf::from("/var/lib/evictd")));
    let elsewhere = format!("{SMALLEST}[ledger]\ndir = \"/var/log/evictd\"\n");
    let elsewhere = config::parse(&elsewhere).unwrap();
    assert_eq!(elsewhere.ledger_dir, Some(PathBuf::from("/var/log/evictd")));
    let far =
        config::parse(&SMALLEST.replace("evictd@127.0.0.1:3306", "a%40b@db.example")).unwrap();
    assert_eq!(far.source.tls.mode, TlsMode::VerifyIdentity);
    assert_eq!(
        (&*far.source.host, far.source.port, &*far.source.user),
        ("db.example", 3306, "a@b")
    );
}

#[test]
fn a_checkpoint_in_redis_needs_no_directory_and_has_a_key_of_its_name() {
    let parse = |lines: &str| config::parse(&format!("{SMALLEST}{lines}")).unwrap();
    let config = parse("[checkpoint]\nstore = \"redis\"\n");
    let key = "evictd:shop:checkpoint".to_owned();
    assert_eq!(config.checkpoint, CheckpointConfig::Redis { key });
    assert_eq!((&config.ledger_dir, config.budget_file()), (&None, None));
    assert_eq!(config.history_file(), None);
    let config = parse(
        "[checkpoint]\nstore = \"redis\"\nkey = \"app:{evictd}\"\n[ledger]\ndir = \"/var/log/evictd\"\n",
    );
    let key = "app:{evictd}".to_owned();
    assert_eq!(config.checkpoint, CheckpointConfig::Redis { key });
    assert_eq!(
        config.budget_file(),
        Some(PathBuf::from("/var/log/evictd/shop.budget.json"))
    );
    assert_eq!(
        config.history_file(),
        Some(PathBuf::from("/var/log/evictd/shop.invalidations.jsonl"))
    );
    let refused = |lines: &str| refusal(&format!("{SMALLEST}[checkpoint]\n{lines}"));
    for (lines, expected) in [
        (
            "key = \"k\"",
            "12: checkpoint.key has no effect with a file: set checkpoint.store = \"redis\", or leave it out",
        ),
        (
            "store = \"redis\"\npath = \"/x\"",
            "13: checkpoint.path has no effect with checkpoint.store = \"redis\": leave it out; `checkpoint.key` names the key",
        ),
        (
            "store = \"redis\"\nkey = \"\"",
            "13: checkpoint.key is empty: name a key, or leave it out",
        ),
    ] {
        assert_eq!(refused(lines), expected);
    }
}

#[test]
fn settling_is_a_duration_or_off_or_follows_the_readers() {
    let second = Duration::from_secs(1);
    let lag = |min, max| SettleConfig::ReplicaLag { min, max };
    for (line, expected) in [
        ("", SettleConfig::Fixed(second)),
        ("settle_after = \"200ms\"", SettleConfig::Fixed(second / 5)),
        ("settle_after = \"off\"", SettleConfig::Off),
        (
            "settle_after = { replica_lag = true }",
            lag(second, 10 * second),
        ),
        (
            "[redis.settle_after]\nreplica_lag = true\nmin = \"200ms\"\nmax = \"1m\"",
            lag(second / 5, 60 * second),
        ),
    ] {
        let text = SMALLEST.replace("\n[[rule]]", &format!("\n{line}\n[[rule]]"));
        let config = config::parse(&text).unwrap();
        assert_eq!(config.redis.settle_after, expected, "{line}");
    }
}
