//! `[buffer]`, `[cloudfront]`, and `rule.bulk_threshold`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use url::Url;

use super::error::{ConfigError, Lines};
use super::raw;
use super::settings::{BufferConfig, Bulk, CloudFrontConfig, DistributionConfig};
use crate::model::invalidation::PathClass;
use crate::rules::budget_exempt::AlwaysPaths;
use crate::rules::path_class::PathClasses;
use crate::rules::rule::Rule;

/// Default of `calls_per_second`. CloudFront throttles an account at a rate that
/// it does not publish; users report six to ten.
const CALLS_PER_SECOND: f64 = 1.0;

/// Shortest `overdue_after`. Most invalidations complete within 25 s.
const OVERDUE_AFTER_MIN: Duration = Duration::from_secs(1);

/// Default of `max_receives`: two and a half minutes at the visibility timeout.
pub(super) const MAX_RECEIVES: u32 = 5;

/// Default of `bulk_threshold`: five dollars as single paths.
const BULK_THRESHOLD: usize = 1_000;

impl CloudFrontConfig {
    pub(super) fn with_always(self, always: AlwaysPaths) -> Self {
        Self { always, ..self }
    }
}

/// Most paths that each rule sends as they are, for a batch or a transaction.
pub(super) fn bulk_thresholds(
    rules: &[Spanned<raw::RawRule>],
    lines: &Lines<'_>,
) -> Result<Vec<usize>, ConfigError> {
    rules
        .iter()
        .map(|rule| match &rule.get_ref().bulk_threshold {
            None => Ok(BULK_THRESHOLD),
            Some(threshold) if *threshold.get_ref() == 0 => Err(ConfigError::at(
                lines.of(threshold),
                format!(
                    "rule \"{}\": bulk_threshold must not be 0: write 1 to send its wildcards for every change of two paths",
                    rule.get_ref().name.get_ref()
                ),
            )),
            Some(threshold) => Ok(*threshold.get_ref()),
        })
        .collect()
}

pub(super) fn bulk(rules: &[Rule], thresholds: Vec<usize>, classes: &PathClasses) -> Vec<Bulk> {
    rules
        .iter()
        .zip(thresholds)
        .map(|(rule, threshold)| Bulk {
            rule: rule.name.to_string(),
            threshold,
            wildcards: rule
                .table_wide
                .paths
                .iter()
                .filter(|path| classes.of(path) == PathClass::Cached)
                .chain(&rule.table_wide.edge_tags)
                .cloned()
                .collect(),
        })
        .collect()
}

pub(super) fn buffer(
    section: Spanned<raw::RawBuffer>,
    lines: &Lines<'_>,
) -> Result<(BufferConfig, u32), ConfigError> {
    let line = lines.of(&section);
    let raw = section.into_inner();
    let max_receives = match raw.max_receives {
        None => MAX_RECEIVES,
        Some(number) if *number.get_ref() == 0 => {
            return Err(ConfigError::at(
                lines.of(&number),
                "buffer.max_receives must not be 0: every message is received at least once",
            ));
        }
        Some(number) => number.into_inner(),
    };
    let kind = kind_of_buffer(raw.kind, raw.queue_url, raw.path, line)?;
    Ok((kind, max_receives))
}

fn kind_of_buffer(
    kind: raw::RawBufferKind,
    queue_url: Option<String>,
    path: Option<PathBuf>,
    line: usize,
) -> Result<BufferConfig, ConfigError> {
    match (kind, queue_url, path) {
        (raw::RawBufferKind::Sqs, Some(queue_url), None) => {
            let valid =
                Url::parse(&queue_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !valid {
                return Err(ConfigError::at(
                    line,
                    "buffer.queue_url is not a URL: write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE",
                ));
            }
            Ok(BufferConfig::Sqs { queue_url })
        }
        (raw::RawBufferKind::Local, None, Some(path)) => Ok(BufferConfig::Local { path }),
        (raw::RawBufferKind::Sqs, ..) => Err(ConfigError::at(
            line,
            "[buffer] with kind = \"sqs\" takes `queue_url`, not `path`",
        )),
        (raw::RawBufferKind::Local, ..) => Err(ConfigError::at(
            line,
            "[buffer] with kind = \"local\" takes `path`, not `queue_url`",
        )),
    }
}

pub(super) fn cloudfront(
    section: Spanned<raw::RawCloudFront>,
    lines: &Lines<'_>,
) -> Result<CloudFrontConfig, ConfigError> {
    let line = lines.of(&section);
    let raw = section.into_inner();
    if raw.distributions.is_empty() {
        return Err(ConfigError::at(
            line,
            "[cloudfront] names no distribution: add [[cloudfront.distribution]] with `name` and `id`",
        ));
    }
    let mut names = HashSet::new();
    let mut distributions = Vec::new();
    for distribution in raw.distributions {
        if !names.insert(distribution.name.get_ref().clone()) {
            return Err(ConfigError::at(
                lines.of(&distribution.name),
                format!(
                    "two distributions are called \"{}\"",
                    distribution.name.get_ref()
                ),
            ));
        }
        distributions.push(DistributionConfig {
            name: distribution.name.into_inner(),
            id: distribution.id,
            monthly_path_budget: distribution.monthly_path_budget,
        });
    }
    let calls_per_second = match raw.calls_per_second {
        None => CALLS_PER_SECOND,
        Some(rate) if (0.01..=100.0).contains(rate.get_ref()) => rate.into_inner(),
        Some(rate) => {
            return Err(ConfigError::at(
                lines.of(&rate),
                "cloudfront.calls_per_second must be between 0.01 and 100: CloudFront throttles an account at a few calls a second",
            ));
        }
    };
    if raw.overdue_after < OVERDUE_AFTER_MIN {
        return Err(ConfigError::at(
            line,
            "cloudfront.overdue_after must be 1s or more: invalidations take seconds to complete",
        ));
    }
    Ok(CloudFrontConfig {
        window: raw.window,
        calls_per_second,
        overdue_after: raw.overdue_after,
        always: AlwaysPaths::default(),
        distributions,
    })
}
