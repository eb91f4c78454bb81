//! `evictd check`: everything that can be wrong, looked at before it is.

mod cache;
mod directories;
mod paths;

use std::sync::Arc;

use serde_json::json;

use self::paths::ClassRow;
use super::finding::{Finding, Level};
use super::{CommandError, Exit, aws_config, preflight, print};
use crate::binlog::server::Server;
use crate::buffer::{QueueSettings, Sqs};
use crate::cli::{CheckArgs, Global, OutputFormat};
use crate::config::{self, BufferConfig, Config, SettleConfig};
use crate::edge::cloudfront::CloudFront;
use crate::rules::rule::Rule;

/// Looks at everything, prints what it found, and fails if something is wrong.
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
            "nothing was asked of any server (--offline)".to_owned(),
        );
    } else {
        report.mysql(&mut config, global).await;
        report.redis(&config).await;
        report.findings.extend(directories::examine(&config));
        report.edge(&config).await;
    }
    let text = match options.format {
        OutputFormat::Json => report.json(),
        OutputFormat::Text => report.text(),
    };
    print(text.as_bytes())?;
    report.outcome()
}

/// A drain that lost its messages to another after a few seconds would pay
/// twice.
const VISIBILITY_SECONDS_MIN: u64 = 10;

/// As the binlog: an outage of CloudFront's side must not cost paths.
const RETENTION_SECONDS_MIN: u64 = 24 * 3_600;

fn queue_settings(queue: &QueueSettings, max_receives: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |level, message: String| found.push(Finding::new(level, "sqs", message));
    match queue.max_receive_count {
        None if queue.has_dead_letter_queue => add(
            Level::Ok,
            "the queue answers and has a dead-letter queue".to_owned(),
        ),
        None => add(
            Level::Warning,
            "the queue has no dead-letter queue: what cannot be sent comes back until its retention ends; set a redrive policy".to_owned(),
        ),
        Some(count) if count <= max_receives => add(
            Level::Warning,
            format!(
                "the queue moves a message to its dead-letter queue after {count} receives, and evictd does so with a reason after {max_receives} (buffer.max_receives): without a reason it cannot be told what was wrong, and paths that only waited count too; set maxReceiveCount to {} or more",
                max_receives.saturating_mul(10)
            ),
        ),
        Some(count) => add(
            Level::Ok,
            format!("the queue answers and has a dead-letter queue, after {count} receives"),
        ),
    }
    let visibility = queue.visibility.as_secs();
    if visibility < VISIBILITY_SECONDS_MIN {
        add(
            Level::Warning,
            format!(
                "the queue's visibility timeout is {visibility} s: a drain that is held up loses its messages to another, and the paths go twice; set 30 s or more"
            ),
        );
    }
    if let Some(seconds) = queue.retention.map(|retention| retention.as_secs())
        && seconds < RETENTION_SECONDS_MIN
    {
        add(
            Level::Warning,
            format!(
                "the queue drops messages after {seconds} s: paths that could not be sent until then are lost; set a retention of {RETENTION_SECONDS_MIN} s or more"
            ),
        );
    }
    if queue.fifo {
        add(
            Level::Note,
            "it is a FIFO queue: it works, and a standard queue is quicker and costs less"
                .to_owned(),
        );
    }
    found
}

#[derive(Default)]
struct CheckReport {
    findings: Vec<Finding>,
    paths: Vec<ClassRow>,
}

impl CheckReport {
    fn add(&mut self, level: Level, part: &'static str, message: String) {
        self.findings.push(Finding::new(level, part, message));
    }

    fn fail(&mut self, part: &'static str, error: impl Into<CommandError>) {
        let error = error.into();
        let mut finding = Finding::new(Level::Error, part, format!("{:#}", error.cause));
        finding.unreachable = error.exit == Exit::Unreachable;
        self.findings.push(finding);
    }

    async fn mysql(&mut self, config: &mut Config, global: &Global) {
        let found = async {
            let connector = preflight::connector(&config.source)?;
            let mut server = Server::connect(&connector).await?;
            let address = connector.address();
            let found = preflight::examine(&mut server, address, config, &global.config).await?;
            Ok::<_, CommandError>(found)
        };
        match found.await {
            Ok(found) => self.findings.extend(found),
            Err(error) => self.fail("mysql", error),
        }
    }

    async fn redis(&mut self, config: &Config) {
        match cache::examine(config).await {
            Ok(found) => self.findings.extend(found),
            Err(error) => self.fail("redis", error),
        }
        if config.redis.settle_after == SettleConfig::Off {
            self.add(
                Level::Warning,
                "redis",
                "redis.settle_after is off: a fill that read the old row may stay".to_owned(),
            );
        }
    }

    async fn edge(&mut self, config: &Config) {
        let (Some(section), Some(buffer)) = (&config.cloudfront, &config.buffer) else {
            self.add(
                Level::Note,
                "cloudfront",
                "no [cloudfront] is configured: paths are only logged".to_owned(),
            );
            return;
        };
        let aws = aws_config().await;
        match buffer {
            BufferConfig::Sqs { queue_url } => {
                match Sqs::new(&aws, queue_url.as_str()).check().await {
                    Ok(queue) => self
                        .findings
                        .extend(queue_settings(&queue, config.max_receives)),
                    Err(error) => self.fail("sqs", error),
                }
            }
            // Among the places.
            BufferConfig::Local { .. } => {}
        }
        let edge = CloudFront::new(&aws);
        for distribution in &section.distributions {
            let id: Arc<str> = distribution.id.as_str().into();
            if let Err(error) = edge.check(&id).await {
                self.fail("cloudfront", error);
                continue;
            }
            self.traits(config, &edge, &distribution.name, &id).await;
            let behaviors = match edge.behaviors(&id).await {
                Ok(behaviors) => behaviors,
                Err(error) => {
                    self.fail("cloudfront", error);
                    continue;
                }
            };
            match paths::audit(&distribution.name, config.rules.classes(), &behaviors) {
                Some(rows) => {
                    self.add(Level::Ok, "cloudfront", format!(
                        "distribution {} ({id}) answers and has {} behaviors",
                        distribution.name,
                        behaviors.len()
                    ));
                    self.paths.extend(rows);
                }
                None => self.add(Level::Warning, "cloudfront", format!(
                    "distribution {} ({id}): its patterns and [[path]] together are too intricate to be compared",
                    distribution.name
                )),
            }
        }
    }

    /// Tags that nobody reads, and tenants that there cannot be: CloudFront
    /// says nothing about the first, and of the second only when it is too late.
    async fn traits(&mut self, config: &Config, edge: &CloudFront, name: &str, id: &Arc<str>) {
        let names = |which: fn(&Rule) -> bool| {
            let rules = config.rules.iter().filter(|rule| rule.goes_to(name));
            let rules = rules.filter(|rule| which(rule)).map(|rule| &*rule.name);
            rules.collect::<Vec<&str>>().join(", ")
        };
        let tagging = names(Rule::sends_tags);
        let of_tenants = names(|rule| rule.tenant.is_some());
        if tagging.is_empty() && of_tenants.is_empty() {
            return;
        }
        let traits = match edge.traits(id).await {
            Ok(traits) => traits,
            Err(error) => return self.fail("cloudfront", error),
        };
        match traits.tag_header {
            _ if tagging.is_empty() => {}
            Some(header) => self.add(
                Level::Ok,
                "cloudfront",
                format!("distribution {name} ({id}) reads cache tags from the header {header}"),
            ),
            None => self.add(
                Level::Error,
                "cloudfront",
                format!(
                    "distribution {name} ({id}) has no tag header, so that CloudFront ignores the edge_tags of {tagging}: set CacheTagConfig.HeaderName to the header in which the origin names them"
                ),
            ),
        }
        if !of_tenants.is_empty() && !traits.multi_tenant {
            self.add(
                Level::Error,
                "cloudfront",
                format!(
                    "distribution {name} ({id}) is no multi-tenant one, and has none of the tenants of {of_tenants}: name the right one in `distributions`"
                ),
            );
        }
    }

    fn json(&self) -> String {
        let json = json!({ "findings": self.findings, "paths": self.paths });
        format!("{json}\n")
    }

    fn text(&self) -> String {
        let findings = self.findings.iter();
        let mut text: String = findings.map(|finding| format!("{finding}\n")).collect();
        let mut rest = self.paths.as_slice();
        while let Some(first) = rest.first() {
            let name = &first.distribution;
            let same = rest.iter().take_while(|row| row.distribution == *name);
            let (rows, others) = rest.split_at(same.count());
            text.push_str(&format!("\ndistribution {name}\n{}", paths::table(rows)));
            rest = others;
        }
        text
    }

    fn outcome(&self) -> Result<(), CommandError> {
        let levels = || {
            let paths = self.paths.iter().map(|row| row.level);
            self.findings
                .iter()
                .map(|finding| finding.level)
                .chain(paths)
        };
        let count = |wanted| levels().filter(|level| *level == wanted).count();
        let errors = count(Level::Error);
        if errors == 0 {
            return Ok(());
        }
        let unreachable = self
            .findings
            .iter()
            .filter(|finding| finding.unreachable)
            .count();
        // What is set wrong has to be set right whoever answers.
        let exit = match unreachable {
            0 => Exit::Configuration,
            some if some == errors => Exit::Unreachable,
            _ => Exit::Configuration,
        };
        let warnings = count(Level::Warning);
        Err(CommandError::new(
            exit,
            anyhow::anyhow!("found errors: {errors}, warnings: {warnings}"),
        ))
    }
}
