//! A signed request that serves as a password. It is never sent: its URL proves who
//! signed it, for which account, and when.
//!
//! - Aurora and RDS: "Connecting to your DB cluster using IAM authentication",
//!   Amazon Aurora User Guide.
//! - ElastiCache and MemoryDB: "Authenticating with IAM" in their guides.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::aws::Chain;

/// Time for which a token is valid: the longest that all of the services accept. A
/// token is used at once; the rest is for clocks that differ.
const TOKEN_LASTS: Duration = Duration::from_secs(15 * 60);

/// Time for which a connection to a cache is used. ElastiCache and MemoryDB close
/// it after 12 hours.
const CONNECTION_LASTS: Duration = Duration::from_secs(11 * 3_600);

/// The characters that a signature encodes: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The service that takes a token, and the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Aurora or RDS.
    Database {
        /// The endpoint by the name that AWS has for it, since no other is accepted.
        host: String,
        /// The port of the endpoint.
        port: u16,
        /// The account in the database.
        user: String,
    },
    /// ElastiCache or MemoryDB.
    Cache {
        kind: CacheKind,
        /// The name that AWS has for the cache, which is not a host name.
        name: String,
        /// The account in the cache.
        user: String,
    },
}

/// A service of AWS that runs Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheKind {
    /// A replication group of ElastiCache.
    #[default]
    ElastiCache,
    ElastiCacheServerless,
    /// A cluster of MemoryDB.
    MemoryDb,
}

impl Audience {
    /// The name of the service in a signature.
    fn service(&self) -> &'static str {
        match self {
            Audience::Database { .. } => "rds-db",
            Audience::Cache { kind, .. } => match kind {
                CacheKind::ElastiCache | CacheKind::ElastiCacheServerless => "elasticache",
                CacheKind::MemoryDb => "memorydb",
            },
        }
    }

    /// The URL of the request, without the scheme.
    fn request(&self) -> String {
        match self {
            Audience::Database { host, port, user } => {
                let user = utf8_percent_encode(user, RESERVED);
                format!("{host}:{port}/?Action=connect&DBUser={user}")
            }
            Audience::Cache { kind, name, user } => {
                let serverless = match kind {
                    CacheKind::ElastiCacheServerless => "&ResourceType=ServerlessCache",
                    CacheKind::ElastiCache | CacheKind::MemoryDb => "",
                };
                let user = utf8_percent_encode(user, RESERVED);
                format!("{name}/?Action=connect&User={user}{serverless}")
            }
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Audience::Database { host, user, .. } => write!(f, "\"{user}\" at {host}"),
            Audience::Cache { name, user, .. } => write!(f, "\"{user}\" of cache {name}"),
        }
    }
}

/// Why a token cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error(
    "no IAM token can be signed for {audience}: {reason}; see that this process has AWS credentials (a role, a profile or AWS_ACCESS_KEY_ID)"
)]
pub struct TokenError {
    audience: String,
    reason: String,
}

/// Signs tokens for one account.
#[derive(Debug)]
pub struct Signer {
    chain: Arc<Chain>,
    region: String,
    audience: Audience,
    connection_lasts: Option<Duration>,
}

impl Signer {
    /// Signs with the credentials of `chain`, for an audience in `region`.
    pub fn new(chain: Arc<Chain>, region: String, audience: Audience) -> Self {
        let connection_lasts = match &audience {
            // A session stays open after its token has ended.
            Audience::Database { .. } => None,
            Audience::Cache { .. } => Some(CONNECTION_LASTS),
        };
        Self {
            chain,
            region,
            audience,
            connection_lasts,
        }
    }

    /// Sets another time for which connections are used.
    #[must_use]
    pub fn with_connections_lasting(mut self, time: Duration) -> Self {
        self.connection_lasts = Some(time);
        self
    }

    pub(super) fn connection_lasts(&self) -> Option<Duration> {
        self.connection_lasts
    }

    /// A token that is valid from `now` on.
    ///
    /// # Errors
    ///
    /// There are no credentials.
    pub async fn token(&self, now: SystemTime) -> Result<String, TokenError> {
        let failed = |reason: String| TokenError {
            audience: self.audience.to_string(),
            reason,
        };
        let credentials = self.chain.get(now).await.map_err(failed)?;
        let request = Presigned {
            request: &self.audience.request(),
            service: self.audience.service(),
            region: &self.region,
            lasts: TOKEN_LASTS,
            body: SignableBody::empty(),
        };
        request.signed(credentials, now).map_err(failed)
    }
}

/// A request that carries its signature in its URL.
pub(super) struct Presigned<'a> {
    /// Host, path and query.
    pub(super) request: &'a str,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    /// Time for which the signature is valid.
    pub(super) lasts: Duration,
    pub(super) body: SignableBody<'a>,
}

impl Presigned<'_> {
    /// The URL without its scheme.
    pub(super) fn signed(
        self,
        credentials: Credentials,
        now: SystemTime,
    ) -> Result<String, String> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            let cause = crate::telemetry::cause::chain(error);
            format!("{} cannot be signed: {cause}", self.request)
        };
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(self.lasts);
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let url = format!("https://{}", self.request);
        let request = SignableRequest::new("GET", url, std::iter::empty(), self.body)
            .map_err(|error| failed(&error))?;
        let (signature, _) = sign(request, &params)
            .map_err(|error| failed(&error))?
            .into_parts();
        let mut signed = self.request.to_owned();
        for (name, value) in signature.params() {
            signed.push(if signed.contains('?') { '&' } else { '?' });
            signed.push_str(name);
            signed.push('=');
            signed.extend(utf8_percent_encode(value, RESERVED));
        }
        Ok(signed)
    }
}
