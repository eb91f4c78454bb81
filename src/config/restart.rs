//! What of a configuration a running daemon cannot take over.

use toml::{Table, Value};

use super::ConfigError;
use super::error::Lines;

/// What differs between two configurations, as they are written, and takes a
/// restart: everything but rules, path classes, budgets and the log level.
///
/// # Errors
///
/// One of them is no TOML.
pub fn needs_restart(running: &str, wanted: &str) -> Result<Vec<String>, ConfigError> {
    let (running, wanted) = (fixed(running)?, fixed(wanted)?);
    let mut out = Vec::new();
    compare("", &running, &wanted, &mut out);
    Ok(out)
}

/// The configuration without what may change.
fn fixed(text: &str) -> Result<Table, ConfigError> {
    let mut table: Table = toml::from_str(text).map_err(|error| Lines(text).error(&error))?;
    table.remove("rule");
    table.remove("path");
    if let Some(Value::Table(log)) = table.get_mut("log") {
        log.remove("level");
    }
    if let Some(Value::Table(cloudfront)) = table.get_mut("cloudfront")
        && let Some(Value::Array(distributions)) = cloudfront.get_mut("distribution")
    {
        for distribution in distributions.iter_mut().filter_map(Value::as_table_mut) {
            distribution.remove("monthly_path_budget");
        }
    }
    Ok(table)
}

/// A table that is left out says what an empty one does.
fn compare(place: &str, running: &Table, wanted: &Table, out: &mut Vec<String>) {
    let empty = Table::new();
    let only_wanted = wanted.keys().filter(|name| !running.contains_key(*name));
    for name in running.keys().chain(only_wanted) {
        let at = match place {
            "" => name.clone(),
            place => format!("{place}.{name}"),
        };
        match (running.get(name), wanted.get(name)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => {
                compare(&at, before, after, out);
            }
            (Some(Value::Table(before)), None) => compare(&at, before, &empty, out),
            (None, Some(Value::Table(after))) => compare(&at, &empty, after, out),
            (before, after) if before == after => {}
            _ => out.push(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = r#"
name = "shop"
[source]
url = "mysql://evictd@db"
tls = { mode = "required" }
[redis]
url = "redis://cache"
[cloudfront]
window = "2s"
[[cloudfront.distribution]]
name = "main"
id = "E1"
monthly_path_budget = 10
[[path]]
pattern = "/a"
class = "strong"
[[rule]]
name = "users"
"#;

    fn needed(wanted: &str) -> Vec<String> {
        needs_restart(RUNNING, wanted).unwrap()
    }

    #[test]
    fn rules_classes_budgets_and_the_log_level_may_change() {
        let wanted = RUNNING
            .replace(
                "[[rule]]",
                "[log]\nlevel = \"debug\"\n[[rule]]\nname = \"new\"\n[[rule]]",
            )
            .replace("\"strong\"", "\"cached\"")
            .replace("= 10", "= 20")
            .replace("[redis]", "# comments too\n\n[redis]");
        assert_eq!(needed(&wanted), [""; 0]);
    }

    #[test]
    fn everything_else_is_named() {
        for (before, after, expected) in [
            ("name = \"shop\"", "name = \"other\"", "name"),
            ("mysql://evictd@db", "mysql://evictd@db2", "source.url"),
            ("\"required\"", "\"verify-ca\"", "source.tls.mode"),
            ("[redis]", "[redis]\nreplicas = 1", "redis.replicas"),
            (
                "[redis]",
                "[metrics]\nlisten = \"127.0.0.1:1\"\n[redis]",
                "metrics.listen",
            ),
            ("window = \"2s\"", "", "cloudfront.window"),
            ("id = \"E1\"", "id = \"E2\"", "cloudfront.distribution"),
        ] {
            assert_eq!(
                needed(&RUNNING.replacen(before, after, 1)),
                [expected],
                "{after}"
            );
        }
        let two = RUNNING
            .replace("redis://", "rediss://")
            .replace("//evictd@", "//e@");
        assert_eq!(needed(&two), ["redis.url", "source.url"]);
    }
}
