//! The cache behaviours of a live distribution, in the order in which CloudFront
//! tries them.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_cloudfront::types::{
    CacheBehavior, ConnectionMode, DefaultCacheBehavior, DistributionConfig, EventType,
    ForwardedValues, FunctionAssociations, ItemSelection, LambdaFunctionAssociations,
    OriginRequestPolicyCookieBehavior, OriginRequestPolicyHeaderBehavior,
};

use super::EdgeError;
use super::cloudfront::{CloudFront, explain};

const READ: &str = "cloudfront:GetDistributionConfig";
const READ_POLICY: &str = "cloudfront:GetCachePolicy";
const READ_ORIGIN_POLICY: &str = "cloudfront:GetOriginRequestPolicy";

/// One cache behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// Its path pattern; `*` for the default one.
    pub pattern: String,
    /// The name of its cache policy, or words that say that it has none.
    pub policy: String,
    /// Time for which it caches.
    pub ttl: Ttl,
    /// Whether all headers and cookies reach the origin.
    pub forwards_all: bool,
}

/// Properties of a distribution besides its behaviours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The header in which the origin names the cache tags of an answer.
    /// Without one CloudFront accepts invalidations of tags and does nothing.
    pub tag_header: Option<String>,
    /// Whether it has tenants.
    pub multi_tenant: bool,
    /// Path patterns of the behaviours whose requests a function sees before the
    /// cache, and may rewrite: CloudFront caches under what it makes of the path.
    pub rewritten: Vec<String>,
    /// The object that is cached for `/`.
    pub root_object: Option<String>,
}

/// Time for which something is cached, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ttl {
    /// The shortest time, whatever the origin says.
    pub min_s: i64,
    /// The time if the origin says nothing.
    pub default_s: i64,
    /// The longest time, whatever the origin says.
    pub max_s: i64,
}

/// Times that hold where a behaviour with legacy settings names none (CloudFront
/// API reference, "DefaultCacheBehavior").
const LEGACY_TTL: Ttl = Ttl {
    min_s: 0,
    default_s: 86_400,
    max_s: 31_536_000,
};

/// The parts of a behaviour that matter here.
struct Settings<'a> {
    pattern: &'a str,
    cache_policy: Option<&'a str>,
    origin_policy: Option<&'a str>,
    forwarded: Option<&'a ForwardedValues>,
    legacy: [Option<i64>; 3],
}

impl CloudFront {
    async fn config(
        &self,
        distribution: &Arc<str>,
    ) -> Result<Option<DistributionConfig>, EdgeError> {
        let answer = self
            .client
            .get_distribution_config()
            .id(&**distribution)
            .send()
            .await
            .map_err(|error| explain(distribution, READ, None, &error))?;
        Ok(answer.distribution_config)
    }

    /// Reads what a distribution has besides behaviours.
    ///
    /// # Errors
    ///
    /// The distribution cannot be read.
    pub async fn traits(&self, distribution: &Arc<str>) -> Result<Traits, EdgeError> {
        let Some(config) = self.config(distribution).await? else {
            return Ok(Traits::default());
        };
        let rewritten = rewritten(&config);
        let tags = config.cache_tag_config.map(|tags| tags.header_name);
        Ok(Traits {
            tag_header: tags.filter(|name| !name.is_empty()),
            multi_tenant: config.connection_mode == Some(ConnectionMode::TenantOnly),
            rewritten,
            root_object: config.default_root_object.filter(|name| !name.is_empty()),
        })
    }

    /// Reads the behaviours of a distribution; the default one stands last.
    ///
    /// # Errors
    ///
    /// The distribution or one of its policies cannot be read.
    pub async fn behaviors(&self, distribution: &Arc<str>) -> Result<Vec<Behavior>, EdgeError> {
        let Some(config) = self.config(distribution).await? else {
            return Ok(Vec::new());
        };
        let behaviors = config
            .cache_behaviors
            .and_then(|behaviors| behaviors.items)
            .unwrap_or_default();
        let ordered = behaviors.iter().map(of_pattern);
        let default = config.default_cache_behavior.iter().map(of_default);
        let mut cache_policies = HashMap::new();
        let mut origin_policies = HashMap::new();
        let mut out = Vec::new();
        for settings in ordered.chain(default) {
            let (policy, ttl) = match settings.cache_policy {
                None => ("legacy settings".to_owned(), settings.legacy_ttl()),
                Some(id) => match cache_policies.get(id) {
                    Some(known) => Clone::clone(known),
                    None => {
                        let read = self.cache_policy(distribution, id).await?;
                        cache_policies.insert(id.to_owned(), read.clone());
                        read
                    }
                },
            };
            let forwards_all = match (settings.origin_policy, settings.forwarded) {
                (Some(id), _) => match origin_policies.get(id) {
                    Some(known) => *known,
                    None => {
                        let read = self.forwards_all(distribution, id).await?;
                        origin_policies.insert(id.to_owned(), read);
                        read
                    }
                },
                (None, Some(forwarded)) => forwards_everything(forwarded),
                (None, None) => false,
            };
            out.push(Behavior {
                pattern: settings.pattern.to_owned(),
                policy,
                ttl,
                forwards_all,
            });
        }
        Ok(out)
    }

    async fn cache_policy(
        &self,
        distribution: &Arc<str>,
        id: &str,
    ) -> Result<(String, Ttl), EdgeError> {
        let output = self
            .client
            .get_cache_policy()
            .id(id)
            .send()
            .await
            .map_err(|error| explain(distribution, READ_POLICY, None, &error))?;
        let config = output
            .cache_policy
            .and_then(|policy| policy.cache_policy_config);
        let Some(config) = config else {
            return Ok((id.to_owned(), LEGACY_TTL));
        };
        let ttl = Ttl {
            min_s: config.min_ttl,
            default_s: config.default_ttl.unwrap_or(LEGACY_TTL.default_s),
            max_s: config.max_ttl.unwrap_or(LEGACY_TTL.max_s),
        };
        Ok((config.name, ttl))
    }

    async fn forwards_all(&self, distribution: &Arc<str>, id: &str) -> Result<bool, EdgeError> {
        let output = self
            .client
            .get_origin_request_policy()
            .id(id)
            .send()
            .await
            .map_err(|error| explain(distribution, READ_ORIGIN_POLICY, None, &error))?;
        let policy = output.origin_request_policy;
        let config = policy.and_then(|policy| policy.origin_request_policy_config);
        Ok(config.is_some_and(|config| {
            let headers = config.headers_config.map(|headers| headers.header_behavior);
            let cookies = config.cookies_config.map(|cookies| cookies.cookie_behavior);
            matches!(
                headers,
                Some(
                    OriginRequestPolicyHeaderBehavior::AllViewer
                        | OriginRequestPolicyHeaderBehavior::AllViewerAndWhitelistCloudFront
                        | OriginRequestPolicyHeaderBehavior::AllExcept
                )
            ) && cookies == Some(OriginRequestPolicyCookieBehavior::All)
        }))
    }
}

impl Settings<'_> {
    fn legacy_ttl(&self) -> Ttl {
        let [min, default, max] = self.legacy;
        Ttl {
            min_s: min.unwrap_or(LEGACY_TTL.min_s),
            default_s: default.unwrap_or(LEGACY_TTL.default_s),
            max_s: max.unwrap_or(LEGACY_TTL.max_s),
        }
    }
}

/// Patterns of the behaviours with a function for viewers' requests.
fn rewritten(config: &DistributionConfig) -> Vec<String> {
    let sees = |functions: Option<&FunctionAssociations>,
                lambdas: Option<&LambdaFunctionAssociations>| {
        let functions = functions.and_then(|all| all.items.as_deref());
        let lambdas = lambdas.and_then(|all| all.items.as_deref());
        let events = functions.into_iter().flatten().map(|one| &one.event_type);
        let of_lambdas = lambdas.into_iter().flatten().map(|one| &one.event_type);
        events
            .chain(of_lambdas)
            .any(|event| *event == EventType::ViewerRequest)
    };
    let behaviors = config.cache_behaviors.as_ref();
    let ordered = behaviors.and_then(|all| all.items.as_deref());
    let ordered = ordered.into_iter().flatten().filter(|behavior| {
        sees(
            behavior.function_associations.as_ref(),
            behavior.lambda_function_associations.as_ref(),
        )
    });
    let default = config.default_cache_behavior.iter().filter(|behavior| {
        sees(
            behavior.function_associations.as_ref(),
            behavior.lambda_function_associations.as_ref(),
        )
    });
    let ordered = ordered.map(|behavior| behavior.path_pattern.clone());
    ordered.chain(default.map(|_| "*".to_owned())).collect()
}

#[expect(
    deprecated,
    reason = "distributions from before cache policies are live still"
)]
fn of_pattern(behavior: &CacheBehavior) -> Settings<'_> {
    Settings {
        pattern: &behavior.path_pattern,
        cache_policy: behavior.cache_policy_id.as_deref(),
        origin_policy: behavior.origin_request_policy_id.as_deref(),
        forwarded: behavior.forwarded_values.as_ref(),
        legacy: [behavior.min_ttl, behavior.default_ttl, behavior.max_ttl],
    }
}

#[expect(
    deprecated,
    reason = "distributions from before cache policies are live still"
)]
fn of_default(behavior: &DefaultCacheBehavior) -> Settings<'_> {
    Settings {
        pattern: "*",
        cache_policy: behavior.cache_policy_id.as_deref(),
        origin_policy: behavior.origin_request_policy_id.as_deref(),
        forwarded: behavior.forwarded_values.as_ref(),
        legacy: [behavior.min_ttl, behavior.default_ttl, behavior.max_ttl],
    }
}

fn forwards_everything(forwarded: &ForwardedValues) -> bool {
    let headers = forwarded
        .headers
        .as_ref()
        .and_then(|headers| headers.items.as_deref());
    let cookies = forwarded.cookies.as_ref();
    headers.is_some_and(|headers| headers.iter().any(|name| name == "*"))
        && cookies.is_some_and(|cookies| cookies.forward == ItemSelection::All)
}
