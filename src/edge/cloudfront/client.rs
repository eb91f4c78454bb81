//! CloudFront in one AWS account.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudfront::Client;
use aws_sdk_cloudfront::config::retry::RetryConfig;
use aws_sdk_cloudfront::config::timeout::TimeoutConfig;

use super::error::explain;
use crate::edge::EdgeError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A full batch of long paths is 12 MB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// All attempts of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The permission that listing takes.
pub(super) const LIST: &str = "cloudfront:ListInvalidations";

/// CloudFront in one AWS account.
#[derive(Clone, Debug)]
pub struct CloudFront {
    pub(in crate::edge) client: Client,
    /// Repeats nothing by itself: its caller keeps to the rate limit.
    pub(super) once: Client,
}

impl CloudFront {
    /// A client. Nothing is sent yet.
    pub fn new(config: &SdkConfig) -> Self {
        let config = aws_sdk_cloudfront::config::Builder::from(config)
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .build();
        let once = config.to_builder().retry_config(RetryConfig::disabled());
        Self {
            once: Client::from_conf(once.build()),
            client: Client::from_conf(config),
        }
    }

    /// Asks for the distribution's newest invalidation, so that a start-up with
    /// wrong credentials or a wrong id fails early. It takes the permission
    /// `cloudfront:ListInvalidations`; whether invalidations may be created
    /// shows only when one is.
    ///
    /// # Errors
    ///
    /// The distribution cannot be reached or read.
    pub async fn check(&self, distribution: &Arc<str>) -> Result<(), EdgeError> {
        self.client
            .list_invalidations()
            .distribution_id(&**distribution)
            .max_items(1)
            .send()
            .await
            .map(drop)
            .map_err(|error| explain(distribution, LIST, None, &error))
    }
}
