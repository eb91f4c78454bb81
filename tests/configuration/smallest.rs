//! The smallest configuration, and the one error that a text has.

use evictd::config::{self, ConfigError};

pub const SMALLEST: &str = r#"
name = "shop"
[source]
url = "mysql://evictd@127.0.0.1:3306"
[redis]
url = "redis://127.0.0.1:6379"
[[rule]]
name = "users"
tables = ["shop.users"]
keys = ["user:{id}"]
"#;

/// The line and the text of the one error that `text` has.
pub fn refusal(text: &str) -> String {
    match config::parse(text) {
        Err(ConfigError::Invalid { line, message, .. }) => {
            assert!(!message.contains('\n'), "{message:?} is more than a line");
            format!("{line}: {message}")
        }
        other => panic!("{text}\n{other:?}"),
    }
}
