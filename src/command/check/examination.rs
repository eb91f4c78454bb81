//! The examination: one part after the other, from the configuration to the
//! edge.

use super::report::CheckReport;
use super::{cache, directories, distributions, queue};
use crate::binlog::server::Server;
use crate::buffer::Sqs;
use crate::checkpoint::Checkpoint;
use crate::cli::{CheckArgs, Global, OutputFormat};
use crate::command::finding::Level;
use crate::command::{CommandError, aws_config, preflight, print, store};
use crate::config::{self, BufferConfig, Config, SettleConfig};
use crate::edge::cloudfront::CloudFront;

/// Examines everything, prints the findings, and fails if one is an error.
pub async fn run(global: &Global, options: &CheckArgs) -> Result<(), CommandError> {
    let mut config = config::load(&global.config)?;
    let mut report = CheckReport::default();
    let rules = config.rules.iter().count();
    let classes = config.rules.classes().iter().count();
    report.add(
        Level::Ok,
        "configuration",
        format!(
            "{}: rules: {rules}, path classes: {classes}, all valid",
            global.config.display()
        ),
    );
    if options.offline {
        report.add(
            Level::Note,
            "configuration",
            "no server was asked (--offline)".to_owned(),
        );
    } else {
        mysql(&mut report, &mut config, global).await;
        redis(&mut report, &config).await;
        report.findings.extend(directories::examine(&config));
        checkpoint(&mut report, &config).await;
        edge(&mut report, &config).await;
    }
    let text = match options.format {
        OutputFormat::Json => report.json(),
        OutputFormat::Text => report.text(),
    };
    print(text.as_bytes())?;
    report.outcome()
}

async fn mysql(report: &mut CheckReport, config: &mut Config, global: &Global) {
    let found = async {
        let connector = preflight::connector(&config.source)?;
        let mut server = Server::connect(&connector).await?;
        let address = connector.address();
        let found = preflight::examine(&mut server, address, config, &global.config).await?;
        Ok::<_, CommandError>(found)
    };
    match found.await {
        Ok(found) => report.findings.extend(found),
        Err(error) => report.fail("mysql", error),
    }
}

async fn redis(report: &mut CheckReport, config: &Config) {
    match cache::examine(config).await {
        Ok(found) => report.findings.extend(found),
        Err(error) => report.fail("redis", error),
    }
    if config.redis.settle_after == SettleConfig::Off {
        report.add(
            Level::Warning,
            "redis",
            "redis.settle_after is off: an entry that was filled from the old row may stay"
                .to_owned(),
        );
    }
}

/// Says whether there is a position of an evictd where the checkpoint is to be.
async fn checkpoint(report: &mut CheckReport, config: &Config) {
    let stored = async { Ok::<_, CommandError>(store::open(config)?.load().await?) };
    let place = store::place(config);
    match stored.await {
        Ok(Some(stored)) => {
            let message = format!("{place} holds the position {}", stored.position());
            report.add(Level::Ok, "checkpoint", message);
        }
        Ok(None) => {
            let message = format!(
                "{place} holds no position yet: {}",
                store::without_one(config)
            );
            report.add(Level::Note, "checkpoint", message);
        }
        Err(error) => report.fail("checkpoint", error),
    }
}

async fn edge(report: &mut CheckReport, config: &Config) {
    let (Some(section), Some(buffer)) = (&config.cloudfront, &config.buffer) else {
        report.add(
            Level::Note,
            "cloudfront",
            "[cloudfront] is not configured: paths are only logged".to_owned(),
        );
        return;
    };
    let aws = aws_config().await;
    match buffer {
        BufferConfig::Sqs { queue_url } => {
            let sqs = Sqs::new(&aws, queue_url.as_str());
            match sqs.check().await {
                Ok(queue) => {
                    let settings = queue::settings(&queue, config.max_receives);
                    report.findings.extend(settings);
                    let another = queue::another(config, queue_url.as_str()).await;
                    report.findings.extend(another);
                    // A look counts as a receive, and the next one would be one too many.
                    if queue.max_receive_count != Some(1) {
                        examine_messages(report, config, &sqs).await;
                    }
                }
                Err(error) => report.fail("sqs", error),
            }
        }
        BufferConfig::Local { path } => match queue::file(config, path).await {
            Ok(found) => report.findings.extend(found),
            Err(error) => report.fail("buffer", error),
        },
    }
    distributions::examine(report, config, section, &CloudFront::new(&aws)).await;
}

async fn examine_messages(report: &mut CheckReport, config: &Config, sqs: &Sqs) {
    match sqs.peek().await {
        Ok(messages) => report.findings.extend(queue::others(&messages, config)),
        // A role that only sends may not receive.
        Err(error) => report.add(
            Level::Note,
            "sqs",
            format!("it cannot be seen whether another configuration sends to the queue: {error}"),
        ),
    }
}
