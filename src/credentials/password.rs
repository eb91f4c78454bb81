//! A password, or a token in its place.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::token::{Signer, TokenError};

/// The password for connections to one server.
#[derive(Clone)]
pub enum Password {
    /// The same password for every connection.
    Fixed(Arc<str>),
    /// A token, signed anew for every connection.
    Token(Arc<Signer>),
}

impl Password {
    /// A password that is the same for every connection.
    pub fn fixed(password: &str) -> Self {
        Self::Fixed(password.into())
    }

    /// The password of a connection that is made now.
    ///
    /// # Errors
    ///
    /// AWS gives this process no credentials. That may pass.
    pub async fn now(&self) -> Result<String, TokenError> {
        match self {
            Password::Fixed(password) => Ok(password.to_string()),
            // Boxed, because the future of the SDK's chain is large and most
            // passwords do not need it.
            Password::Token(signer) => Box::pin(signer.token(SystemTime::now())).await,
        }
    }

    /// Whether it is a token, which is sent in clear text through TLS.
    pub fn is_token(&self) -> bool {
        matches!(self, Password::Token(_))
    }

    /// Time for which a connection that it opened may be used.
    pub fn connection_lasts(&self) -> Option<Duration> {
        match self {
            Password::Fixed(_) => None,
            Password::Token(signer) => signer.connection_lasts(),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
