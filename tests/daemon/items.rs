//! Cache tags, variants, tenants and distributions, from a row change to what CloudFront accepts.

use std::time::Duration;

use super::shop::{Shop, WITHIN, start, stop};
use crate::support::{FakeCloudFront, FakeSettings, eventually, shared_aws};

const RULES: &str = r#"
[[cloudfront.distribution]]
name = "main"
id   = "E1"
[[cloudfront.distribution]]
name = "shop"
id   = "E2"
[[cloudfront.distribution]]
name = "saas"
id   = "E3"

[[rule]]
name   = "users"
tables = ["$db.users"]
expand = { locale = ["en", "de"], slash = ["", "/"] }
distributions = ["main", "shop"]
paths     = ["/{locale}/users/{slug}{slash}"]
edge_tags = ["User-{id}", "team:{name}"]
table_wide = { paths = ["/en/users/*", "/de/users/*"], edge_tags = ["users"] }

[[rule]]
name   = "accounts"
tables = ["$db.users"]
distributions = ["saas"]
tenant = "dt_{tenant_id}"
paths  = ["/account/{id}", "/team"]
"#;

/// Waits until exactly these were accepted, sorted.
async fn accepted(what: &str, expected: &[&str], got: impl Fn() -> Vec<String>) {
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    let deadline = std::time::Instant::now() + WITHIN;
    while got() != expected {
        let now = std::time::Instant::now();
        assert!(now < deadline, "{what}: {:?} and not {expected:?}", got());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_row_change_reaches_the_distributions_tags_variants_and_tenants_of_its_rules() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let tenants = ["dt_1", "dt_2"].map(|name| (name.to_owned(), "E3".to_owned()));
    let fake = FakeCloudFront::start(FakeSettings {
        tenants: tenants.to_vec(),
        ..FakeSettings::default()
    })
    .await;
    let queue = aws.create_queue(&shop.database).await;
    let rest = format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n\
         [cloudfront]\nwindow = \"50ms\"\ncalls_per_second = 50\n{RULES}"
    );
    let options = shop.config().rest(&rest).options().envs(aws.env());
    let evictd = start(&options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())).await;
    let of = |distribution: &'static str| {
        let fake = fake.clone();
        move || fake.of_distribution(distribution)
    };
    let of_tenant = |tenant: &'static str| {
        let fake = fake.clone();
        move || fake.of_tenant(tenant)
    };

    shop.sql("INSERT INTO users (id, tenant_id, slug, name) VALUES (1, 1, 'ada', 'Red')")
        .await;
    let mut pages = vec![
        "#user-1",
        "#team:red",
        "/en/users/ada",
        "/en/users/ada/",
        "/de/users/ada",
        "/de/users/ada/",
    ];
    accepted("main", &pages, of("E1")).await;
    accepted("shop", &pages, of("E2")).await;
    accepted("tenant 1", &["/account/1", "/team"], of_tenant("dt_1")).await;
    assert_eq!(fake.of_tenant("dt_2"), [""; 0]);
    assert_eq!(fake.of_distribution("E3"), [""; 0]);

    // It moves to another tenant, and gets a name that no tag can have.
    shop.sql("UPDATE users SET tenant_id = 2, name = 'deep red'")
        .await;
    accepted("tenant 2", &["/account/1", "/team"], of_tenant("dt_2")).await;
    pages.extend(["/en/users/*", "/de/users/*", "#users"]);
    accepted("main, widened", &pages, of("E1")).await;
    accepted("shop, widened", &pages, of("E2")).await;

    shop.sql("TRUNCATE TABLE users").await;
    accepted("all tenants", &["/account/*", "/team"], of("E3")).await;
    eventually("the queue is empty", WITHIN, async || {
        (aws.queue_depth(&queue).await == (0, 0)).then_some(())
    })
    .await;
    stop(evictd).await;
}

/// The fake refuses what AWS says. A path that it refuses would be a dead letter, and its page would stay.
#[tokio::test]
async fn values_with_any_character_reach_the_paths_that_viewers_ask_for_and_none_is_refused() {
    let shop = Shop::open().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let file = shop.dir.path().join("queue.redb");
    let rest = format!(
        "[buffer]\nkind = \"local\"\npath = \"{}\"\n[cloudfront]\nwindow = \"50ms\"\ncalls_per_second = 50\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
         [[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\n\
         paths = [\"/~users/{{slug}}\", \"/u/{{slug|urlencode}}?tab=~{{id}}\"]",
        file.display()
    );
    let options = shop
        .config()
        .rest(&rest)
        .options()
        .envs(shared_aws().await.env());
    let evictd = start(&options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())).await;
    shop.sql(
        r#"INSERT INTO users (id, slug) VALUES (1, '~ada'), (2, 'what?page=2'), (3, '#<">|\\^`{}[] *~é'), (4, 'a~b%7Ec%')"#,
    )
    .await;
    let expected = [
        "/%7Eusers/%7Eada",
        "/%7Eusers/what%3Fpage=2",
        "/%7Eusers/%23%3C%22%3E%7C%5C%5E%60%7B%7D%5B%5D%20%2A%7E%C3%A9",
        "/%7Eusers/a%7Eb%7Ec%25",
        "/u/%7Eada?tab=%7E1",
        "/u/what%3Fpage%3D2?tab=%7E2",
        "/u/%23%3C%22%3E%7C%5C%5E%60%7B%7D%5B%5D%20%2A%7E%C3%A9?tab=%7E3",
        "/u/a%7Eb%257Ec%25?tab=%7E4",
    ];
    accepted("main", &expected, || fake.of_distribution("E1")).await;
    stop(evictd).await;
}
