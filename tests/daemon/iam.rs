//! Logins through AWS IAM, to real servers behind gates that ask for a token as AWS does. The SDK for Python says
//! whether the tokens are right.

use std::time::Duration;

use evictd::binlog::connection::connector::{Connector, MysqlTarget, TlsTarget};
use evictd::binlog::connection::{Dump, DumpFrom, DumpRequest};
use evictd::credentials::Password;
use mysql_async::prelude::Queryable;
use mysql_async::{DriverError, Error};
use serde_json::json;

use super::shop::{Config, Shop, start, stop};
use crate::support::{
    EVICTD_PASSWORD, Letting, MysqlGate, MysqlOptions, Redis, RedisGate, RedisOptions,
    assert_tokens, certificates, token_env,
};

/// A token's time is in whole seconds.
const ANOTHER_SECOND: Duration = Duration::from_millis(1_100);

const TOKEN: &str = r#"{ iam = { region = "eu-west-1" } }"#;

async fn gate(shop: &Shop, letting: Letting) -> MysqlGate {
    MysqlGate::to(shop.mysql(), &certificates().server, letting).await
}

fn through(shop: &Shop, gate: &MysqlGate, password: &str) -> Config {
    let ca = certificates().ca.display();
    let mut config = shop.config().source(&format!(
        "tls = {{ mode = \"verify-identity\", ca_file = \"{ca}\" }}"
    ));
    config.source_url = format!("mysql://evictd@127.0.0.1:{}", gate.port());
    config.password = password.to_owned();
    config
}

#[tokio::test]
async fn every_connection_to_aurora_is_opened_with_a_token_of_its_own() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let gate = gate(&shop, Letting::In).await;
    let options = through(&shop, &gate, TOKEN).options().envs(token_env());
    let evictd = start(&options).await;
    shop.done(&evictd).await;
    let first = gate.presented();
    // Questions at the start, the binlog with questions beside it, and what is visible.
    assert!(first.len() >= 4, "{}", first.len());

    tokio::time::sleep(ANOTHER_SECOND).await;
    let connections: Vec<u64> = shop
        .mysql()
        .rows("SELECT id FROM information_schema.processlist WHERE user = 'behind_the_gate'")
        .await;
    let mut conn = shop.mysql().conn().await;
    for id in connections {
        // The look at the beginning of the first file may just have ended by itself.
        conn.query_drop(format!("KILL {id}")).await.ok();
    }
    shop.done(&evictd).await;
    let all = gate.presented();
    let again = &all[first.len()..];
    assert!(again.len() >= 3, "{}", again.len());
    let latest = first.iter().map(|token| token.date()).max().unwrap();
    for presented in again {
        assert!(presented.date() > latest, "{} again", presented.date());
    }
    let audience =
        json!({ "service": "rds-db", "host": "127.0.0.1", "port": gate.port(), "user": "evictd" });
    assert_tokens(&all, &audience);
    stop(evictd).await;
}

#[tokio::test]
async fn a_token_that_is_refused_or_cannot_be_signed_ends_the_start_and_says_what_to_look_at() {
    let shop = Shop::open().await;
    let gate = gate(&shop, Letting::Nobody).await;
    let config = through(&shop, &gate, TOKEN);
    let refused = config.options().envs(token_env());
    let nobody = config
        .options()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    for (options, code, words) in [
        (
            refused,
            2,
            ["login as \"evictd\" was refused", "rds-db:connect"],
        ),
        (
            nobody,
            3,
            [
                "no IAM token can be signed for \"evictd\"",
                "AWS credentials",
            ],
        ),
    ] {
        let ended = crate::support::Evictd::finish(&options, super::shop::WITHIN).await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
    }
    assert!(!gate.presented().is_empty());
    assert_eq!(shop.checkpoint(), None);
}

/// Whoever says that he is the server would know it then.
#[tokio::test]
async fn a_password_is_never_sent_in_clear_whoever_asks_for_it() {
    let shop = Shop::open().await;
    let verified = Some(TlsTarget {
        verify_authority: true,
        verify_identity: true,
        ca_file: Some(certificates().ca.clone()),
    });
    for (letting, tls) in [(Letting::Through, None), (Letting::In, verified)] {
        let gate = gate(&shop, letting).await;
        let connector = Connector::new(MysqlTarget {
            host: "127.0.0.1".to_owned(),
            port: gate.port(),
            user: "evictd".to_owned(),
            password: Some(Password::fixed(EVICTD_PASSWORD)),
            tls,
        });
        let error = connector.connect().await.unwrap_err().to_string();
        assert!(error.contains("in clear, which is refused"), "{error}");
        let dump = Dump::open(
            &connector,
            DumpRequest {
                server_id: 7,
                heartbeat_ns: 1_000_000_000,
                from: DumpFrom::Gtids(&[]),
            },
        );
        let error = dump.await.err();
        assert!(
            matches!(
                error,
                Some(Error::Driver(DriverError::CleartextPluginDisabled))
            ),
            "{error:?}"
        );
        assert!(gate.presented().is_empty(), "{letting:?}");
    }
}

#[tokio::test]
async fn a_cache_of_aws_is_reached_with_a_token() {
    const PASSWORD: &str = "known-to-the-gate";
    let redis = Redis::start(RedisOptions {
        extra: format!("--user cache-user on >{PASSWORD} ~* &* +@all")
            .split(' ')
            .map(str::to_owned)
            .collect(),
        ..RedisOptions::default()
    })
    .await;
    let gate = RedisGate::to(&redis, PASSWORD, &certificates().server).await;
    let shop = Shop::open().await;
    let mut config = shop.config().redis(&format!(
        "password = {{ iam = {{ region = \"eu-west-1\", cache = \"shop-cache\" }} }}\n\
         tls = {{ ca_file = \"{}\" }}\nsettle_after = \"off\"",
        certificates().ca.display()
    ));
    config.redis_url = gate.url("cache-user");
    let options = config.options().envs(token_env());
    let evictd = start(&options).await;
    let mut conn = redis.conn().await;
    let _: () = redis::AsyncCommands::set(&mut conn, "user:1:profile", "x")
        .await
        .unwrap();
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    crate::support::eventually("the key goes", super::shop::WITHIN, async || {
        redis.keys().await.is_empty().then_some(())
    })
    .await;
    let audience = json!({ "service": "elasticache", "host": "shop-cache", "user": "cache-user" });
    assert_tokens(&gate.presented(), &audience);
    stop(evictd).await;
}
