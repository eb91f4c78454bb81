//! Credentials that AWS does not accept, and those that are missing. Neither is a
//! missing permission, and neither is an AWS that is away.

use std::fmt;

/// What is wrong with the credentials that evictd signs its requests with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsFault {
    /// They were good until lately.
    Expired,
    /// AWS does not know them, or the secret is another one.
    Wrong,
    /// There are none to sign with.
    Missing,
}

impl CredentialsFault {
    /// The fault that a code of AWS names ("Common error types" in the references of
    /// its APIs), if it names one.
    pub fn of_code(code: &str) -> Option<Self> {
        Some(match code.strip_suffix("Exception").unwrap_or(code) {
            "ExpiredToken" | "TokenRefreshRequired" => Self::Expired,
            "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "InvalidToken"
            | "UnrecognizedClient"
            | "SignatureDoesNotMatch"
            | "InvalidSignature"
            | "IncompleteSignature"
            | "MissingAuthenticationToken" => Self::Wrong,
            _ => return None,
        })
    }

    /// The fault if a request was not sent for want of credentials. `words` are those
    /// of the SDK, which has no code for it.
    pub fn of_unsent(words: &str) -> Option<Self> {
        words.contains("credential").then_some(Self::Missing)
    }

    /// Whether it may pass by itself.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Expired | Self::Missing => true,
            Self::Wrong => false,
        }
    }
}

impl fmt::Display for CredentialsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => {
                "the AWS credentials have expired: those of a role are renewed by themselves, so set new ones if \
                 evictd has them from its environment or from a file, and restart it"
            }
            Self::Wrong => {
                "AWS does not know the credentials: correct the access key, the secret and the session token, or the \
                 profile or role, that evictd gets them from; no permission is missing"
            }
            Self::Missing => {
                "evictd has no AWS credentials: give it a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_protocols_name_the_fault() {
        for (code, fault) in [
            ("ExpiredToken", Some(CredentialsFault::Expired)),
            ("ExpiredTokenException", Some(CredentialsFault::Expired)),
            ("InvalidClientTokenId", Some(CredentialsFault::Wrong)),
            ("UnrecognizedClientException", Some(CredentialsFault::Wrong)),
            ("SignatureDoesNotMatch", Some(CredentialsFault::Wrong)),
            ("InvalidSignatureException", Some(CredentialsFault::Wrong)),
            ("AccessDenied", None),
            ("AccessDeniedException", None),
        ] {
            assert_eq!(CredentialsFault::of_code(code), fault, "{code}");
        }
    }
}
