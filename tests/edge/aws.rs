//! Queues and distributions to test with.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudfront::types::{
    ConnectionMode, CookiePreference, DefaultCacheBehavior, DistributionConfig, DomainItem,
    ForwardedValues, ItemSelection, Origin, Origins, ViewerProtocolPolicy,
};
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;

pub async fn config(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .load()
        .await
}

fn unique() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Makes a queue and returns its URL.
pub async fn queue(endpoint: &str, suffix: &str, attributes: &[(&str, &str)]) -> String {
    let client = aws_sdk_sqs::Client::new(&config(endpoint).await);
    let mut request = client
        .create_queue()
        .queue_name(format!("{}{suffix}", unique()));
    for (name, value) in attributes {
        request = request.attributes(QueueAttributeName::from(*name), *value);
    }
    request.send().await.unwrap().queue_url.unwrap()
}

/// How many messages a queue holds, visible or not.
pub async fn messages_in(endpoint: &str, url: &str) -> u64 {
    let client = aws_sdk_sqs::Client::new(&config(endpoint).await);
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = client.get_queue_attributes().queue_url(url);
    let output = request
        .set_attribute_names(Some(names.to_vec()))
        .send()
        .await
        .unwrap();
    let attributes = output.attributes.unwrap();
    names
        .iter()
        .map(|name| attributes[name].parse::<u64>().unwrap())
        .sum()
}

/// Makes a distribution and returns its id.
pub async fn distribution(endpoint: &str) -> String {
    distribution_of(endpoint, ConnectionMode::Direct).await
}

/// Makes a distribution that serves tenants, and returns its id.
pub async fn multi_tenant_distribution(endpoint: &str) -> String {
    distribution_of(endpoint, ConnectionMode::TenantOnly).await
}

/// Makes a tenant of a distribution, and returns its id.
pub async fn tenant(endpoint: &str, distribution: &str) -> String {
    let client = aws_sdk_cloudfront::Client::new(&config(endpoint).await);
    let name = unique();
    let domain = DomainItem::builder().domain(format!("{name}.example"));
    let request = client
        .create_distribution_tenant()
        .distribution_id(distribution)
        .name(name)
        .domains(domain.build().unwrap());
    let made = request.send().await.unwrap();
    made.distribution_tenant.unwrap().id.unwrap()
}

async fn distribution_of(endpoint: &str, mode: ConnectionMode) -> String {
    let client = aws_sdk_cloudfront::Client::new(&config(endpoint).await);
    let origin = Origin::builder()
        .id("o")
        .domain_name("origin.example")
        .build()
        .unwrap();
    #[expect(
        deprecated,
        reason = "the shortest behaviour that a distribution can have"
    )]
    let behaviour = DefaultCacheBehavior::builder()
        .target_origin_id("o")
        .viewer_protocol_policy(ViewerProtocolPolicy::AllowAll)
        .min_ttl(0)
        .forwarded_values(
            ForwardedValues::builder()
                .query_string(false)
                .cookies(
                    CookiePreference::builder()
                        .forward(ItemSelection::None)
                        .build()
                        .unwrap(),
                )
                .build()
                .unwrap(),
        )
        .build()
        .unwrap();
    let config = DistributionConfig::builder()
        .caller_reference(unique())
        .connection_mode(mode)
        .comment("")
        .enabled(true)
        .origins(
            Origins::builder()
                .quantity(1)
                .items(origin)
                .build()
                .unwrap(),
        )
        .default_cache_behavior(behaviour)
        .build()
        .unwrap();
    let made = client
        .create_distribution()
        .distribution_config(config)
        .send()
        .await
        .unwrap();
    made.distribution.unwrap().id
}

/// The paths of every invalidation a distribution has had.
pub async fn invalidated(endpoint: &str, distribution: &str) -> Vec<Vec<String>> {
    let client = aws_sdk_cloudfront::Client::new(&config(endpoint).await);
    let list = client
        .list_invalidations()
        .distribution_id(distribution)
        .send()
        .await
        .unwrap();
    let mut paths = Vec::new();
    for summary in list.invalidation_list.unwrap().items.unwrap_or_default() {
        let request = client
            .get_invalidation()
            .distribution_id(distribution)
            .id(summary.id);
        let batch = request
            .send()
            .await
            .unwrap()
            .invalidation
            .unwrap()
            .invalidation_batch
            .unwrap();
        paths.push(batch.paths.unwrap().items.unwrap_or_default());
    }
    paths
}
