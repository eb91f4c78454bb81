//! TLS: who is trusted, and who is let in.

use evictd::cache::{Cache, CacheError, Redis};
use evictd::redis::{Layout, RedisTarget, TlsFiles};

use super::{names, nothing_refused, set, target};
use crate::support::{Certificates, Redis as Server, RedisCluster, RedisOptions, certificates};

/// Servers that let in only who presents a certificate.
fn mutual() -> RedisOptions {
    RedisOptions {
        tls: Some(certificates().server.clone()),
        extra: ["--tls-auth-clients", "yes"].map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    }
}

fn trusted(certificates: &Certificates) -> TlsFiles {
    let client = &certificates.client;
    TlsFiles {
        ca: Some(certificates.ca.clone()),
        client: Some((client.certificate.clone(), client.key.clone())),
    }
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_lets_in_who_presents_one() {
    let certificates = certificates();
    let server = Server::start(mutual()).await;
    let reached = |tls| {
        Redis::new(&RedisTarget {
            tls,
            ..target(server.tls_url())
        })
        .unwrap()
    };
    let mut redis = reached(trusted(certificates));
    redis.check().await.unwrap();
    assert_eq!(
        redis.delete(&[&set(&["a"])]).await.unwrap(),
        nothing_refused(0)
    );

    let trusted = trusted(certificates);
    let nobody = TlsFiles {
        client: None,
        ..trusted.clone()
    };
    let strangers = TlsFiles {
        ca: Some(certificates.other_ca.clone()),
        ..trusted.clone()
    };
    for tls in [nobody, strangers, TlsFiles::default()] {
        let text = format!("{tls:?}");
        let error = reached(tls).check().await.unwrap_err();
        assert!(
            matches!(error, CacheError::Unavailable { .. }),
            "{text}: {error}"
        );
    }
    let nowhere = TlsFiles {
        ca: Some("/nonexistent/ca.pem".into()),
        ..trusted
    };
    let error = reached(nowhere).check().await.unwrap_err();
    assert_eq!(error.code(), "tls-files");
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_accepted() {
    let certificates = certificates();
    let options = RedisOptions {
        tls: Some(certificates.elsewhere.clone()),
        ..RedisOptions::default()
    };
    let server = Server::start(options).await;
    let mut redis = Redis::new(&RedisTarget {
        tls: trusted(certificates),
        ..target(server.tls_url())
    })
    .unwrap();
    let error = redis.check().await.unwrap_err();
    assert!(matches!(error, CacheError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn every_node_of_a_cluster_is_reached_with_the_same_certificates() {
    let mut options = mutual();
    options
        .extra
        .extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned));
    let cluster = RedisCluster::start_with(options).await;
    let keys = names("user:", 2_000);
    cluster.fill(&keys).await;
    let mut redis = Redis::new(&RedisTarget {
        tls: trusted(certificates()),
        layout: Layout::Cluster,
        ..target(cluster.nodes[0].tls_url())
    })
    .unwrap();
    assert_eq!(
        redis.delete(&[&set(&keys)]).await.unwrap(),
        nothing_refused(2_000)
    );
    assert_eq!(cluster.keys().await, [""; 0]);
}
