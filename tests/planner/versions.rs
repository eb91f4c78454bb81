//! Names that contain the version: which of them are dead after a change, and which are in use.

use super::*;

#[test]
fn a_versioned_template_names_the_entry_that_just_died() {
    let fields = "version = \"version\"\nkeys = [\"user:{id}:v{version}\"]";
    check(
        fields,
        Some(row(7, "a", 4)),
        Some(row(7, "a", 5)),
        &["r: delete once user:7:v4"],
    );
}

/// Only an update that moves the version on ends a name for good.
#[test]
fn the_name_of_a_row_that_comes_or_goes_may_be_in_use_again_and_settles() {
    let fields = "version = \"version\"\nkeys = [\"user:{id}:v{version}\"]";
    let settles = |version| format!("r: delete user:7:v{version}");
    check(fields, None, Some(row(7, "a", 1)), &[&settles(1)]);
    check(fields, Some(row(7, "a", 5)), None, &[&settles(5)]);
}

/// The row leaves one name, which another row may take at the same version, and comes to another, which may hold what
/// was cached of another row.
#[test]
fn an_update_that_changes_more_of_a_name_than_its_version_deletes_both_names_and_they_settle() {
    check(
        "version = \"version\"\nkeys = [\"page:{slug}:v{version}\", \"user:{id}:v{version}\"]\n\
         paths = [\"/p/{slug}/{version}\"]\ntag_sets = [\"tag:{slug}:{version}\"]\n\
         hash_fields = [{ key = \"users:v{version}\", field = \"{slug}\" }]",
        Some(row(7, "a", 4)),
        Some(row(7, "b", 5)),
        &[
            "r: delete page:a:v4",
            "r: delete page:b:v5",
            "r: delete once user:7:v4",
            "r: delete members of tag:a:4 after \"\"",
            "r: delete members of tag:b:5 after \"\"",
            "r: delete field a of users:v4",
            "r: delete field b of users:v5",
            "r: invalidate /p/a/4",
            "r: invalidate /p/b/5",
        ],
    );
    // MINIMAL: what the after image lacks did not change.
    check(
        "version = \"version\"\nkeys = [\"page:{slug}:v{version}\"]",
        Some(row(7, "a", 4)),
        Some(with(row(7, "", 5), "slug", Value::Absent)),
        &["r: delete once page:a:v4"],
    );
}

#[test]
fn a_name_that_two_versions_can_share_settles() {
    let at = |hours| {
        let Value::DateTime(at) = row(7, "a", 1)[4] else {
            panic!("it is a point in time");
        };
        with(
            row(7, "a", 1),
            "at",
            Value::DateTime(DateTime { hours, ..at }),
        )
    };
    check(
        "version = \"at\"\nkeys = ['user:{id}:{at|date(\"%F\")}', 'user:{id}:{at|hex}', 'user:{id}:{after.at}']",
        Some(at(8)),
        Some(at(9)),
        &[
            "r: delete user:7:2026-03-09",
            "r: delete once user:7:323032362d30332d30392030383a30303a3030",
            "r: delete user:7:2026-03-09 09:00:00",
        ],
    );
}

#[test]
fn a_version_that_stayed_is_reported_and_its_key_deleted() {
    let fields = "version = \"version\"\nkeys = [\"user:{id}:v{version}\"]";
    check(
        fields,
        Some(row(7, "a", 4)),
        Some(row(7, "b", 4)),
        &["r: version 4 stayed", "r: delete user:7:v4"],
    );
    // MINIMAL: the after image lacks what was not set.
    check(
        fields,
        Some(row(7, "a", 4)),
        Some(with(row(7, "b", 0), "version", Value::Absent)),
        &["r: version 4 stayed", "r: delete user:7:v4"],
    );
}

#[test]
fn a_version_that_went_back_is_reported_without_a_guard_and_for_dates_too() {
    let at = |seconds| {
        let date = Date {
            year: 2026,
            month: 1,
            day: 2,
        };
        Value::DateTime(DateTime {
            date,
            hours: 0,
            minutes: 0,
            seconds,
            micros: 0,
            decimals: 0,
        })
    };
    check(
        "version = \"at\"\nkeys = [\"user:{id}:{at}\"]\npaths = [\"/u/{id}/{at}\"]",
        Some(with(row(7, "a", 1), "at", at(5))),
        Some(with(row(7, "a", 1), "at", at(4))),
        &[
            "r: version 2026-01-02 00:00:05 went back to 2026-01-02 00:00:04",
            "r: delete user:7:2026-01-02 00:00:05",
            "r: delete user:7:2026-01-02 00:00:04",
            "r: invalidate /u/7/2026-01-02%2000:00:05",
            "r: invalidate /u/7/2026-01-02%2000:00:04",
        ],
    );
}

#[test]
fn a_version_without_an_order_may_be_one_of_before() {
    let fields = "version = \"slug\"\nkeys = [\"user:{id}:{slug}\"]";
    check(
        fields,
        Some(row(7, "draft", 1)),
        Some(row(7, "ready", 1)),
        &["r: delete user:7:draft", "r: delete user:7:ready"],
    );
    let null = with(row(7, "", 1), "slug", Value::Null);
    check(
        fields,
        Some(row(7, "draft", 1)),
        Some(null),
        &["r: delete user:7:draft"],
    );
}
