//! Checks before anything is touched: that the server fits, and that the rules
//! fit its tables. `run` and `check` share them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::binlog::SourceError;
use crate::binlog::connection::connector::{Connector, MysqlTarget, TlsTarget};
use crate::binlog::server::catalog;
use crate::binlog::server::{Server, ServerFacts};
use crate::config::{
    self, Config, ConfigError, RedisIam, RedisIamKind, RedisLayout, SecretRef, SourceConfig,
    TlsMode,
};
use crate::credentials::{Audience, CacheKind, Chain, Password, Signer};
use crate::redis::{Layout, RedisTarget, TlsFiles};

use super::CommandError;
use super::finding::{Finding, Level};
use super::misfits::Misfits;

/// Shortest retention of the binlog without a warning. A server that purges
/// sooner leaves little time for an outage of evictd.
const RETENTION_SECONDS_MIN: u64 = 24 * 3_600;

/// The part that findings about rules name.
const RULES: &str = "configuration";

/// Reads the password and prepares connections to the source.
pub fn connector(source: &SourceConfig) -> Result<Connector, CommandError> {
    let password = match &source.password {
        None => None,
        Some(config::PasswordConfig::Kept(reference)) => Some(read(reference, "source.password")?),
        Some(config::PasswordConfig::Iam(iam)) => {
            let audience = Audience::Database {
                host: source.host.clone(),
                port: source.port,
                user: source.user.clone(),
            };
            Some(token(&iam.region, audience))
        }
    };
    let tls = match source.tls.mode {
        TlsMode::Disabled => None,
        mode => Some(TlsTarget {
            verify_authority: mode != TlsMode::Required,
            verify_identity: mode == TlsMode::VerifyIdentity,
            ca_file: source.tls.ca_file.clone(),
        }),
    };
    Ok(Connector::new(MysqlTarget {
        host: source.host.clone(),
        port: source.port,
        user: source.user.clone(),
        password,
        tls,
    }))
}

/// Reads the passwords of Redis, and says how to reach it.
pub fn redis_target(section: &config::RedisConfig) -> Result<RedisTarget, CommandError> {
    let password = match &section.password {
        None => None,
        Some(config::PasswordConfig::Kept(reference)) => Some(read(reference, "redis.password")?),
        Some(config::PasswordConfig::Iam(iam)) => {
            Some(token(&iam.region, cache(iam, &section.url)))
        }
    };
    let layout = match &section.layout {
        RedisLayout::Single => Layout::Single,
        RedisLayout::Cluster => Layout::Cluster,
        RedisLayout::Sentinel {
            master,
            urls,
            password,
        } => Layout::Sentinel {
            master: master.clone(),
            urls: urls.iter().map(ToString::to_string).collect(),
            password: password
                .as_ref()
                .map(|reference| read(reference, "redis.sentinel.password"))
                .transpose()?,
        },
    };
    Ok(RedisTarget {
        url: section.url.to_string(),
        password,
        tls: TlsFiles {
            ca: section.ca_file.clone(),
            client: section.client_files.clone(),
        },
        layout,
        replicas: section.replicas,
    })
}

fn read(reference: &SecretRef, field: &'static str) -> Result<Password, ConfigError> {
    // What cannot be read at the start is refused.
    reference.read(field)?;
    let reference = reference.clone();
    Ok(Password::Kept(Arc::new(move || {
        let secret = reference.read(field).map_err(|error| error.to_string())?;
        Ok(secret.expose().to_owned())
    })))
}

fn token(region: &str, audience: Audience) -> Password {
    /// All connections of the process share its credentials, which are fetched
    /// from AWS over the network.
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let chain = Arc::clone(CHAIN.get_or_init(Arc::default));
    Password::Token(Arc::new(Signer::new(chain, region.to_owned(), audience)))
}

fn cache(iam: &RedisIam, url: &url::Url) -> Audience {
    Audience::Cache {
        kind: match iam.kind {
            RedisIamKind::Elasticache => CacheKind::ElastiCache,
            RedisIamKind::ElasticacheServerless => CacheKind::ElastiCacheServerless,
            RedisIamKind::Memorydb => CacheKind::MemoryDb,
        },
        name: iam.cache.clone(),
        user: url.username().to_owned(),
    }
}

/// Connects to the source. Refuses what cannot work, and logs what could be
/// better.
pub async fn server(
    connector: &Connector,
    config: &mut Config,
    config_path: &Path,
) -> Result<Server, CommandError> {
    let fitted = server_despite(Misfits::Refused, connector, config, config_path);
    fitted.await.map(|(server, _)| server)
}

/// Does as [`server`] does, and returns why rules do not fit, if `misfits` lets
/// them.
pub async fn server_despite(
    misfits: Misfits,
    connector: &Connector,
    config: &mut Config,
    config_path: &Path,
) -> Result<(Server, Vec<String>), CommandError> {
    let mut server = Server::connect(connector).await?;
    let mut unfit = Vec::new();
    for finding in examine(&mut server, connector.address(), config, config_path).await? {
        match finding.level {
            Level::Ok | Level::Note => tracing::debug!("{}", finding.message),
            Level::Warning => tracing::warn!("{}", finding.message),
            Level::Error if misfits == Misfits::Degraded && finding.part == RULES => {
                unfit.push(finding.message);
            }
            Level::Error => return Err(CommandError::configuration(finding.message)),
        }
    }
    Ok((server, unfit))
}

/// Examines the server's settings, the account's grants, and every rule with
/// the tables that it matches. Fits the rules to the tables.
///
/// # Errors
///
/// The server does not answer, or the account lacks a grant.
pub async fn examine(
    server: &mut Server,
    address: &str,
    config: &mut Config,
    config_path: &Path,
) -> Result<Vec<Finding>, SourceError> {
    server.check_grants().await?;
    let mut found = settings(&server.facts().clone());
    if matches!(config.source.password, Some(config::PasswordConfig::Iam(_)))
        && config.source.tls.mode == TlsMode::Required
    {
        let message = "source.tls.mode = \"required\" does not verify the server: an impostor gets a token with which it can log in for 15 minutes; use \"verify-identity\"";
        found.push(Finding::new(Level::Warning, "mysql", message));
    }
    found.push(retention(server).await?);
    let tables = server.tables().await?;
    for rule in config.rules.iter() {
        for glob in &rule.tables {
            if !tables.iter().any(|table| glob.matches(table)) {
                let message = format!(
                    "{}:{}: rule \"{}\": \"{glob}\" matches no table that account \"{}\" can see on {address}; check the name, and that the account has SELECT on it",
                    config_path.display(),
                    glob.line,
                    rule.name,
                    config.source.user,
                );
                found.push(Finding::new(Level::Error, RULES, message));
            }
        }
    }
    found.extend(omissions(server, config).await?);
    let cascades = server.cascades().await?;
    for cascade in cascades
        .iter()
        .filter(|cascade| config.rules.wants(&cascade.child))
    {
        let message = format!(
            "a foreign key changes rows of the child without a row event: a change of the parent \
             invalidates what `cascade_from` says, or the whole table (parent {}, child {})",
            cascade.parent, cascade.child
        );
        found.push(Finding::new(Level::Warning, "mysql", message));
    }
    config.rules.set_cascades(&cascades);
    let mut fitted = 0_u32;
    for table in tables.into_iter().filter(|table| config.rules.wants(table)) {
        if let Some(columns) = server.columns(&table).await? {
            fitted += 1;
            if let Err(error) = config.rules.bind(&catalog::schema(table, &columns)) {
                let error = ConfigError::from_bind(error, config_path);
                found.push(Finding::new(Level::Error, RULES, error.to_string()));
            }
        }
    }
    let message = format!("the rules were compared with the columns of their tables ({fitted})");
    found.push(Finding::new(Level::Ok, RULES, message));
    Ok(found)
}

/// Judges the settings of the binlog.
fn settings(facts: &ServerFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut look = |good: bool, level, message: &str| {
        if !good {
            found.push(Finding::new(level, "mysql", message));
        }
    };
    look(
        facts.row_image == "FULL",
        Level::Warning,
        "row images are incomplete: templates whose columns are missing widen to the whole table; set binlog_row_image = FULL",
    );
    look(
        facts.row_metadata == "FULL",
        Level::Warning,
        "column names are not in the binlog: they are read from information_schema, which shows the tables as they are now; set binlog_row_metadata = FULL",
    );
    look(
        facts.gtids,
        Level::Warning,
        "gtid_mode is not ON: the position is a file and offset, which means nothing on another server, and nothing says when a row becomes visible, so that redis.settle_after alone makes up for early deletions",
    );
    look(
        !facts.partial_json,
        Level::Warning,
        "binlog_row_value_options is PARTIAL_JSON: a template that reads a JSON column widens to the whole table when the column changes; set it to the empty string",
    );
    look(
        !facts.compression,
        Level::Note,
        "binlog_transaction_compression is ON: transactions are unpacked while they are read, which costs time on this machine",
    );
    let message = format!(
        "MySQL {}, server UUID {}: binlog_format = ROW, binlog_row_image = {}, binlog_row_metadata = {}, gtid_mode = {}; the grants suffice",
        facts.version,
        facts.server_uuid,
        facts.row_image,
        facts.row_metadata,
        if facts.gtids { "ON" } else { "not ON" },
    );
    found.push(Finding::new(Level::Ok, "mysql", message));
    found
}

/// Judges whether what changes is in the binlog, and whether anything changes.
async fn omissions(server: &mut Server, config: &Config) -> Result<Vec<Finding>, SourceError> {
    let mut found = Vec::new();
    let mut add = |level, message: String| found.push(Finding::new(level, "mysql", message));
    if let Some(reason) = server.left_out(|table| config.rules.wants(table)).await? {
        add(
            Level::Error,
            format!(
                "changes are not in the binlog: {reason}; then empty the caches, since nobody knows what changed before"
            ),
        );
    } else if !server.binlog_filters().await?.is_empty() {
        let message = "binlog-do-db or binlog-ignore-db leaves no mapped database out of the binlog, but statements such as TRUNCATE go by the session's default database: USE one that is left out, and a mapped table's TRUNCATE is not seen";
        add(Level::Warning, message.to_owned());
    }
    if server.facts().read_only {
        if server.is_replica().await? {
            let message =
                "the server is a read-only replica: keys go once a change has arrived there";
            add(Level::Note, message.to_owned());
        } else {
            let message = "the server is read-only and not a replica, so that nothing changes there: if another server has taken over, have source.url lead to that one";
            add(Level::Warning, message.to_owned());
        }
    }
    Ok(found)
}

/// Judges how long the server keeps its binlog.
async fn retention(server: &mut Server) -> Result<Finding, SourceError> {
    if let Some(hours) = server.rds_retention().await? {
        return Ok(match hours.parse::<u64>() {
            Ok(hours) if hours.saturating_mul(3_600) >= RETENTION_SECONDS_MIN => Finding::new(
                Level::Ok,
                "mysql",
                format!("the binlog is kept for {hours} h"),
            ),
            _ => Finding::new(
                Level::Warning,
                "mysql",
                format!(
                    "the binlog is kept for {hours} hours (NULL: it is purged as soon as possible), so an outage can become a gap; run CALL mysql.rds_set_configuration('binlog retention hours', 24)"
                ),
            ),
        });
    }
    Ok(match server.facts().retention_s {
        Some(0) => Finding::new(
            Level::Ok,
            "mysql",
            "the binlog is never purged automatically",
        ),
        Some(seconds) if seconds < RETENTION_SECONDS_MIN => Finding::new(
            Level::Warning,
            "mysql",
            format!(
                "the binlog is purged after {seconds} s: a longer outage of evictd is a gap; set binlog_expire_logs_seconds = {RETENTION_SECONDS_MIN} or more"
            ),
        ),
        Some(seconds) => Finding::new(
            Level::Ok,
            "mysql",
            format!("the binlog is kept for {} h", seconds / 3_600),
        ),
        None => Finding::new(
            Level::Note,
            "mysql",
            "the server does not say how long it keeps the binlog",
        ),
    })
}
