//! Configuration: TOML text in, a validated [`Config`] out. Pure but for
//! [`load()`] reading the file; secrets stay references until a command needs
//! them.
//!
//! - `settings`: a validated configuration.
//! - `load`: reads a configuration from its file.
//! - `raw`: the configuration as it is read from TOML.
//! - `validate`: from TOML to a validated configuration, section by section.
//! - `source`: `[source]`.
//! - `tls`: `[source.tls]`.
//! - `cache`: `[redis]`.
//! - `password`: passwords, and tokens of AWS IAM.
//! - `edge`: `[buffer]`, `[cloudfront]`, and `rule.bulk_threshold`.
//! - `rules`: `[[path]]` and `[[rule]]`.
//! - `structures`: `guard`, `tag_sets`, `hash_fields` and `publish` of a rule.
//! - `target`: `distributions`, `tenant`, `edge_tags` and `expand` of a rule.
//! - `field_url`: URLs in a configuration.
//! - `duration`: durations as people write them.
//! - `secret`: references to secrets, and reading them.
//! - `error`: one line that says what is wrong, where, and what to do.

mod cache;
mod duration;
mod edge;
mod error;
mod field_url;
mod load;
mod password;
mod raw;
mod rules;
pub mod secret;
mod settings;
mod source;
mod structures;
mod target;
mod tls;
mod validate;

pub use self::error::ConfigError;
pub use self::load::load;
pub use self::password::{PasswordConfig, RedisIam, RedisIamKind, SourceIam};
pub use self::secret::{Secret, SecretRef};
pub use self::settings::{
    BufferConfig, Bulk, CheckpointConfig, CloudFrontConfig, Config, DistributionConfig,
    RedisConfig, RedisLayout, SettleConfig, SourceConfig,
};
pub use self::tls::{TlsConfig, TlsMode};
pub use self::validate::parse;
