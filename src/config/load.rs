//! Reads a configuration from its file.

use std::path::Path;

use super::error::ConfigError;
use super::settings::Config;
use super::validate::parse;

/// Reads and validates the file at `path`.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    parse(&text).map_err(|error| error.in_file(path))
}
