//! Secrets: references in the configuration, read only by the commands that
//! need them, and never printed.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::error::ConfigError;

/// A reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; one trailing line break is not part of the secret.
    File(PathBuf),
    /// A systemd credential (`LoadCredential=`, systemd.exec manual page).
    Credential(String),
}

/// A secret's text, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one place that hands it to a server.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretRef {
    /// Reads the secret; `what` is the field that refers to it.
    pub fn read(&self, what: &'static str) -> Result<Secret, ConfigError> {
        let missing = |reason: String| ConfigError::Secret { what, reason };
        let from_file = |path: PathBuf| {
            std::fs::read_to_string(&path)
                .map_err(|error| missing(format!("file {}: {error}", path.display())))
        };
        let text = match self {
            SecretRef::Env(name) => std::env::var(name)
                .map_err(|_| missing(format!("environment variable {name} is not set")))?,
            SecretRef::File(path) => from_file(path.clone())?,
            SecretRef::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    missing(format!(
                        "credential {name}: CREDENTIALS_DIRECTORY is not set; add `LoadCredential={name}:FILE` to the systemd unit"
                    ))
                })?;
                from_file(PathBuf::from(directory).join(name))?
            }
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(missing("the secret is empty".to_owned()));
        }
        Ok(Secret(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_a_file_and_is_never_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let secret = SecretRef::File(file.path().to_owned())
            .read("source.password")
            .unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn a_missing_secret_says_which_field_and_where_it_should_be() {
        let error = SecretRef::Env("EVICTD_TEST_UNSET".into())
            .read("source.password")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "source.password: environment variable EVICTD_TEST_UNSET is not set"
        );
        assert!(
            SecretRef::File("/nonexistent/secret".into())
                .read("x")
                .is_err()
        );
    }
}
