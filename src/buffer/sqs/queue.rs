//! A handle to a queue.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Region;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::error;
use crate::buffer::BufferError;

/// SQS's own default, until [`Sqs::check`] has read the queue's setting.
pub(super) const VISIBILITY_DEFAULT: Duration = Duration::from_secs(30);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// All attempts of one call. The caller tries again, and says what it waits for.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same of a long poll, which takes up to 20 s.
const POLL_TIMEOUT: Duration = Duration::from_secs(30);

/// A queue.
///
/// Cloning is cheap and gives another handle to the same queue.
#[derive(Clone, Debug)]
pub struct Sqs {
    pub(super) client: Client,
    /// For long polls.
    pub(super) polls: Client,
    pub(super) url: Arc<str>,
    pub(super) fifo: bool,
    pub(super) visibility: Arc<OnceLock<Duration>>,
    /// The dead-letter queue's URL, once [`Sqs::check`] has looked for it.
    pub(super) dead_letters: Arc<OnceLock<Option<Arc<str>>>>,
}

impl Sqs {
    /// The queue at `url`. Nothing is sent yet.
    ///
    /// A region named in the URL's host wins over the configuration's: SQS
    /// answers in the queue's own region only.
    pub fn new(config: &SdkConfig, url: impl Into<Arc<str>>) -> Self {
        let url = url.into();
        let client = |timeout| {
            let mut builder = aws_sdk_sqs::config::Builder::from(config).timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(timeout)
                    .operation_timeout(timeout)
                    .build(),
            );
            if let Some(region) = region_of(&url) {
                builder = builder.region(Region::new(region.to_owned()));
            }
            Client::from_conf(builder.build())
        };
        Self {
            client: client(CALL_TIMEOUT),
            polls: client(POLL_TIMEOUT),
            fifo: url.ends_with(".fifo"),
            url,
            visibility: Arc::default(),
            dead_letters: Arc::default(),
        }
    }

    /// The queue's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A call on this queue that failed as a whole.
    pub(super) fn failure<E>(&self, operation: &'static str, error: &SdkError<E>) -> BufferError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        error::of_call(&self.url, operation, error)
    }

    /// Time for which a received message stays invisible.
    pub(super) fn visibility_timeout(&self) -> Duration {
        self.visibility.get().copied().unwrap_or(VISIBILITY_DEFAULT)
    }

    pub(super) fn visibility_seconds(&self) -> i32 {
        i32::try_from(self.visibility_timeout().as_secs()).unwrap_or(i32::MAX)
    }
}

/// `sqs.<region>.amazonaws.com`, in every partition and with its FIPS and
/// dual-stack spellings left to the configuration.
fn region_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://")?.split('/').next()?;
    let (region, domain) = host.strip_prefix("sqs.")?.split_once('.')?;
    domain.starts_with("amazonaws.com").then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_comes_from_the_queues_url() {
        for (url, region) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
                Some("eu-west-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q",
                Some("cn-north-1"),
            ),
            ("http://localhost:4566/000000000000/q", None),
            ("https://queue.amazonaws.com/123456789012/q", None),
            ("https://sqs.example.com/123456789012/q", None),
        ] {
            assert_eq!(region_of(url), region, "{url}");
        }
    }
}
