//! evictd's configuration, and how it is started.

use std::path::PathBuf;

use super::buffer::{BUFFER_FILE, BufferKind};
use super::shapes::Shape;
use super::store::Store;
use super::world::{Protection, World};
use super::{probes, refused};
use crate::support::{EVICTD_PASSWORD, EvictdOptions};

/// So that dead letters come soon.
const RECEIVES_MAX: u32 = 2;

/// A refused path costs a call, and some come every second.
const CALLS_PER_SECOND: u32 = 5;

/// Nothing is cached of this table: what empties it makes evictd look at every key that there is.
const LISTED: &str = r#"
[[rule]]
name   = "listed"
tables = ["soak.listed"]
keys   = ["listed:{id}"]
"#;

/// All of them.
pub fn rules() -> String {
    let rules = Shape::ALL.into_iter().map(Shape::rule);
    rules.chain([probes::RULE, refused::RULE, LISTED]).collect()
}

impl World {
    pub fn checkpoint_file(&self) -> PathBuf {
        self.disk.path().join("soak.checkpoint.json")
    }

    pub(super) fn config(&self) -> String {
        let settle_after = match self.protection {
            Protection::On => format!("{}ms", self.settle_after.as_millis()),
            Protection::Off => "off".to_owned(),
        };
        let (mut mysql, mut redis) = (self.source.port(), self.cache.port());
        let mut edge = String::new();
        if self.edge.is_some() {
            let buffer = match self.buffer {
                BufferKind::Sqs => format!("kind = \"sqs\"\nqueue_url = \"{}\"", self.queue_url),
                BufferKind::Local => {
                    let file = self.disk.inside().join(BUFFER_FILE);
                    format!("kind = \"local\"\npath = \"{}\"", file.display())
                }
            };
            edge = format!(
                "[buffer]\n{buffer}\nmax_receives = {RECEIVES_MAX}\n[cloudfront]\nwindow = \"200ms\"\ncalls_per_second = {CALLS_PER_SECOND}\n\
                 [[cloudfront.distribution]]\nname = \"main\"\nid = \"{}\"\n",
                self.distribution
            );
        } else {
            (mysql, redis) = (self.mysql.port(), self.redis.port());
        }
        let mut cluster = "";
        if matches!(self.redis, Store::Cluster { .. }) {
            redis = self.redis.port();
            // What a primary acknowledged just before it died may be lost with it: a replica has to have it too.
            cluster = "cluster  = true\nreplicas = 1";
        }
        format!(
            r#"
name = "soak"
[source]
url       = "mysql://evictd@127.0.0.1:{mysql}"
password  = {{ env = "EVICTD_SOURCE_PASSWORD" }}
heartbeat = "1s"
[checkpoint]
path = "{checkpoint}"
[redis]
url          = "redis://127.0.0.1:{redis}/0"
settle_after = "{settle_after}"
{cluster}
{edge}
{rules}
"#,
            checkpoint = self.disk.inside().join("soak.checkpoint.json").display(),
            rules = self.rules,
        )
    }

    pub(super) fn options(&self) -> EvictdOptions {
        let endpoint = |proxy: &super::proxy::Proxy| format!("http://127.0.0.1:{}", proxy.port());
        let built = || env!("CARGO_BIN_EXE_evictd").into();
        let binary = std::env::var_os("EVICTD_SOAK_BINARY").unwrap_or_else(built);
        let mut options = EvictdOptions::run(binary, self.config())
            .env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD)
            .envs(self.aws.env());
        for (name, proxy) in [
            ("AWS_ENDPOINT_URL_SQS", &self.queue),
            ("AWS_ENDPOINT_URL_CLOUDFRONT", &self.edge),
        ] {
            if let Some(proxy) = proxy {
                options = options.env(name, &endpoint(proxy));
            }
        }
        if let Some(clock) = &self.clock {
            options = options.envs(clock.env());
        }
        self.disk.on_it(options)
    }
}
