//! Guards.

use super::*;

const GUARDED: &str = "version = \"version\"\nkeys = [\"user:{id}:v{version}\", \"user:{id}\"]\nguard = { key = \"user:{{{id}}}:guard\", ttl = \"1d\" }";

const DAY: &str = "for 86400s";

#[test]
fn a_guard_is_raised_to_the_version_and_past_that_of_a_row_that_is_gone() {
    check(
        GUARDED,
        None,
        Some(row(7, "a", 1)),
        &[
            &format!("r: raise user:{{7}}:guard to 1 {DAY}"),
            "r: delete user:7:v1",
            "r: delete user:7",
        ],
    );
    check(
        GUARDED,
        Some(row(7, "a", 4)),
        Some(row(7, "b", 5)),
        &[
            &format!("r: raise user:{{7}}:guard to 5 {DAY}"),
            "r: delete once user:7:v4",
            "r: delete user:7",
            "r: delete user:7",
        ],
    );
    check(
        GUARDED,
        Some(row(7, "a", 5)),
        None,
        &[
            &format!("r: raise user:{{7}}:guard to 6 {DAY}"),
            "r: delete user:7:v5",
            "r: delete user:7",
        ],
    );
}

#[test]
fn a_version_that_is_as_large_as_it_can_be_still_has_one_past_it() {
    check(
        GUARDED,
        Some(row(7, "a", u64::MAX)),
        None,
        &[
            &format!("r: raise user:{{7}}:guard to 18446744073709551616 {DAY}"),
            "r: delete user:7:v18446744073709551615",
            "r: delete user:7",
        ],
    );
}

#[test]
fn a_version_that_stayed_leaves_the_guard_and_deletes_the_current_key() {
    check(
        GUARDED,
        Some(row(7, "a", 4)),
        Some(row(7, "b", 4)),
        &[
            "r: version 4 stayed",
            &format!("r: raise user:{{7}}:guard to 4 {DAY}"),
            "r: delete user:7:v4",
            "r: delete user:7",
            "r: delete user:7",
        ],
    );
}

#[test]
fn a_version_that_went_back_deletes_both_keys_twice_and_raises_the_guard_past_the_old_row() {
    check(
        GUARDED,
        Some(row(7, "a", 5)),
        Some(row(7, "b", 3)),
        &[
            "r: version 5 went back to 3",
            &format!("r: raise user:{{7}}:guard to 6 {DAY}"),
            "r: delete user:7:v5",
            "r: delete user:7:v3",
            "r: delete user:7",
            "r: delete user:7",
        ],
    );
}

const BY_SLUG: &str =
    "version = \"version\"\nguard = { key = \"page:{slug}:guard\", ttl = \"1h\" }";

#[test]
fn a_row_that_changes_its_guards_name_leaves_the_old_one_behind_it() {
    check(
        BY_SLUG,
        Some(row(7, "old", 4)),
        Some(row(7, "new", 5)),
        &[
            "r: raise page:old:guard to 5 for 3600s",
            "r: raise page:new:guard to 5 for 3600s",
        ],
    );
    check(
        BY_SLUG,
        Some(row(7, "old", 4)),
        Some(row(7, "new", 2)),
        &[
            "r: version 4 went back to 2",
            "r: raise page:old:guard to 5 for 3600s",
            "r: raise page:new:guard to 2 for 3600s",
        ],
    );
}

#[test]
fn a_null_in_the_guards_key_names_no_guard() {
    let null = || with(row(7, "", 4), "slug", Value::Null);
    check(BY_SLUG, None, Some(null()), &[]);
    check(
        BY_SLUG,
        Some(null()),
        Some(row(7, "new", 5)),
        &["r: raise page:new:guard to 5 for 3600s"],
    );
    check(
        BY_SLUG,
        Some(row(7, "old", 4)),
        Some(null()),
        &[
            "r: version 4 stayed",
            "r: raise page:old:guard to 5 for 3600s",
        ],
    );
}

#[test]
fn a_version_that_is_null_or_negative_raises_no_guard_and_deletes_its_keys() {
    let at = |version| with(row(7, "a", 0), "version", version);
    let fields =
        "version = \"version\"\nkeys = [\"user:{id}\"]\nguard = { key = \"g:{id}\", ttl = \"1h\" }";
    for (version, text) in [(Value::Null, ""), (Value::Int(-3), "-3")] {
        let skipped = format!("r: no guard for version \"{text}\"");
        check(
            fields,
            None,
            Some(at(version.clone())),
            &[&skipped, "r: delete user:7"],
        );
        check(
            fields,
            Some(at(version.clone())),
            None,
            &[&skipped, "r: delete user:7"],
        );
        check(
            fields,
            Some(at(version.clone())),
            Some(at(Value::UInt(4))),
            &[
                "r: raise g:7 to 4 for 3600s",
                "r: delete user:7",
                "r: delete user:7",
            ],
        );
    }
    // The version that the row had is known, so that nothing of it is stored.
    check(
        fields,
        Some(at(Value::UInt(4))),
        Some(at(Value::Null)),
        &[
            "r: no guard for version \"\"",
            "r: raise g:7 to 5 for 3600s",
            "r: delete user:7",
            "r: delete user:7",
        ],
    );
}

#[test]
fn a_column_that_neither_image_carries_widens_and_raises_what_is_known() {
    let lost = |row, column| with(row, column, Value::Absent);
    let fields = format!("{BY_SLUG}\nkeys = [\"user:{{id}}\"]");
    let widened = ["r: widened by missing-column", "r: delete all user:*"];
    let deleted = ["r: delete user:7"];
    check(
        &fields,
        Some(lost(row(7, "", 4), "version")),
        None,
        &[&deleted[..], &widened].concat(),
    );
    check(
        &fields,
        Some(lost(row(7, "", 4), "slug")),
        Some(row(7, "new", 5)),
        &[&deleted[..], &deleted, &widened].concat(),
    );
    // MINIMAL: the key did not change, and the new version is there.
    check(
        &fields,
        Some(lost(row(7, "a", 4), "version")),
        Some(lost(row(7, "", 5), "slug")),
        &[
            "r: raise page:a:guard to 5 for 3600s",
            "r: delete user:7",
            "r: delete user:7",
        ],
    );
}

#[test]
fn a_guard_needs_an_integer_version_and_a_name_of_its_own() {
    let error = rule("version = \"slug\"\nguard = { key = \"g:{id}\", ttl = \"1h\" }")
        .bind(&users())
        .unwrap_err();
    assert_eq!(
        (error.line, error.message.as_str()),
        (
            9,
            "rule \"r\": guard: the version column `slug` of table shop.users is not an integer, and a watermark compares numbers; name an integer column, or remove the guard"
        )
    );
    let error = rule("version = \"version\"\nguard = { key = \"g:{idd}\", ttl = \"1h\" }")
        .bind(&users())
        .unwrap_err();
    assert_eq!(
        error.message,
        "rule \"r\": guard \"g:{idd}\": table shop.users has no column `idd`; did you mean `id`?"
    );
}

#[test]
fn a_whole_table_never_names_a_guard() {
    let rules = rules(&format!(
        "key_prefix = \"app:\"\n[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n{GUARDED}"
    ));
    let mut wide = Lines::default();
    rules.widen_all(Widening::Gap, &mut wide);
    assert_eq!(
        wide.0,
        [
            "r: widened by gap",
            "r: delete all app:user:*",
            "r: delete all app:user:*:v*",
        ]
    );
    let [pattern] = rules.guard_patterns().try_into().unwrap();
    assert!(pattern.matches(b"app:user:{7}:guard"));
    assert!(!pattern.matches(b"user:{7}:guard") && !pattern.matches(b"app:user:7"));
}

proptest! {
    /// Whatever happens to a row, no change asks for a guard below the version that the row has afterwards,
    /// nor at or below that of a row that is gone.
    #[test]
    fn a_guard_is_never_below_the_row_that_may_be_stored(
        before in prop::option::of((0_i64..3, 0_u64..6)),
        after in prop::option::of((0_i64..3, 0_u64..6)),
    ) {
        prop_assume!(before.is_some() || after.is_some());
        let rules = rule("version = \"version\"\nguard = { key = \"g:{id}\", ttl = \"1h\" }");
        let image = |of: Option<(i64, u64)>| of.map(|(id, version)| row(id, "a", version));
        let planned = plan(&rules, image(before).as_ref(), image(after).as_ref());
        let raised = |id: i64| {
            let start = format!("r: raise g:{id} to ");
            let line = planned.iter().find_map(|line| line.strip_prefix(&start))?;
            line.split(' ').next()?.parse::<u64>().ok()
        };
        if let Some((id, version)) = after {
            prop_assert!(raised(id) >= Some(version), "{planned:?}");
        }
        if let Some((id, version)) = before {
            let newer = after.is_some_and(|(other, after)| other == id && after >= version);
            prop_assert!(newer || raised(id) > Some(version), "{planned:?}");
        }
    }
}
