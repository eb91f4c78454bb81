//! The distributions that paths are sent to.

use std::sync::Arc;

use super::paths;
use super::report::CheckReport;
use crate::command::finding::Level;
use crate::config::{CloudFrontConfig, Config};
use crate::edge::EdgeError;
use crate::edge::cloudfront::CloudFront;
use crate::rules::rule::Rule;

/// Asks CloudFront about each of them.
pub(super) async fn examine(
    report: &mut CheckReport,
    config: &Config,
    section: &CloudFrontConfig,
    edge: &CloudFront,
) {
    for distribution in &section.distributions {
        let id: Arc<str> = distribution.id.as_str().into();
        if let Err(error) = edge.check(&id).await {
            report.fail("cloudfront", error);
            continue;
        }
        if let Err(error) = traits(report, config, edge, &distribution.name, &id).await {
            report.fail("cloudfront", error);
            continue;
        }
        let behaviors = match edge.behaviors(&id).await {
            Ok(behaviors) => behaviors,
            Err(error) => {
                report.fail("cloudfront", error);
                continue;
            }
        };
        match paths::audit(&distribution.name, config.rules.classes(), &behaviors) {
            Some(rows) => {
                let message = format!(
                    "distribution {} ({id}) answers and has {} cache behaviors",
                    distribution.name,
                    behaviors.len()
                );
                report.add(Level::Ok, "cloudfront", message);
                report.paths.extend(rows);
            }
            None => {
                let message = format!(
                    "distribution {} ({id}): its path patterns and those of [[path]] are too complex to compare",
                    distribution.name
                );
                report.add(Level::Warning, "cloudfront", message);
            }
        }
    }
}

/// Says which pages have two names, and checks that the distribution reads the cache tags of the rules, and that it
/// can have their tenants. CloudFront accepts a tag that it does not read, and
/// refuses a tenant only when an invalidation is sent.
async fn traits(
    report: &mut CheckReport,
    config: &Config,
    edge: &CloudFront,
    name: &str,
    id: &Arc<str>,
) -> Result<(), EdgeError> {
    let names = |which: fn(&Rule) -> bool| {
        config
            .rules
            .iter()
            .filter(|rule| rule.goes_to(name) && which(rule))
            .map(|rule| &*rule.name)
            .collect::<Vec<&str>>()
            .join(", ")
    };
    let tagging = names(Rule::sends_tags);
    let of_tenants = names(|rule| rule.tenant.is_some());
    let traits = edge.traits(id).await?;
    if !traits.rewritten.is_empty() {
        let message = format!(
            "distribution {name} ({id}) has a function for viewers' requests at {}: where it rewrites the path, pages are cached under what it makes of it, so that rules need both forms in `paths`",
            traits.rewritten.join(", ")
        );
        report.add(Level::Note, "cloudfront", message);
    }
    if let Some(object) = &traits.root_object {
        let object = object.trim_start_matches('/');
        let message = format!(
            "distribution {name} ({id}) has the default root object {object}: a rule about the page at / needs both \"/\" and \"/{object}\" in `paths`"
        );
        report.add(Level::Note, "cloudfront", message);
    }
    match traits.tag_header {
        _ if tagging.is_empty() => {}
        Some(header) => report.add(
            Level::Ok,
            "cloudfront",
            format!("distribution {name} ({id}) reads cache tags from the header {header}"),
        ),
        None => report.add(
            Level::Error,
            "cloudfront",
            format!(
                "distribution {name} ({id}) has no tag header, so that CloudFront ignores the edge_tags of {tagging}: set CacheTagConfig.HeaderName to the header in which the origin names them"
            ),
        ),
    }
    if !of_tenants.is_empty() && !traits.multi_tenant {
        report.add(
            Level::Error,
            "cloudfront",
            format!(
                "distribution {name} ({id}) is not a multi-tenant distribution, and has none of the tenants of {of_tenants}: name the right one in `distributions`"
            ),
        );
    }
    Ok(())
}
