//! URLs in a configuration.

use toml::Spanned;
use url::Url;

use super::error::{ConfigError, Lines};

/// Parses the URL of `field`; refuses a password in it.
pub(super) fn parse(
    url: &Spanned<String>,
    field: &str,
    lines: &Lines<'_>,
) -> Result<Url, ConfigError> {
    let error = |message: String| ConfigError::at(lines.of(url), message);
    let parsed = Url::parse(url.get_ref())
        .map_err(|reason| error(format!("{field} is not a URL: {reason}")))?;
    if parsed.password().is_some() {
        let table = field.split('.').next().unwrap_or_default();
        return Err(error(format!(
            "{field} holds a password, which logs and process lists would show; move it to `{table}.password = {{ env = \"…\" }}`, `{{ file = \"…\" }}` or `{{ credential = \"…\" }}`"
        )));
    }
    Ok(parsed)
}
