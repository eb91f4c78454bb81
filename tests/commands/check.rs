//! `evictd check` against real servers and an AWS emulator.

use aws_sdk_cloudfront::types as cloudfront;
use serde_json::Value;

use crate::daemon::shop::{Config, Shop, WITHIN};
use crate::support::{
    Aws, Evictd, EvictdOptions, FakeCloudFront, FakeSettings, Finished, MysqlOptions, shared_aws,
};

const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const CACHING_OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const ALL_VIEWER: &str = "216adef6-5c7f-47e4-b989-5492eafa07d3";

async fn check(options: &EvictdOptions, args: &[&str]) -> Finished {
    let args = [&["check"], args].concat();
    Evictd::finish(&options.clone().args(&args), WITHIN).await
}

pub async fn json(options: &EvictdOptions) -> (Option<i32>, Value) {
    let checked = check(options, &["--format", "json"]).await;
    let json = serde_json::from_str(&checked.stdout);
    let json = json.unwrap_or_else(|_| panic!("{}{}", checked.stdout, checked.stderr));
    (checked.code, json)
}

/// The messages of the findings about `part` at `level`, a line each.
pub fn found(json: &Value, level: &str, part: &str) -> String {
    let findings = json["findings"].as_array().unwrap();
    let messages: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["level"] == level && finding["part"] == part)
        .map(|finding| finding["message"].as_str().unwrap())
        .collect();
    messages.join("\n")
}

fn unreachable(shop: &Shop) -> Config {
    let mut config = shop.config();
    config.source_url = "mysql://evictd@127.0.0.1:1".to_owned();
    config.redis_url = "redis://127.0.0.1:1".to_owned();
    config
}

#[tokio::test]
async fn offline_no_server_is_asked_and_no_secret_is_read() {
    let shop = Shop::open().await;
    let mut config = unreachable(&shop);
    config.password = r#"{ file = "/nonexistent" }"#.to_owned();
    let checked = check(&config.options(), &["--offline"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(
        checked
            .stdout
            .contains("rules: 2, path classes: 0, all valid"),
        "{}",
        checked.stdout
    );
    assert!(
        checked.stdout.contains("no server was asked"),
        "{}",
        checked.stdout
    );
}

#[tokio::test]
async fn servers_that_do_not_answer_are_named_and_other_errors_decide_the_exit_code() {
    let shop = Shop::open().await;
    let (code, json_) = json(&unreachable(&shop).options()).await;
    assert_eq!(code, Some(3), "{json_}");
    assert!(
        found(&json_, "error", "mysql").contains("connection refused"),
        "{json_}"
    );
    assert!(
        found(&json_, "error", "redis").contains("127.0.0.1:1"),
        "{json_}"
    );

    let mut config = shop.config();
    config.redis_url = "redis://127.0.0.1:1".to_owned();
    let config = config.rest(
        "[[rule]]\nname = \"a\"\ntables = [\"$db.userz\"]\nkeys = [\"{id}\"]\n\
         [[rule]]\nname = \"b\"\ntables = [\"$db.users\"]\nkeys = [\"{slag}\"]\n",
    );
    let (code, json) = json(&config.options()).await;
    assert_eq!(code, Some(2), "{json}");
    let errors = found(&json, "error", "configuration");
    assert!(errors.contains("matches no table"), "{errors}");
    assert!(errors.contains("did you mean `slug`?"), "{errors}");
    assert!(!found(&json, "error", "redis").is_empty(), "{json}");
}

#[tokio::test]
async fn settings_that_cost_something_are_warnings_that_say_what_to_do() {
    let shop = Shop::own(MysqlOptions {
        gtid: false,
        row_metadata: "MINIMAL",
        extra: [
            "--binlog-row-image=MINIMAL",
            "--binlog-row-value-options=PARTIAL_JSON",
            "--binlog-transaction-compression=ON",
            "--binlog-expire-logs-seconds=3600",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..MysqlOptions::default()
    })
    .await;
    let (code, json) = json(&shop.config().options()).await;
    assert_eq!(code, Some(0), "{json}");
    let warnings = found(&json, "warning", "mysql");
    for expected in [
        "set binlog_row_image = FULL",
        "set binlog_row_metadata = FULL",
        "gtid_mode is not ON",
        "PARTIAL_JSON",
        "purged after 3600 s",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
    let notes = found(&json, "note", "mysql");
    assert!(notes.contains("binlog_transaction_compression"), "{notes}");
    assert!(
        found(&json, "warning", "redis").contains("settle_after"),
        "{json}"
    );
}

#[tokio::test]
async fn the_retention_that_rds_keeps_in_a_table_of_its_own_is_read() {
    let shop = Shop::own(MysqlOptions::default()).await;
    shop.sql(
        "CREATE TABLE mysql.rds_configuration (name VARCHAR(100) PRIMARY KEY, value VARCHAR(100));
         INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', NULL)",
    )
    .await;
    for (value, level, expected) in [
        ("NULL", "warning", "kept for NULL hours"),
        ("'1'", "warning", "kept for 1 hours"),
        ("'48'", "ok", "kept for 48 h"),
    ] {
        shop.sql(&format!(
            "UPDATE mysql.rds_configuration SET value = {value}"
        ))
        .await;
        let (code, json) = json(&shop.config().options()).await;
        assert_eq!(code, Some(0), "{json}");
        let found = found(&json, level, "mysql");
        assert!(found.contains(expected), "{value}: {found}");
    }
}

/// A distribution whose behaviours have these patterns and cache policies.
async fn distribution(aws: &Aws, name: &str, behaviors: &[(&str, &str)]) -> String {
    let id = aws.create_distribution(name).await;
    let client = aws.cloudfront();
    let read = client
        .get_distribution_config()
        .id(&id)
        .send()
        .await
        .unwrap();
    let mut config = read.distribution_config.unwrap();
    let behavior = |(pattern, policy): &(&str, &str)| {
        cloudfront::CacheBehavior::builder()
            .path_pattern(*pattern)
            .target_origin_id("origin")
            .viewer_protocol_policy(cloudfront::ViewerProtocolPolicy::RedirectToHttps)
            .cache_policy_id(*policy)
            .set_origin_request_policy_id(
                (*policy == CACHING_DISABLED).then(|| ALL_VIEWER.to_owned()),
            )
            .build()
            .unwrap()
    };
    let items: Vec<_> = behaviors.iter().map(behavior).collect();
    config.cache_behaviors = Some(
        cloudfront::CacheBehaviors::builder()
            .quantity(i32::try_from(items.len()).unwrap())
            .set_items(Some(items))
            .build()
            .unwrap(),
    );
    client
        .update_distribution()
        .id(&id)
        .if_match(read.e_tag.unwrap())
        .distribution_config(config)
        .send()
        .await
        .unwrap();
    id
}

async fn policy(aws: &Aws, name: &str, ttl: (i64, i64, i64)) -> String {
    let config = cloudfront::CachePolicyConfig::builder()
        .name(name)
        .min_ttl(ttl.0)
        .default_ttl(ttl.1)
        .max_ttl(ttl.2)
        .build()
        .unwrap();
    let created = aws
        .cloudfront()
        .create_cache_policy()
        .cache_policy_config(config);
    created.send().await.unwrap().cache_policy.unwrap().id
}

#[tokio::test]
async fn another_configuration_that_sends_to_the_queue_is_an_error_unless_it_means_the_same() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let (queue, _) = aws.create_queue_with_dead_letters(&shop.database, 50).await;
    let rest = format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
         [[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\npaths = [\"/users/{{id}}\"]\n"
    );
    let options = shop.config().rest(&rest).options().envs(aws.env());
    let options = options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    let send = async |source: &str, distribution: &str, id: &str| {
        let body = format!(
            r#"{{"v":1,"source":"{source}","distribution":"{distribution}","distribution_id":"{id}","committed_at_us":1,"paths":["/a"]}}"#
        );
        let message = aws.sqs().send_message().queue_url(&queue);
        message.message_body(body).send().await.unwrap();
    };
    send(&shop.database, "main", "E7").await;
    send("blog", "main", "E1").await;
    let (_, same) = json(&options).await;
    assert_eq!(found(&same, "error", "sqs"), "");
    send("blog", "main", "E2").await;
    send("forum", "pages", "E3").await;
    let (code, json_of_others) = json(&options).await;
    assert_eq!(code, Some(2), "{json_of_others}");
    let errors = found(&json_of_others, "error", "sqs");
    for part in [
        "configuration \"blog\"",
        "distribution \"main\"",
        "configuration \"forum\"",
        "a queue of its own",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
    assert_eq!(aws.queue_depth(&queue).await, (4, 0));
}

#[tokio::test]
async fn tags_that_a_distribution_does_not_read_and_tenants_that_it_cannot_have_are_errors() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let (queue, _) = aws.create_queue_with_dead_letters(&shop.database, 5).await;
    let with = |distributions: &str, items: &str| {
        let rest = format!(
            "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n\
             [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
             [[cloudfront.distribution]]\nname = \"shop\"\nid = \"E2\"\n\
             [[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\n{distributions}\n{items}\n"
        );
        let options = shop.config().rest(&rest).options().envs(aws.env());
        options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())
    };
    let tags = "edge_tags = [\"user-{id}\"]\ntable_wide = { paths = [\"/users/*\"] }";
    let (code, json_of_both) = json(&with("", tags)).await;
    assert_eq!(code, Some(2), "{json_of_both}");
    let errors = found(&json_of_both, "error", "cloudfront");
    for part in [
        "distribution main (E1) has no tag header",
        "distribution shop (E2) has no tag header",
        "the edge_tags of users: set CacheTagConfig.HeaderName",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
    let (code, json_of_one) = json(&with("distributions = [\"shop\"]", tags)).await;
    assert_eq!(code, Some(2), "{json_of_one}");
    let errors = found(&json_of_one, "error", "cloudfront");
    assert!(
        !errors.contains("main") && errors.contains("shop"),
        "{errors}"
    );

    fake.change(|settings| settings.tag_header = Some("x-cache-tags".to_owned()));
    let (_, with_header) = json(&with("", tags)).await;
    assert_eq!(found(&with_header, "error", "cloudfront"), "");
    let fine = found(&with_header, "ok", "cloudfront");
    assert!(fine.contains("from the header x-cache-tags"), "{fine}");

    let tenant = "distributions = [\"shop\"]\ntenant = \"{tenant_id}\"\npaths = [\"/users/{id}\"]";
    let (_, without_tenants) = json(&with(tenant, "")).await;
    let errors = found(&without_tenants, "error", "cloudfront");
    let expected = "distribution shop (E2) is not a multi-tenant distribution, and has none of the tenants of users";
    assert!(errors.contains(expected), "{errors}");
    fake.change(|settings| settings.tenants = vec![("dt_1".to_owned(), "E2".to_owned())]);
    let (_, with_tenants) = json(&with(tenant, "")).await;
    assert_eq!(found(&with_tenants, "error", "cloudfront"), "");

    fake.change(|settings| settings.unreadable = vec!["E1".to_owned()]);
    let (_, unread) = json(&with("", "paths = [\"/users/{id}\"]")).await;
    let errors = found(&unread, "error", "cloudfront");
    assert_eq!(errors.matches("does not exist").count(), 1, "{errors}");
    fake.change(|settings| settings.unreadable = Vec::new());

    fake.change(|settings| settings.tag_header = None);
    let (_, without_tags) = json(&with("", "paths = [\"/users/{id}\"]")).await;
    assert_eq!(found(&without_tags, "error", "cloudfront"), "");
}

/// A queue, a distribution and a rule with a path.
async fn one_distribution(shop: &Shop, aws: &Aws) -> String {
    let (queue, _) = aws.create_queue_with_dead_letters(&shop.database, 5).await;
    format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
         [[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\npaths = [\"/users/{{slug}}\"]\n"
    )
}

#[tokio::test]
async fn pages_that_have_two_names_at_a_distribution_are_noted() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings {
        root_object: Some("index.html".to_owned()),
        ..FakeSettings::default()
    })
    .await;
    let options = shop
        .config()
        .rest(&one_distribution(&shop, aws).await)
        .options()
        .envs(aws.env());
    let options = options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    let (code, report) = json(&options).await;
    assert_eq!(code, Some(0), "{report}");
    let notes = found(&report, "note", "cloudfront");
    assert!(notes.contains("both \"/\" and \"/index.html\""), "{notes}");
    assert!(
        notes.contains("a function for viewers' requests at *"),
        "{notes}"
    );

    fake.change(|settings| settings.root_object = None);
    let (_, report) = json(&options).await;
    assert_eq!(found(&report, "note", "cloudfront"), "", "{report}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_said_and_no_right_is_asked_for() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let options = shop
        .config()
        .rest(&one_distribution(&shop, aws).await)
        .options();
    let options = options.envs(aws.env());
    let options = options.env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    // Three hours off.
    let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    fake.change(|settings| settings.date = Some(date));
    let (_, report) = json(&options).await;
    let errors = found(&report, "error", "cloudfront");
    assert!(errors.contains("this machine's clock says"), "{errors}");
    assert!(!errors.contains("allow cloudfront:"), "{errors}");
}

#[tokio::test]
async fn the_path_classes_are_compared_with_the_live_distribution() {
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let short = policy(aws, "check-short", (0, 2, 60)).await;
    let forced = policy(aws, "check-forced", (10, 10, 10)).await;
    let id = distribution(
        aws,
        "check",
        &[
            ("/checkout/help*", CACHING_OPTIMIZED),
            ("checkout/*", CACHING_DISABLED),
            ("/profile*", &forced),
            ("/static/*", &short),
            ("/stock/*", &short),
            ("/api/*", CACHING_DISABLED),
        ],
    )
    .await;
    let (queue, _) = aws.create_queue_with_dead_letters("check", 50).await;
    let config = shop.config().rest(&format!(
        r#"
[buffer]
kind = "sqs"
queue_url = "{queue}"
[[cloudfront.distribution]]
name = "main"
id = "{id}"
[[path]]
pattern = "/checkout/*"
class = "strong"
[[path]]
pattern = "/profile"
class = "strong"
[[path]]
pattern = "/static/*"
class = "immutable"
[[path]]
pattern = "/stock/*"
class = "short-ttl"
[[path]]
pattern = "/api/*"
class = "cached"
[[rule]]
name = "users"
tables = ["$db.users"]
paths = ["/users/{{id}}"]
"#
    ));
    let options = config.options().envs(aws.env());
    let (code, json) = json(&options).await;
    assert_eq!(code, Some(2), "{json}");
    let rows: Vec<String> = json["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            ["level", "class", "pattern", "behavior", "policy"]
                .map(|field| row[field].as_str().unwrap().replace("Managed-", ""))
                .join(" ")
        })
        .collect();
    assert_eq!(
        rows,
        [
            "error strong /checkout/* /checkout/help* CachingOptimized",
            "ok strong /checkout/* checkout/* CachingDisabled",
            "error strong /profile /profile* check-forced",
            "warning immutable /static/* /static/* check-short",
            "warning short-ttl /stock/* /stock/* check-short",
            "warning cached /api/* /api/* CachingDisabled",
            "note cached (none) /profile* check-forced",
            "note cached (none) * CachingOptimized",
        ]
    );
    assert_eq!(json["paths"][0]["example"], "/checkout/help");
    assert!(found(&json, "ok", "sqs").contains("dead-letter"), "{json}");
    assert!(
        found(&json, "ok", "mysql").contains("grants suffice"),
        "{json}"
    );

    let text = check(&options, &[]).await;
    assert_eq!(text.code, Some(2));
    assert!(
        text.stdout.contains("\ndistribution main\n"),
        "{}",
        text.stdout
    );
    assert!(
        text.stdout
            .contains("use the policy CachingDisabled (such as /checkout/help)"),
        "{}",
        text.stdout
    );
    assert!(text.stderr.contains("found errors: 2, "), "{}", text.stderr);
}
