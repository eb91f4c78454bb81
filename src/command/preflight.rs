//! What must hold before anything is touched: the server fits, and the rules
//! fit its tables.

use std::path::Path;

use crate::binlog::catalog;
use crate::binlog::connect::{Connector, Target, TlsTarget};
use crate::binlog::server::Server;
use crate::cache::{self, Layout, TlsFiles};
use crate::config::{self, Config, ConfigError, RedisLayout, SecretRef, Source, TlsMode};

use super::CommandError;

/// Reads the password and prepares connections to the source.
pub fn connector(source: &Source) -> Result<Connector, CommandError> {
    let password = source
        .password
        .as_ref()
        .map(|reference| reference.read("source.password"))
        .transpose()?;
    let tls = match source.tls.mode {
        TlsMode::Disabled => None,
        mode => Some(TlsTarget {
            verify_authority: mode != TlsMode::Required,
            verify_identity: mode == TlsMode::VerifyIdentity,
            ca_file: source.tls.ca_file.clone(),
        }),
    };
    Ok(Connector::new(Target {
        host: source.host.clone(),
        port: source.port,
        user: source.user.clone(),
        password: password.map(|password| password.expose().to_owned()),
        tls,
    }))
}

/// Reads the passwords of Redis, and says how it is reached.
pub fn redis_target(section: &config::Redis) -> Result<cache::Target, CommandError> {
    let read = |reference: &Option<SecretRef>, field| {
        let password = reference.as_ref().map(|it| it.read(field)).transpose()?;
        Ok::<_, ConfigError>(password.map(|it| it.expose().to_owned()))
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
            password: read(password, "redis.sentinel.password")?,
        },
    };
    Ok(cache::Target {
        url: section.url.to_string(),
        password: read(&section.password, "redis.password")?,
        tls: TlsFiles {
            ca: section.ca_file.clone(),
            client: section.client_files.clone(),
        },
        layout,
        replicas: section.replicas,
    })
}

/// Connects to the source and checks its settings, the account's grants, and
/// every rule against the tables it matches.
pub async fn server(
    connector: &Connector,
    config: &mut Config,
    config_path: &Path,
) -> Result<Server, CommandError> {
    let mut server = Server::connect(connector).await?;
    server.check_grants().await?;
    let facts = server.facts().clone();
    if facts.row_image != "FULL" {
        tracing::warn!(
            binlog_row_image = facts.row_image,
            "row images are incomplete: templates whose columns are missing widen to the whole table; set binlog_row_image = FULL"
        );
    }
    if facts.row_metadata != "FULL" {
        tracing::warn!(
            binlog_row_metadata = facts.row_metadata,
            "column names are not in the binlog and come from information_schema, which shows the tables as they are now; set binlog_row_metadata = FULL"
        );
    }
    if !facts.gtids {
        tracing::warn!(
            "gtid_mode is not ON: the position is a file and offset, which means nothing on another server, and nothing tells when a row is visible, so that redis.settle_after alone covers early deletions"
        );
    }
    let tables = server.tables().await?;
    for rule in config.rules.iter() {
        for glob in &rule.tables {
            if !tables.iter().any(|table| glob.matches(table)) {
                let message = format!(
                    "{}:{}: rule \"{}\": \"{glob}\" matches no table that account \"{}\" can see on {}; check the name, and that the account has SELECT on it",
                    config_path.display(),
                    glob.line,
                    rule.name,
                    config.source.user,
                    connector.address(),
                );
                return Err(CommandError::configuration(message));
            }
        }
    }
    let cascades = server.cascades().await?;
    for cascade in cascades
        .iter()
        .filter(|cascade| config.rules.wants(&cascade.child))
    {
        tracing::warn!(
            parent = %cascade.parent,
            child = %cascade.child,
            "a foreign key changes rows of the child without a row event: what the parent's change \
             covers comes from `cascade_from`, or is the whole table"
        );
    }
    config.rules.set_cascades(&cascades);
    for table in tables.into_iter().filter(|table| config.rules.wants(table)) {
        if let Some(columns) = server.columns(&table).await? {
            config
                .rules
                .bind(&catalog::schema(table, &columns))
                .map_err(|error| ConfigError::from_bind(error, config_path))?;
        }
    }
    Ok(server)
}
