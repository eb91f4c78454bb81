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
