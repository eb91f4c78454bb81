//! What stands for a whole table.

use super::*;

#[test]
fn the_default_for_a_whole_table_escapes_what_redis_would_interpret() {
    let rules = rule(
        "keys = ['a*b?[c]\\\\:{id}{slug}', \"user:{id}\", \"user:{slug}\"]\n\
         paths = [\"/u/{id}/x\", \"/u/{slug}\", \"/fixed\", \"/all/*\", \"/größe 1/{id}\"]",
    );
    let mut wide = Lines::default();
    rules.widen_all(Widening::Gap, &mut wide);
    assert_eq!(
        wide.0,
        [
            "r: widened by gap",
            r"r: delete all a\\*b\\?\\[c\\]\\\\:*",
            "r: delete all user:*",
            "r: invalidate /all/*",
            "r: invalidate /fixed",
            "r: invalidate /gr%C3%B6%C3%9Fe%201/*",
            "r: invalidate /u/*",
        ]
    );
}

#[test]
fn a_rules_own_table_wide_replaces_the_default() {
    let rules =
        rule("keys = [\"user:{id}\"]\ntable_wide = { keys = [\"u*\"], paths = [\"/u ü/*\"] }");
    let mut wide = Lines::default();
    rules.widen_table(
        &TableName::new("shop", "users"),
        Widening::Undecodable,
        &mut wide,
    );
    assert_eq!(
        wide.0,
        [
            "r: widened by undecodable",
            "r: delete all u*",
            "r: invalidate /u%20%C3%BC/*"
        ]
    );
    let mut other = Lines::default();
    rules.widen_table(
        &TableName::new("shop", "orders"),
        Widening::Undecodable,
        &mut other,
    );
    assert_eq!(other.0, [""; 0]);
}

/// Otherwise a rule that names what stands for its pages would leave its keys behind, and nobody would know.
#[test]
fn what_table_wide_does_not_name_keeps_its_default() {
    let fields = "keys = [\"user:{id}\"]\ntag_sets = [\"tag:{id}\"]\n\
         hash_fields = [{ key = \"h:{id}\", field = \"f\" }]\npaths = [\"/u/{id}\"]\nedge_tags = [\"all\"]\n";
    let keys = ["r: delete all h:*", "r: delete all user:*"];
    let sets = ["r: delete members of all tag:* after \"\""];
    let (paths, tags) = (["r: invalidate /u/*"], ["r: invalidate #all"]);
    let all = [&keys[..], &sets, &paths, &tags].concat();
    let cases: [(&str, Vec<&str>); 8] = [
        ("{}", all.clone()),
        (
            "{ keys = [\"u*\"] }",
            [&["r: delete all u*"][..], &sets, &paths, &tags].concat(),
        ),
        ("{ tag_sets = [] }", [&keys[..], &paths, &tags].concat()),
        // Paths stand for tags too.
        (
            "{ paths = [\"/*\"] }",
            [&keys[..], &sets, &["r: invalidate /*"]].concat(),
        ),
        (
            "{ edge_tags = [\"users\"] }",
            [&keys[..], &sets, &paths, &["r: invalidate #users"]].concat(),
        ),
        ("{ paths = [] }", [&keys[..], &sets, &tags].concat()),
        (
            "{ paths = [], edge_tags = [] }",
            [&keys[..], &sets].concat(),
        ),
        // A generation stands for all that is in Redis.
        (
            "{ generation = \"gen\" }",
            [&["r: increment gen"][..], &paths, &tags].concat(),
        ),
    ];
    for (table_wide, expected) in cases {
        let rules = rule(&format!("{fields}table_wide = {table_wide}"));
        let mut wide = Lines::default();
        rules.widen_all(Widening::Gap, &mut wide);
        assert_eq!(wide.0[1..], expected, "{table_wide}");
    }
}

#[test]
fn a_generation_replaces_the_globs_of_a_whole_table() {
    let rules = rules(
        "key_prefix = \"app:\"\n[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\nkeys = [\"user:{id}\"]\n\
         table_wide = { generation = \"gen:users\" }",
    );
    let mut lines = Lines::default();
    rules.widen_all(Widening::Gap, &mut lines);
    assert_eq!(lines.0, ["r: widened by gap", "r: increment app:gen:users"]);
}

/// `SCAN` is what goes through them.
#[test]
fn an_account_has_to_go_through_all_keys_only_where_a_whole_table_is_a_glob() {
    for (fields, expected) in [
        ("keys = [\"user:{id}\"]", true),
        ("tag_sets = [\"tag:{id}\"]", true),
        ("paths = [\"/users/{id}\"]", false),
        (
            "keys = [\"user:{id}\"]\ntable_wide = { generation = \"gen:users\" }",
            false,
        ),
    ] {
        let probe = rule(fields).permission_probe("7");
        assert_eq!(probe.globs, expected, "{fields}");
    }
}
