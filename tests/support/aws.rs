//! An AWS emulator with SQS and CloudFront, and what tests ask of the two.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use aws_sdk_cloudfront::types as cloudfront_types;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use super::{Process, free_port, scratch, servers};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const REGION: &str = "eu-west-1";
const KEY: &str = "test";

/// A running (or stopped) emulator. Queues, messages and distributions survive `stop`, not `kill`.
#[derive(Debug)]
pub struct Aws {
    process: Process,
    port: u16,
    dir: TempDir,
}

/// An invalidation as CloudFront lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invalidation {
    pub id: String,
    pub caller_reference: String,
    pub status: String,
    /// In the order of the request.
    pub paths: Vec<String>,
}

impl Aws {
    pub async fn start() -> Self {
        let port = free_port();
        let dir = scratch("aws");
        let process = spawn(port, &dir);
        let mut aws = Self { process, port, dir };
        aws.ready().await;
        aws
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment that makes the SDK of another process talk to this emulator, and to nothing else.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint().as_str()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", KEY),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(Credentials::new(KEY, KEY, None, None, "test"));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    pub fn cloudfront(&self) -> aws_sdk_cloudfront::Client {
        let config = aws_sdk_cloudfront::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(Credentials::new(KEY, KEY, None, None, "test"));
        aws_sdk_cloudfront::Client::from_conf(config.build())
    }

    /// Creates a standard queue; returns its URL.
    pub async fn create_queue(&self, name: &str) -> String {
        self.create_queue_with(name, &[]).await
    }

    /// Creates a queue with attributes (`VisibilityTimeout`, `FifoQueue`, …); returns its URL.
    pub async fn create_queue_with(
        &self,
        name: &str,
        attributes: &[(QueueAttributeName, &str)],
    ) -> String {
        let attributes: HashMap<_, _> = attributes
            .iter()
            .map(|(name, value)| (name.clone(), (*value).to_owned()))
            .collect();
        let created = self
            .sqs()
            .create_queue()
            .queue_name(name)
            .set_attributes((!attributes.is_empty()).then_some(attributes))
            .send()
            .await
            .expect("SQS creates a queue");
        created.queue_url.expect("a created queue has a URL")
    }

    /// Creates `NAME` and its dead-letter queue `NAME-dead`; returns both URLs.
    pub async fn create_queue_with_dead_letters(
        &self,
        name: &str,
        max_receive_count: u32,
    ) -> (String, String) {
        let dead = self.create_queue(&format!("{name}-dead")).await;
        let dead_arn = self
            .queue_attribute(&dead, QueueAttributeName::QueueArn)
            .await;
        let policy = format!(
            r#"{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":"{max_receive_count}"}}"#
        );
        let queue = self
            .create_queue_with(name, &[(QueueAttributeName::RedrivePolicy, &policy)])
            .await;
        (queue, dead)
    }

    /// Messages waiting to be received, and messages received but not deleted.
    pub async fn queue_depth(&self, url: &str) -> (u64, u64) {
        let waiting = QueueAttributeName::ApproximateNumberOfMessages;
        let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let number = async |name| {
            let value = self.queue_attribute(url, name).await;
            value.parse().expect("a number of messages")
        };
        (number(waiting).await, number(in_flight).await)
    }

    async fn queue_attribute(&self, url: &str, name: QueueAttributeName) -> String {
        let answer = self
            .sqs()
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(name.clone())
            .send()
            .await
            .expect("SQS tells a queue's attributes");
        let attributes = answer.attributes.unwrap_or_default();
        attributes
            .get(&name)
            .unwrap_or_else(|| panic!("SQS does not tell {name:?}"))
            .clone()
    }

    /// Creates a distribution whose default behaviour caches; returns its id.
    pub async fn create_distribution(&self, name: &str) -> String {
        let origin = cloudfront_types::Origin::builder()
            .id("origin")
            .domain_name("origin.test")
            .build()
            .expect("all required fields are set");
        let origins = cloudfront_types::Origins::builder()
            .quantity(1)
            .items(origin)
            .build()
            .expect("all required fields are set");
        let default_behavior = cloudfront_types::DefaultCacheBehavior::builder()
            .target_origin_id("origin")
            .viewer_protocol_policy(cloudfront_types::ViewerProtocolPolicy::RedirectToHttps)
            .cache_policy_id("658327ea-f89d-4fab-a63d-7e88639e58f6") // CachingOptimized
            .build()
            .expect("all required fields are set");
        let config = cloudfront_types::DistributionConfig::builder()
            .caller_reference(name)
            .comment(name)
            .enabled(true)
            .origins(origins)
            .default_cache_behavior(default_behavior)
            .build()
            .expect("all required fields are set");
        let created = self
            .cloudfront()
            .create_distribution()
            .distribution_config(config)
            .send()
            .await
            .expect("CloudFront creates a distribution");
        created
            .distribution
            .expect("a created distribution is described")
            .id
    }

    /// Every invalidation of a distribution, sorted by id.
    pub async fn invalidations(&self, distribution: &str) -> Vec<Invalidation> {
        let cloudfront = self.cloudfront();
        let mut pages = cloudfront
            .list_invalidations()
            .distribution_id(distribution)
            .into_paginator()
            .send();
        let mut invalidations = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("CloudFront lists invalidations");
            let list = page.invalidation_list.expect("a page has a list");
            for summary in list.items.unwrap_or_default() {
                let described = cloudfront
                    .get_invalidation()
                    .distribution_id(distribution)
                    .id(&summary.id)
                    .send()
                    .await
                    .expect("CloudFront tells a listed invalidation")
                    .invalidation
                    .expect("an invalidation is described");
                let batch = described
                    .invalidation_batch
                    .expect("an invalidation has a batch");
                let paths = batch.paths.and_then(|paths| paths.items);
                invalidations.push(Invalidation {
                    id: described.id,
                    caller_reference: batch.caller_reference,
                    status: described.status,
                    paths: paths.unwrap_or_default(),
                });
            }
        }
        invalidations.sort();
        invalidations
    }

    /// Every path that was invalidated, sorted, each as often as it was sent.
    pub async fn invalidated_paths(&self, distribution: &str) -> Vec<String> {
        let invalidations = self.invalidations(distribution).await;
        let mut paths: Vec<String> = invalidations
            .into_iter()
            .flat_map(|invalidation| invalidation.paths)
            .collect();
        paths.sort();
        paths
    }

    pub async fn stop(&mut self) {
        self.process.stop(STOP_WITHIN).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends a signal by name: `"STOP"` freezes the emulator with its connections open, `"CONT"` lets it go on.
    pub fn signal(&mut self, signal: &str) {
        self.process.signal(signal);
    }

    /// Starts a stopped or killed emulator on its old port.
    pub async fn start_again(&mut self) {
        assert!(self.process.exited().is_some(), "the emulator still runs");
        self.process = spawn(self.port, &self.dir);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let sqs = self.sqs();
        let port = self.port;
        let answers = async || {
            // The SDK's own retries are slow: ask it only when something listens.
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
                && sqs.list_queues().send().await.is_ok()
        };
        self.process.ready(READY_WITHIN, answers).await;
    }
}

fn spawn(port: u16, dir: &TempDir) -> Process {
    let mut command = Command::new(&servers().ministack);
    command
        .current_dir(dir.path())
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("MINISTACK_HOST", "127.0.0.1") // The host in queue URLs.
        .env("SERVICES", "sqs,cloudfront")
        .env("PERSIST_STATE", "1")
        .env("STATE_DIR", dir.path().join("state"))
        .env("TMPDIR", dir.path())
        .env("LOG_LEVEL", "WARNING")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Process::spawn("ministack", &command, dir.path())
}

/// One emulator for every test that makes its own queues and distributions and does not stop it.
pub async fn shared_aws() -> &'static Aws {
    static SHARED: OnceCell<Aws> = OnceCell::const_new();
    SHARED.get_or_init(Aws::start).await
}
