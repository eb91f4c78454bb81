//! Who this process is to AWS.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::OnceCell;

/// How long the chain may take, as in the SDK.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Credentials that end sooner are not used any more: a token is worth no more
/// than they are, and it has a login before it.
const SPARE: Duration = Duration::from_secs(60);

/// Those that have no end are asked for again after this, as in the SDK, so
/// that a key that was exchanged in a file is found.
const LASTS: Duration = Duration::from_secs(15 * 60);

/// The SDK's chain of credentials (environment, profile, web identity, container,
/// instance), asked when they are needed and kept while they hold.
///
/// The SDK keeps them only for its own clients.
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
    /// With these instead of the process' own.
    pub fn of(provider: impl ProvideCredentials + 'static) -> Arc<Self> {
        Arc::new(Self {
            provider: OnceCell::new_with(Some(Some(SharedCredentialsProvider::new(provider)))),
            held: Mutex::default(),
        })
    }

    /// Credentials that hold for a while after `now`.
    pub(super) async fn get(&self, now: SystemTime) -> Result<Credentials, String> {
        if let Some(held) = &*self.held.lock().unwrap_or_else(PoisonError::into_inner)
            && now < held.until
        {
            return Ok(held.credentials.clone());
        }
        let loaded = tokio::time::timeout(LOAD_TIMEOUT, self.load()).await;
        let credentials = loaded.map_err(|_| {
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
        let provided = provider.provide_credentials().await;
        provided.map_err(|error| crate::telemetry::cause::chain(&error))
    }
}
