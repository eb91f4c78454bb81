//! The credentials that this process has from AWS.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::OnceCell;

/// Time that the chain may take, as in the SDK.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Credentials that end within this time are not used any more: a token ends with
/// them, and the login with it takes time, too.
const SPARE: Duration = Duration::from_secs(60);

/// Credentials without an end are loaded again after this time, as in the SDK, so
/// that a key that was replaced in a file is found.
const LASTS: Duration = Duration::from_secs(15 * 60);

/// The SDK's chain of credentials (environment, profile, web identity, container,
/// instance). It is asked when credentials are needed, and they are cached while
/// they are valid, which the SDK does for its own clients only.
#[derive(Debug, Default)]
pub struct Chain {
    provider: OnceCell<Option<SharedCredentialsProvider>>,
    held: Mutex<Option<CachedCredentials>>,
}

#[derive(Clone, Debug)]
struct CachedCredentials {
    credentials: Credentials,
    until: SystemTime,
}

impl Chain {
    /// A chain of these credentials instead of those of the process.
    pub fn of(provider: impl ProvideCredentials + 'static) -> Arc<Self> {
        Arc::new(Self {
            provider: OnceCell::new_with(Some(Some(SharedCredentialsProvider::new(provider)))),
            held: Mutex::default(),
        })
    }

    /// Credentials that are valid for a while after `now`.
    pub(super) async fn get(&self, now: SystemTime) -> Result<Credentials, String> {
        if let Some(held) = &*self.held.lock().unwrap_or_else(PoisonError::into_inner)
            && now < held.until
        {
            return Ok(held.credentials.clone());
        }
        let credentials = tokio::time::timeout(LOAD_TIMEOUT, self.load())
            .await
            .map_err(|_| {
                let seconds = LOAD_TIMEOUT.as_secs();
                format!("AWS gave no credentials within {seconds} s")
            })??;
        let until = match credentials.expiry() {
            Some(end) => end.checked_sub(SPARE).unwrap_or(end),
            None => now + LASTS,
        };
        let held = CachedCredentials {
            credentials: credentials.clone(),
            until,
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(credentials)
    }

    async fn load(&self) -> Result<Credentials, String> {
        let provider = self.provider.get_or_init(async || {
            let config = aws_config::defaults(BehaviorVersion::latest());
            config.load().await.credentials_provider()
        });
        let Some(provider) = provider.await else {
            return Err("AWS credentials are switched off".to_owned());
        };
        provider
            .provide_credentials()
            .await
            .map_err(|error| crate::telemetry::cause::chain(&error))
    }
}
