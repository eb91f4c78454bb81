//! Tag sets, hash fields and what is published.

use super::*;

#[test]
fn tag_sets_are_rendered_as_keys_are() {
    let fields = "tag_sets = [\"tag:user-{id}\", { key = 'ns:\\x01tags\\x01{slug}', member_prefix = \"app_cache_\" }]";
    check(
        fields,
        Some(row(7, "old", 1)),
        Some(row(7, "new", 2)),
        &[
            "r: delete members of tag:user-7 after \"\"",
            "r: delete members of tag:user-7 after \"\"",
            r#"r: delete members of ns:\x01tags\x01old after "app_cache_""#,
            r#"r: delete members of ns:\x01tags\x01new after "app_cache_""#,
        ],
    );
    check(
        fields,
        None,
        Some(with(row(7, "", 1), "slug", Value::Null)),
        &["r: delete members of tag:user-7 after \"\""],
    );
}

#[test]
fn the_prefix_of_all_keys_goes_before_sets_and_members() {
    let rules = rules(
        "key_prefix = \"app:\"\n[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n\
         tag_sets = [\"tag:{id}\", { key = \"tag:{slug}:entries\", member_prefix = \"laravel_cache_\" }]\n\
         hash_fields = [{ key = \"users\", field = \"{id}\" }]\n",
    );
    assert_eq!(
        plan(&rules, None, Some(&row(7, "a", 1))),
        [
            "r: delete members of app:tag:7 after \"app:\"",
            "r: delete members of app:tag:a:entries after \"app:laravel_cache_\"",
            "r: delete field 7 of app:users",
        ]
    );
    let mut wide = Lines::default();
    rules.widen_all(Widening::Gap, &mut wide);
    assert_eq!(
        wide.0,
        [
            "r: widened by gap",
            "r: delete all app:users",
            "r: delete members of all app:tag:* after \"app:\"",
            "r: delete members of all app:tag:*:entries after \"app:laravel_cache_\"",
        ]
    );
}

#[test]
fn a_hash_and_its_field_come_from_the_same_row() {
    let fields = "version = \"version\"\nhash_fields = [{ key = \"page:{slug}\", field = \"{id}\" }, { key = \"users:v{version}\", field = \"{slug}\" }]";
    check(
        fields,
        Some(row(7, "old", 1)),
        Some(row(8, "new", 2)),
        &[
            "r: delete field 7 of page:old",
            "r: delete field 8 of page:new",
            "r: delete field old of users:v1",
            "r: delete field new of users:v2",
        ],
    );
    check(
        fields,
        Some(row(7, "old", 2)),
        Some(row(7, "new", 1)),
        &[
            "r: version 2 went back to 1",
            "r: delete field 7 of page:old",
            "r: delete field 7 of page:new",
            "r: delete field old of users:v2",
            "r: delete field new of users:v1",
        ],
    );
    check(
        fields,
        None,
        Some(with(row(7, "", 1), "slug", Value::Null)),
        &[],
    );
}

#[test]
fn a_shape_whose_column_is_lost_widens_alone() {
    let fields = "keys = [\"user:{id}\"]\ntag_sets = [\"tag:{slug}\", \"tag:{id}\"]\n\
        hash_fields = [{ key = \"h:{id}\", field = \"{slug}\" }, { key = \"g:{id}\", field = \"{id}\" }]";
    check(
        fields,
        Some(with(row(7, "", 1), "slug", Value::Absent)),
        None,
        &[
            "r: delete user:7",
            "r: widened by missing-column",
            "r: delete members of all tag:* after \"\"",
            "r: delete members of tag:7 after \"\"",
            "r: widened by missing-column",
            "r: delete all h:*",
            "r: delete field 7 of g:7",
        ],
    );
}

#[test]
fn a_rules_own_table_wide_names_its_tag_sets() {
    let rules = rule(
        "keys = [\"user:{id}\"]\ntag_sets = [\"tag:{id}\"]\n\
         table_wide = { keys = [\"u*\"], tag_sets = [\"t*\", { key = \"z*\", member_prefix = \"p:\" }] }",
    );
    let mut wide = Lines::default();
    rules.widen_all(Widening::Gap, &mut wide);
    assert_eq!(
        wide.0,
        [
            "r: widened by gap",
            "r: delete all u*",
            "r: delete members of all t* after \"\"",
            "r: delete members of all z* after \"p:\"",
        ]
    );
}

#[test]
fn what_a_rule_with_a_channel_deletes_is_published() {
    let rules = rule(
        "version = \"version\"\nkeys = [\"user:{id}:v{version}\", \"user:{id}\"]\ntag_sets = [\"tag:{id}\"]\n\
         hash_fields = [{ key = \"users\", field = \"{id}\" }]\npaths = [\"/u/{id}\"]\npublish = \"shop\"\n\
         table_wide = { generation = \"gen\", keys = [\"user:*\"] }",
    );
    assert_eq!(
        plan(&rules, None, Some(&row(7, "a", 1))),
        [
            "r: delete user:7:v1",
            "r: tell shop user:7:v1",
            "r: delete user:7",
            "r: tell shop user:7",
            "r: delete members of tag:7 after \"\"",
            "r: tell shop the members",
            "r: delete field 7 of users",
            "r: tell shop field 7 of users",
            "r: invalidate /u/7",
        ]
    );
    let update = plan(&rules, Some(&row(7, "a", 1)), Some(&row(7, "a", 2)));
    let once = ["r: delete once user:7:v1", "r: tell once shop user:7:v1"];
    assert_eq!(update[..2], once);
    let mut wide = Lines::default();
    rules.widen_all(Widening::Gap, &mut wide);
    assert_eq!(
        wide.0,
        [
            "r: widened by gap",
            "r: increment gen",
            "r: tell shop gen",
            "r: delete all user:*",
            "r: tell shop all user:*",
            "r: invalidate /u/*",
        ]
    );
}
