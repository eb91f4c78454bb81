//! `evictd explain`: what the planner says about one change.

use serde_json::{Value, json};

use crate::daemon::shop::{Shop, WITHIN};
use crate::support::{Evictd, EvictdOptions, Finished};

const CONFIG: &str = r#"
name = "shop"
[source]
url = "mysql://evictd@127.0.0.1:1"
password = { file = "/nonexistent" }
[redis]
url = "redis://127.0.0.1:1"
key_prefix = "p:"

[[path]]
pattern = "/stock/*"
class = "short-ttl"

[[rule]]
name = "users"
tables = ["shop.users"]
changed = ["slug", "status"]
version = "version"
keys = ["user:{id}:v{version}", "nick:{nick}"]
paths = ["/users/{slug|urlencode}", "/stock/{id}"]

[[rule]]
name = "new-users"
tables = ["shop.users"]
on = ["insert"]
keys = ["users"]

[[rule]]
name = "active"
tables = ["shop.*"]
when = "after.status == 'active' && after.age > 17"
keys = ["active:{id}"]

[[rule]]
name = "by-name"
tables = ["shop.users"]
changed = ["name"]
keys = ["name:{before.name}"]

[[rule]]
name = "orders"
tables = ["shop.orders", "shop_*.orders"]
keys = ["order:{id}"]
"#;

async fn explain(args: &[&str]) -> Finished {
    let args = [&["explain", "--table", "shop.users"], args].concat();
    let options = EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), CONFIG).args(&args);
    Evictd::finish(&options, WITHIN).await
}

const BEFORE: &str = r#"{"id": 7, "slug": "ada", "status": "active", "version": 3, "name": "Ada", "nick": null, "age": 36}"#;
const AFTER: &str = r#"{"id": 7, "slug": "grace h", "status": "active", "version": 4, "name": "Ada", "nick": null, "age": null}"#;

#[tokio::test]
async fn every_rule_says_what_it_does_and_why_or_why_not() {
    let said = explain(&["--before", BEFORE, "--after", AFTER]).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    insta::assert_snapshot!(said.stdout, @r#"
    shop.users update

    rule "users" (line 14) fires
      delete p:user:7:v3 (once: no reader fills it again)
      invalidate /users/ada
      invalidate /users/grace%20h
      send nothing for /stock/7: its class is short-ttl
      because `slug` differs
      because "nick:{nick}" renders nothing: `nick` is NULL

    rule "new-users" (line 22) does not fire
      because `on` is insert only

    rule "active" (line 28) fires
      delete p:active:7
      because `when` cannot be evaluated and counts as true: after.status == 'active' && after.age > 17: found no matching overload for '_>_' applied to '(null_type, int)'

    rule "by-name" (line 34) does not fire
      because none of `changed` differs: name

    rule "orders" (line 40) does not fire
      because `tables` does not match: shop.orders, shop_*.orders
    "#);
}

#[tokio::test]
async fn tags_variants_tenants_and_distributions_are_named() {
    let rule = r#"
[buffer]
kind = "local"
path = "/q"
[[cloudfront.distribution]]
name = "saas"
id = "E1"
[[cloudfront.distribution]]
name = "main"
id = "E2"
[[rule]]
name = "pages"
tables = ["shop.pages"]
expand = { locale = ["en", "de"] }
distributions = ["saas"]
tenant = "{tenant}"
paths = ["/{locale}/{slug}"]
edge_tags = ["Page-{id}"]
table_wide = { paths = ["/*"] }
"#;
    let after = r#"{"id": 7, "slug": "a,b", "tenant": "dt_1"}"#;
    let args = ["explain", "--table", "shop.pages", "--after", after];
    let config = CONFIG.replace("\n[[path]]", &format!("{rule}\n[[path]]"));
    let options = EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), config).args(&args);
    let said = Evictd::finish(&options, WITHIN).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let pages = "
rule \"pages\" (line 19) fires
  invalidate /en/a,b of tenant dt_1 at saas
  invalidate /de/a,b of tenant dt_1 at saas
  invalidate tag #page-7 of tenant dt_1 at saas
";
    assert!(said.stdout.contains(pages), "{}", said.stdout);
}

#[tokio::test]
async fn programs_get_one_object_and_missing_columns_and_images_are_named() {
    let after = r#"{"id": 7, "status": "gone", "age": 20, "version": 1, "nick": "lady"}"#;
    let said = explain(&["--after", after, "--format", "json"]).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(said["op"], "insert");
    let users = &said["rules"][0];
    assert_eq!(users["fires"], true);
    let does = users["does"].as_array().unwrap();
    assert!(does.contains(&json!("invalidate /users/*")), "{users}");
    assert!(
        does.contains(&json!(
            "widen to the whole table, because single rows cannot be known (missing-column)"
        )),
        "{users}"
    );
    assert!(
        users["why"].to_string().contains("`slug` is not given"),
        "{users}"
    );
    assert!(
        said["rules"][2]["why"][0]
            .as_str()
            .unwrap()
            .starts_with("`when` is false")
    );
    let by_name = &said["rules"][3];
    assert!(
        by_name["why"].to_string().contains("no such row image"),
        "{by_name}"
    );
    assert_eq!(by_name["does"], json!([]));
}

#[tokio::test]
async fn a_change_that_is_malformed_is_refused_with_what_to_write() {
    for (args, expected) in [
        (&[][..], "give --after for an insert"),
        (&["--after", "[]"], "--after is not an object"),
        (&["--before", "{"], "--before is not JSON"),
        (
            &["--table", "users", "--after", "{}"],
            "--table \"users\" has no database",
        ),
    ] {
        let args = [&["explain"], args].concat();
        let args = if args.contains(&"--table") {
            args
        } else {
            [&args[..], &["--table", "shop.users"]].concat()
        };
        let options = EvictdOptions::run(env!("CARGO_BIN_EXE_evictd"), CONFIG).args(&args);
        let refused = Evictd::finish(&options, WITHIN).await;
        assert_eq!(refused.code, Some(2), "{args:?}");
        assert!(
            refused.stderr.contains(expected),
            "{args:?}: {}",
            refused.stderr
        );
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

#[tokio::test]
async fn with_the_server_columns_have_its_types_and_unknown_ones_are_refused() {
    let shop = Shop::open().await;
    let table = format!("{}.users", shop.database);
    let run = async |after: &str| {
        let args = ["explain", "--online", "--table", &table, "--after", after];
        Evictd::finish(&shop.config().options().args(&args), WITHIN).await
    };
    let said = run(r#"{"id": "18446744073709551615", "version": 2}"#).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let key = "delete user:18446744073709551615:v2";
    assert!(said.stdout.contains(key), "{}", said.stdout);
    let refused = run(r#"{"id": 1, "verson": 2}"#).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused
            .stderr
            .contains("has no column `verson`; did you mean `version`?"),
        "{}",
        refused.stderr
    );
}
