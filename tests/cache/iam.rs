//! Tokens of AWS IAM in the place of a password.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use evictd::cache::{Cache, Redis};
use evictd::credentials::{Audience, CacheKind, Chain, Password, Signer};
use evictd::redis::{Layout, RedisTarget, TlsFiles};
use serde_json::json;

use super::{names, nothing_refused, set, target};
use crate::support::{
    Redis as Server, RedisCluster, RedisGate, RedisOptions, assert_tokens, certificates, token_env,
};

const USER: &str = "cache-user";

/// Signs with the credentials of [`token_env`].
fn signer(kind: CacheKind) -> Signer {
    let env = token_env();
    let [id, secret, session] = [0, 1, 2].map(|index| env[index].1.clone());
    let chain = Chain::of(Credentials::new(id, secret, Some(session), None, "test"));
    let audience = Audience::Cache {
        kind,
        name: "shop-cache".to_owned(),
        user: USER.to_owned(),
    };
    Signer::new(chain, "eu-west-1".to_owned(), audience)
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn reached(url: String, layout: Layout, signer: Signer) -> Redis {
    Redis::new(&RedisTarget {
        password: Some(Password::Token(Arc::new(signer))),
        tls: TlsFiles {
            ca: Some(certificates().ca.clone()),
            client: None,
        },
        layout,
        ..target(url)
    })
    .unwrap()
}

#[tokio::test]
async fn a_connection_is_made_anew_with_a_new_token_before_it_would_be_cut() {
    const PASSWORD: &str = "known-to-the-gate";
    const LASTS: Duration = Duration::from_millis(2_500);
    let server = Server::start(RedisOptions {
        extra: words(&format!("--user {USER} on >{PASSWORD} ~* &* +@all")),
        ..RedisOptions::default()
    })
    .await;
    let gates = [
        (CacheKind::ElastiCache, "elasticache", false),
        (CacheKind::ElastiCacheServerless, "elasticache", true),
        (CacheKind::MemoryDb, "memorydb", false),
    ];
    for (kind, service, serverless) in gates {
        let gate = RedisGate::to(&server, PASSWORD, &certificates().server).await;
        let signer = signer(kind).with_connections_lasting(LASTS);
        let mut redis = reached(gate.url(USER), Layout::Single, signer);
        let begun = std::time::Instant::now();
        let mut deletions = 0;
        // However slow the machine is, some of them share the first connection.
        while deletions < 3 {
            redis.delete(&[&set(&["a"])]).await.unwrap();
            deletions += 1;
        }
        let made = gate.presented().len();
        assert!(made == 1 || begun.elapsed() >= LASTS, "{made} connections");
        tokio::time::sleep(LASTS).await;
        redis.delete(&[&set(&["a"])]).await.unwrap();
        let all = gate.presented();
        assert!(all.len() > made, "{} connections", all.len());
        assert!(all[made].date() > all[0].date(), "{kind:?}");
        let audience = json!({
            "service": service, "host": "shop-cache", "user": USER, "serverless": serverless,
        });
        assert_tokens(&all, &audience);
    }
}

/// Nodes are told the token that any of them would take; here it is taken as it is.
#[tokio::test]
async fn every_node_of_a_cluster_is_logged_in_to() {
    let options = "--tls-cluster yes --tls-replication yes";
    let cluster = RedisCluster::start_with(RedisOptions {
        tls: Some(certificates().server.clone()),
        extra: words(&format!("{options} --user {USER} on nopass ~* &* +@all")),
        ..RedisOptions::default()
    })
    .await;
    let keys = names("user:", 2_000);
    cluster.fill(&keys).await;
    let url = cluster.nodes[0].tls_url();
    let url = url.replace("rediss://", &format!("rediss://{USER}@"));
    let mut redis = reached(url, Layout::Cluster, signer(CacheKind::ElastiCache));
    assert_eq!(
        redis.delete(&[&set(&keys)]).await.unwrap(),
        nothing_refused(2_000)
    );
    for primary in cluster.primaries().await {
        let mut conn = cluster.nodes[primary].conn().await;
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut conn)
            .await
            .unwrap();
        assert!(clients.contains(&format!("user={USER} ")), "{clients}");
    }
}
