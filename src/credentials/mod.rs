//! Credentials that open a connection: a password, or a token that AWS IAM
//! takes for one.
//!
//! - `password`: a password, or a token in its place.
//! - `token`: a signed request that serves as a password.
//! - `aws`: the credentials that this process has from AWS.
//! - `tests`: signatures compared with those of AWS and its SDKs.

mod aws;
mod password;
#[cfg(test)]
mod tests;
mod token;

pub use self::aws::Chain;
pub use self::password::{Password, PasswordError};
pub use self::token::{Audience, CacheKind, Signer};
