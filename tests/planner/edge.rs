//! Cache tags, variants, tenants and distributions.

use super::*;

/// A configuration with these distributions, and one rule.
fn rule_at(distributions: &[&str], fields: &str) -> Rules {
    let named = distributions
        .iter()
        .map(|name| format!("[[cloudfront.distribution]]\nname = \"{name}\"\nid = \"E-{name}\"\n"));
    let named: String = named.collect();
    rules(&format!(
        "[buffer]\nkind = \"local\"\npath = \"/q\"\n[cloudfront]\n{named}\
         [[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n{fields}"
    ))
}

fn wide(rules: &Rules) -> Vec<String> {
    let mut wide = Lines::default();
    rules.widen_all(Widening::Gap, &mut wide);
    wide.0
}

const WIDE: &str = "table_wide = { paths = [\"/users/*\"], edge_tags = [\"All-Users\"] }\n";

#[test]
fn tags_are_rendered_as_paths_are_and_have_no_case() {
    let fields = format!("edge_tags = [\"User-{{id}}\", \"slug:{{slug}}\", \"home\"]\n{WIDE}");
    check(
        &fields,
        Some(row(7, "Old", 1)),
        Some(row(7, "new", 2)),
        &[
            "r: invalidate #user-7",
            "r: invalidate #user-7",
            "r: invalidate #slug:old",
            "r: invalidate #slug:new",
            "r: invalidate #home",
        ],
    );
    check(
        &fields,
        None,
        Some(with(row(7, "", 1), "slug", Value::Null)),
        &["r: invalidate #user-7", "r: invalidate #home"],
    );
    assert_eq!(
        wide(&rule(&fields)),
        [
            "r: widened by gap",
            "r: invalidate /users/*",
            "r: invalidate #all-users",
        ]
    );
}

#[test]
fn a_tag_that_cannot_be_widens_to_what_stands_for_the_table() {
    let fields = format!("edge_tags = [\"slug:{{slug}}\"]\n{WIDE}");
    let widened = |reason: &str| {
        [
            format!("r: widened by {reason}"),
            "r: invalidate /users/*".to_owned(),
            "r: invalidate #all-users".to_owned(),
        ]
    };
    let rules = rule(&fields);
    for slug in ["a,b", "a b", "ä", "a\u{7f}", &"x".repeat(252)] {
        let planned = plan(&rules, None, Some(&row(7, slug, 1)));
        assert_eq!(planned, widened("tag-invalid"), "{slug}");
    }
    let longest = "x".repeat(251);
    let planned = plan(&rules, None, Some(&row(7, &longest, 1)));
    assert_eq!(planned, [format!("r: invalidate #slug:{longest}")]);
    let unknown = with(row(7, "", 1), "slug", Value::Absent);
    assert_eq!(
        plan(&rules, None, Some(&unknown)),
        widened("missing-column")
    );
    let empty = rule("edge_tags = [\"{slug}\"]\ntable_wide = { paths = [\"/*\"] }");
    assert_eq!(
        plan(&empty, None, Some(&row(7, "", 1))),
        ["r: widened by tag-invalid", "r: invalidate /*"]
    );
}

#[test]
fn tags_without_columns_stand_for_themselves_when_a_table_widens() {
    let fields = "edge_tags = [\"Home\", \"menu-{locale}\"]\npaths = [\"/u/{id}\"]\nexpand = { locale = [\"en\", \"de\"] }";
    assert_eq!(
        wide(&rule(fields)),
        [
            "r: widened by gap",
            "r: invalidate /u/*",
            "r: invalidate #home",
            "r: invalidate #menu-de",
            "r: invalidate #menu-en",
        ]
    );
}

#[test]
fn every_variant_is_rendered_in_keys_paths_and_tags() {
    let fields = "expand = { locale = [\"en\", \"d\\u00e9\"], slash = [\"\", \"/\"] }\n\
         keys = [\"user:{id}:{locale}\", \"user:{id}\"]\n\
         paths = [\"/{locale}/users/{slug}{slash}\"]\n\
         edge_tags = [\"user-{id}{slash}\"]\n";
    let fields = format!("{fields}table_wide = {{ keys = [\"user:*\"], paths = [\"/*\"] }}");
    check(
        &fields,
        None,
        Some(row(7, "ada", 1)),
        &[
            "r: delete user:7:en",
            r"r: delete user:7:d\xc3\xa9",
            "r: delete user:7",
            "r: invalidate /en/users/ada",
            "r: invalidate /en/users/ada/",
            "r: invalidate /d%C3%A9/users/ada",
            "r: invalidate /d%C3%A9/users/ada/",
            "r: invalidate #user-7",
            "r: invalidate #user-7/",
        ],
    );
}

#[test]
fn whole_tables_cover_every_variant() {
    let fields = "expand = { locale = [\"en\", \"de\"] }\n\
         keys = [\"user:{id}:{locale}\"]\n\
         paths = [\"/{locale}/users/{slug}\", \"/u/{slug}/{locale}\"]";
    assert_eq!(
        wide(&rule(fields)),
        [
            "r: widened by gap",
            "r: delete all user:*:*",
            "r: invalidate /de/users/*",
            "r: invalidate /en/users/*",
            "r: invalidate /u/*",
        ]
    );
}

#[test]
fn a_variable_that_is_a_column_too_is_refused() {
    let rules = rule("expand = { slug = [\"en\"] }\npaths = [\"/{slug}/{id}\"]");
    let error = rules.bind(&users()).unwrap_err();
    assert!(
        error.message.contains("has a column `slug` too"),
        "{}",
        error.message
    );
}

#[test]
fn a_variant_that_must_not_be_invalidated_is_refused() {
    let text = format!(
        "{HEAD}[redis]\nurl = \"redis://127.0.0.1\"\n[[path]]\npattern = \"/pay/*\"\nclass = \"strong\"\n\
         [[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n\
         expand = {{ section = [\"users\", \"pay\"] }}\npaths = [\"/{{section}}/{{id}}\"]\n"
    );
    let error = config::parse(&text).unwrap_err().to_string();
    assert!(error.contains("which is of class strong"), "{error}");
}

#[test]
fn paths_go_to_the_tenant_of_the_same_image() {
    let rules = rule_at(
        &["main"],
        "tenant = \"{slug}\"\npaths = [\"/users/{id}\", \"/about\"]\nedge_tags = [\"user-{id}\"]\n\
         table_wide = { paths = [\"/users/*\"] }",
    );
    // It moved from one tenant to another, whose fixed page changed as well.
    assert_eq!(
        plan(&rules, Some(&row(7, "dt_1", 1)), Some(&row(8, "dt_2", 2))),
        [
            "r: invalidate dt_1:/users/7",
            "r: invalidate dt_2:/users/8",
            "r: invalidate dt_1:/about",
            "r: invalidate dt_2:/about",
            "r: invalidate dt_1:#user-7",
            "r: invalidate dt_2:#user-8",
        ]
    );
    let nobody = with(row(7, "", 1), "slug", Value::Null);
    assert_eq!(plan(&rules, None, Some(&nobody)), [""; 0]);
    assert_eq!(
        wide(&rules),
        ["r: widened by gap", "r: invalidate /users/*"],
        "of all tenants"
    );
}

#[test]
fn a_tenant_that_cannot_be_known_means_all_of_them() {
    let rules = rule_at(&["main"], "tenant = \"{slug}\"\npaths = [\"/users/{id}\"]");
    let unknown = with(row(7, "", 1), "slug", Value::Absent);
    assert_eq!(
        plan(&rules, None, Some(&unknown)),
        ["r: widened by missing-column", "r: invalidate /users/7"]
    );
    for name in ["", "a/b", "a:b", "zoë"] {
        assert_eq!(
            plan(&rules, None, Some(&row(7, name, 1))),
            ["r: widened by tenant-invalid", "r: invalidate /users/7"],
            "{name}"
        );
    }
    // The path cannot be known and its tenant can.
    let rules = rule_at(
        &["main"],
        "tenant = \"{slug}\"\npaths = [\"/users/{price}\"]",
    );
    let unknown = with(row(7, "dt_1", 1), "price", Value::Absent);
    assert_eq!(
        plan(&rules, None, Some(&unknown)),
        [
            "r: widened by missing-column",
            "r: invalidate dt_1:/users/*"
        ]
    );
}

#[test]
fn a_rule_may_name_its_distributions() {
    let rules = rule_at(
        &["main", "shop", "images"],
        "distributions = [\"shop\", \"main\"]\npaths = [\"/users/{id}\"]",
    );
    assert_eq!(
        plan(&rules, None, Some(&row(7, "a", 1))),
        ["r: invalidate /users/7 at shop, main"]
    );
    assert_eq!(
        wide(&rules),
        ["r: widened by gap", "r: invalidate /users/* at shop, main"]
    );
}

proptest! {
    /// Over, never under: whatever a row renders is among what its whole table invalidates, in every variant.
    #[test]
    fn what_a_row_renders_is_covered_by_its_whole_table(
        id in any::<i64>(), slug in "[a-z/ *#?é]{0,12}", locales in prop::collection::btree_set("[a-z*/é]{0,3}", 1..4),
    ) {
        let locales: Vec<String> = locales.iter().map(|text| format!("{text:?}")).collect();
        let fields = format!(
            "expand = {{ locale = [{}] }}\npaths = [\"/x{{locale}}/{{slug}}\", \"/u/{{id}}-{{locale}}\"]\nedge_tags = [\"t-x{{locale}}\"]",
            locales.join(", ")
        );
        let text = format!("{HEAD}[redis]\nurl = \"redis://127.0.0.1\"\n[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n{fields}");
        // A `*` within a path, and a tag that none can have, are refused.
        let Ok(config) = config::parse(&text) else {
            return Ok(());
        };
        let planned = plan(&config.rules, None, Some(&row(id, &slug, 1)));
        let all = wide(&config.rules);
        let items = |lines: &[String]| -> Vec<String> {
            lines.iter().filter_map(|line| line.strip_prefix("r: invalidate ")).map(str::to_owned).collect()
        };
        let all = items(&all);
        for item in items(&planned) {
            prop_assert!(all.iter().any(|wide| matches(wide, &item)), "{item} {all:?}");
        }
    }
}
