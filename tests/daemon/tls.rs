//! Connections to MySQL, secured as configured.

use super::shop::{Config, Shop, stop};
use crate::support::{Identity, MysqlOptions, certificates};

async fn presenting(identity: &Identity) -> Shop {
    let options = MysqlOptions {
        tls: Some(identity.clone()),
        ..MysqlOptions::default()
    };
    Shop::own(options).await
}

fn config(shop: &Shop, mode: &str, ca: Option<&std::path::Path>) -> Config {
    let ca_file = ca.map(|ca| format!(", ca_file = \"{}\"", ca.display()));
    shop.config().source(&format!(
        "tls = {{ mode = \"{mode}\"{} }}",
        ca_file.unwrap_or_default()
    ))
}

/// Evicts a key. The server has forgotten the password's hash before, so that the whole login takes place.
async fn works(shop: &Shop, config: &Config) {
    shop.mysql().exec("FLUSH PRIVILEGES").await;
    let evictd = config.start().await;
    shop.done(&evictd).await;
    stop(evictd).await;
}

async fn refused(config: &Config, code: i32, words: &[&str]) {
    let ended = config.finish().await;
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("one line, not {}", ended.stderr);
    };
    assert!(
        line.starts_with("evictd: error: MySQL at 127.0.0.1:"),
        "{line}"
    );
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[tokio::test]
async fn every_mode_works_with_the_right_authority_and_none_that_verifies_with_another() {
    let certificates = certificates();
    let shop = presenting(&certificates.server).await;
    let ca = Some(certificates.ca.as_path());
    let other = Some(certificates.other_ca.as_path());

    works(&shop, &config(&shop, "disabled", None)).await;
    for mode in ["required", "verify-ca", "verify-identity"] {
        works(&shop, &config(&shop, mode, ca)).await;
    }
    works(&shop, &config(&shop, "required", None)).await;
    works(&shop, &config(&shop, "required", other)).await;
    let by_name = |mut config: Config| {
        config.source_url = config.source_url.replace("127.0.0.1", "localhost");
        config
    };
    works(&shop, &by_name(config(&shop, "verify-identity", ca))).await;

    for mode in ["verify-ca", "verify-identity"] {
        refused(
            &config(&shop, mode, other),
            3,
            &["TLS failed", "source.tls.ca_file"],
        )
        .await;
        refused(
            &config(&shop, mode, None),
            3,
            &["TLS failed", "source.tls.ca_file"],
        )
        .await;
    }
    let nowhere = Some(std::path::Path::new("/nonexistent/ca.pem"));
    refused(
        &config(&shop, "verify-ca", nowhere),
        3,
        &["source.tls.ca_file"],
    )
    .await;

    // What the modes above did, they did with TLS.
    shop.mysql()
        .exec("SET GLOBAL require_secure_transport = ON")
        .await;
    // It worked before, so that it is tried again.
    refused(&config(&shop, "disabled", None), 3, &["secure"]).await;
    let ended = config(&shop, "verify-identity", ca).start().await;
    stop(ended).await;
}

#[tokio::test]
async fn a_certificate_for_another_host_passes_verify_ca_and_not_verify_identity() {
    let certificates = certificates();
    let shop = presenting(&certificates.elsewhere).await;
    let ca = Some(certificates.ca.as_path());
    works(&shop, &config(&shop, "verify-ca", ca)).await;
    let other = Some(certificates.other_ca.as_path());
    refused(&config(&shop, "verify-ca", other), 3, &["TLS failed"]).await;
    refused(
        &config(&shop, "verify-identity", ca),
        3,
        &["TLS failed", "names the host"],
    )
    .await;
}
