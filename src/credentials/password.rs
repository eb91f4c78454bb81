//! A password, or a token in its place.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::token::{Signer, TokenError};

/// Why there is no password at this moment.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("{0}")]
    Unreadable(String),
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The password for connections to one server.
#[derive(Clone)]
pub enum Password {
    /// The same password for every connection.
    Fixed(Arc<str>),
    /// A password that is read anew for every connection, so that one that was
    /// rotated needs no restart.
    Kept(Arc<dyn Fn() -> Result<String, String> + Send + Sync>),
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
    /// It cannot be read, or AWS gives this process no credentials. That may pass.
    pub async fn now(&self) -> Result<String, PasswordError> {
        match self {
            Password::Fixed(password) => Ok(password.to_string()),
            Password::Kept(read) => read().map_err(PasswordError::Unreadable),
            // Boxed, because the future of the SDK's chain is large and most
            // passwords do not need it.
            Password::Token(signer) => Ok(Box::pin(signer.token(SystemTime::now())).await?),
        }
    }

    /// Whether it is a token, which is sent in clear text through TLS.
    pub fn is_token(&self) -> bool {
        matches!(self, Password::Token(_))
    }

    /// Time for which a connection that it opened may be used.
    pub fn connection_lasts(&self) -> Option<Duration> {
        match self {
            Password::Fixed(_) | Password::Kept(_) => None,
            Password::Token(signer) => signer.connection_lasts(),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
