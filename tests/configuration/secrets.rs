//! Passwords and tokens.

use evictd::config::{self, PasswordConfig, RedisIam, RedisIamKind, SourceIam};

use super::smallest::{SMALLEST, refusal};

#[test]
fn tokens_of_iam_are_for_named_accounts_and_through_tls() {
    let text = SMALLEST
        .replace(
            "\n[redis]",
            "\npassword = { iam = { region = \"eu-west-1\" } }\ntls = { mode = \"verify-identity\" }\n[redis]",
        )
        .replace(
            "redis://127.0.0.1:6379\"",
            "rediss://cache@shop.example\"\npassword = { iam = { region = \"us-gov-west-1\", cache = \"Shop-1\" } }",
        );
    let config = config::parse(&text).unwrap();
    assert_eq!(
        config.source.password,
        Some(PasswordConfig::Iam(SourceIam {
            region: "eu-west-1".to_owned()
        }))
    );
    assert_eq!(
        config.redis.password,
        Some(PasswordConfig::Iam(RedisIam {
            region: "us-gov-west-1".to_owned(),
            // As AWS keeps it.
            cache: "shop-1".to_owned(),
            kind: RedisIamKind::Elasticache,
        }))
    );
    let serverless = "cache = \"shop\", kind = \"elasticache-serverless\"";
    config::parse(&text.replace("cache = \"Shop-1\"", serverless)).unwrap();
    for (from, to, expected) in [
        (
            "verify-identity",
            "disabled",
            "5: source.password.iam needs TLS: set source.tls, as in tls = { mode = \"verify-identity\", ca_file = \"…\" }",
        ),
        (
            "\ntls = { mode = \"verify-identity\" }",
            "",
            "5: source.password.iam needs TLS: set source.tls, as in tls = { mode = \"verify-identity\", ca_file = \"…\" }",
        ),
        (
            "\"eu-west-1\"",
            "\"eu-west-1.amazonaws.com\"",
            "5: source.password.iam.region = \"eu-west-1.amazonaws.com\": write a region, such as \"eu-west-1\"",
        ),
        (
            "rediss://",
            "redis://",
            "9: redis.password.iam needs TLS: write rediss:// in redis.url",
        ),
        (
            "cache@",
            "",
            "9: redis.password.iam is for one user: write rediss://USER@HOST:PORT in redis.url",
        ),
        (
            "Shop-1",
            "shop.abc.cache.amazonaws.com",
            "9: redis.password.iam.cache = \"shop.abc.cache.amazonaws.com\": write the cache's name, not its address",
        ),
        (", cache = \"Shop-1\"", "", "9: missing field `cache`"),
    ] {
        assert!(text.contains(from), "{from}");
        assert_eq!(refusal(&text.replacen(from, to, 1)), expected, "{from}");
    }
}
