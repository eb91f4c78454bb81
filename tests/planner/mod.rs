//! What rules make of changes: TOML and rows in, a plan out.

mod cascade;
mod edge;
mod guards;
mod paths;
mod structures;
mod versions;
mod wide;

use std::sync::Arc;

use evictd::config;
use evictd::model::edge_item::{matches, of_tenant};
use evictd::model::invalidation::{Action, Plan, Published, Widening};
use evictd::model::{Column, Date, DateTime, Op, RowChange, Shape, TableName, TableSchema, Value};
use evictd::rules::{RenderBuffers, Rules};
use proptest::prelude::*;

/// A plan as lines, in the order in which it was made.
#[derive(Default)]
struct Lines(Vec<String>);

impl Plan for Lines {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        self.0.push(match action {
            Action::Delete { key, settles } => {
                let once = if settles { "" } else { " once" };
                format!("{rule}: delete{once} {}", key.escape_ascii())
            }
            Action::Increment { key } => format!("{rule}: increment {}", key.escape_ascii()),
            Action::DeleteMatching { glob } => {
                format!("{rule}: delete all {}", glob.escape_ascii())
            }
            Action::Invalidate { path, at } => {
                let item = of_tenant(at.tenant, path);
                match at.distributions {
                    None => format!("{rule}: invalidate {item}"),
                    Some(names) => format!("{rule}: invalidate {item} at {}", names.join(", ")),
                }
            }
            Action::Skip { path, class } => format!("{rule}: skip {path} ({class})"),
            Action::MissedBump { version } => {
                format!("{rule}: version {} stayed", version.escape_ascii())
            }
            Action::BackwardVersion { before, after } => {
                let (before, after) = (before.escape_ascii(), after.escape_ascii());
                format!("{rule}: version {before} went back to {after}")
            }
            Action::RaiseGuard { key, version, ttl } => {
                let key = key.escape_ascii();
                format!("{rule}: raise {key} to {version} for {}s", ttl.as_secs())
            }
            Action::SkipGuard { version } => {
                format!(
                    "{rule}: no guard for version \"{}\"",
                    version.escape_ascii()
                )
            }
            Action::DeleteTagSet { key, member_prefix } => {
                let (key, prefix) = (key.escape_ascii(), member_prefix.escape_ascii());
                format!("{rule}: delete members of {key} after \"{prefix}\"")
            }
            Action::DeleteTagSetsMatching {
                glob,
                member_prefix,
            } => {
                let (glob, prefix) = (glob.escape_ascii(), member_prefix.escape_ascii());
                format!("{rule}: delete members of all {glob} after \"{prefix}\"")
            }
            Action::DeleteField { key, field } => {
                let (key, field) = (key.escape_ascii(), field.escape_ascii());
                format!("{rule}: delete field {field} of {key}")
            }
            Action::Publish { channel, what } => match what {
                Published::Key { key, settles } => {
                    let once = if settles { "" } else { " once" };
                    format!("{rule}: tell{once} {channel} {}", key.escape_ascii())
                }
                Published::Glob(glob) => {
                    format!("{rule}: tell {channel} all {}", glob.escape_ascii())
                }
                Published::Field { key, field } => {
                    let (key, field) = (key.escape_ascii(), field.escape_ascii());
                    format!("{rule}: tell {channel} field {field} of {key}")
                }
                Published::Members => format!("{rule}: tell {channel} the members"),
            },
        });
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.0.push(format!("{rule}: widened by {reason}"));
    }
}

const HEAD: &str = "name = \"t\"\nsource = { url = \"mysql://e@127.0.0.1\" }\n";

/// A configuration's rules from what follows `[redis]`'s URL.
fn rules(rest: &str) -> Rules {
    let text = format!("{HEAD}[redis]\nurl = \"redis://127.0.0.1\"\n{rest}");
    config::parse(&text)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
        .rules
}

/// One rule about `shop.users`.
fn rule(fields: &str) -> Rules {
    rules(&format!(
        "[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n{fields}"
    ))
}

const COLUMNS: [(&str, Shape); 7] = [
    ("id", Shape::Integer),
    ("slug", Shape::Text),
    ("name", Shape::Text),
    ("price", Shape::Number),
    ("at", Shape::Temporal),
    ("raw", Shape::Bytes),
    ("version", Shape::Integer),
];

fn users() -> TableSchema {
    TableSchema {
        name: TableName::new("shop", "users"),
        columns: COLUMNS
            .iter()
            .map(|(name, shape)| Column {
                name: (*name).into(),
                shape: *shape,
            })
            .collect(),
        primary_key: vec![0],
    }
}

type Row = [Value<'static>; 7];

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

fn row(id: i64, slug: &str, version: u64) -> Row {
    let date = Date {
        year: 2026,
        month: 3,
        day: 9,
    };
    let at = DateTime {
        date,
        hours: 8,
        minutes: 0,
        seconds: 0,
        micros: 0,
        decimals: 0,
    };
    [
        Value::Int(id),
        text(slug),
        text("Ada"),
        text("9.50"),
        Value::DateTime(at),
        Value::Bytes(vec![0xff, 0x00].into()),
        Value::UInt(version),
    ]
}

fn with(mut row: Row, column: &str, value: Value<'static>) -> Row {
    let index = COLUMNS
        .iter()
        .position(|(name, _)| *name == column)
        .unwrap();
    row[index] = value;
    row
}

#[track_caller]
fn plan(rules: &Rules, before: Option<&Row>, after: Option<&Row>) -> Vec<String> {
    let schema = users();
    let planner = rules
        .bind(&schema)
        .unwrap_or_else(|error| panic!("{}", error.message));
    let project = |row: &Row| -> Vec<Value<'static>> {
        planner
            .projection()
            .iter()
            .map(|index| row[*index].clone())
            .collect()
    };
    let (before, after) = (before.map(project), after.map(project));
    let op = match (&before, &after) {
        (None, _) => Op::Insert,
        (_, None) => Op::Delete,
        _ => Op::Update,
    };
    let change = RowChange {
        table: &schema,
        op,
        before: before.as_deref(),
        after: after.as_deref(),
    };
    let mut lines = Lines::default();
    planner.plan(&change, &mut RenderBuffers::default(), &mut lines);
    lines.0
}

#[track_caller]
fn check(fields: &str, before: Option<Row>, after: Option<Row>, expected: &[&str]) {
    assert_eq!(
        plan(&rule(fields), before.as_ref(), after.as_ref()),
        expected,
        "{fields}"
    );
}

#[test]
fn inserts_and_deletes_render_the_image_they_have() {
    let fields = "keys = [\"user:{id}:{slug}\", \"all\"]\npaths = [\"/users/{slug}\"]";
    let expected = |slug: &str| {
        [
            format!("r: delete user:7:{slug}"),
            "r: delete all".into(),
            format!("r: invalidate /users/{slug}"),
        ]
    };
    let rules = rule(fields);
    assert_eq!(plan(&rules, None, Some(&row(7, "new", 1))), expected("new"));
    assert_eq!(plan(&rules, Some(&row(7, "old", 1)), None), expected("old"));
}

#[test]
fn an_update_renders_both_images_so_that_a_changed_slug_evicts_both() {
    check(
        "keys = [\"page:{slug}\"]\npaths = [\"/users/{slug}\"]",
        Some(row(7, "old", 1)),
        Some(row(7, "new", 2)),
        &[
            "r: delete page:old",
            "r: delete page:new",
            "r: invalidate /users/old",
            "r: invalidate /users/new",
        ],
    );
}

#[test]
fn a_placeholder_may_name_its_image() {
    let fields = "keys = [\"from:{before.slug}:to:{after.slug}\", \"old:{before.slug}\"]";
    check(
        fields,
        Some(row(7, "a", 1)),
        Some(row(7, "b", 2)),
        &["r: delete from:a:to:b", "r: delete old:a"],
    );
    check(fields, None, Some(row(7, "b", 1)), &[]);
    check(fields, Some(row(7, "a", 1)), None, &["r: delete old:a"]);
}

#[test]
fn null_makes_no_key_unless_there_is_a_default() {
    let null = || with(row(7, "", 1), "slug", Value::Null);
    let fields = "keys = [\"page:{slug}\", \"page:{slug|upper|default(\\\"none\\\")}\"]\npaths = [\"/p/{slug}\"]";
    check(fields, None, Some(null()), &["r: delete page:none"]);
    check(
        fields,
        Some(null()),
        Some(row(7, "b", 2)),
        &[
            "r: delete page:b",
            "r: delete page:none",
            "r: delete page:B",
            "r: invalidate /p/b",
        ],
    );
}

#[test]
fn a_column_that_the_after_image_lacks_did_not_change() {
    let after = with(row(7, "", 2), "slug", Value::Absent);
    check(
        "keys = [\"page:{after.slug}\"]\npaths = [\"/p/{slug}\"]",
        Some(row(7, "a", 1)),
        Some(after.clone()),
        &[
            "r: delete page:a",
            "r: invalidate /p/a",
            "r: invalidate /p/a",
        ],
    );
    check(
        "changed = [\"slug\"]\nkeys = [\"k\"]",
        Some(row(7, "a", 1)),
        Some(after.clone()),
        &[],
    );
    for (when, expected) in [
        ("before.slug != after.slug", &[][..]),
        ("after.slug == 'a'", &["r: delete k"]),
    ] {
        check(
            &format!("when = \"{when}\"\nkeys = [\"k\"]"),
            Some(row(7, "a", 1)),
            Some(after.clone()),
            expected,
        );
    }
}

#[test]
fn a_value_that_is_lost_widens_what_is_made_of_it() {
    let before = with(row(7, "", 1), "slug", Value::Absent);
    check(
        "keys = [\"page:{slug}:x\", \"user:{id}\"]\npaths = [\"/p/{slug}\", \"/u/{id}\"]",
        Some(before),
        Some(row(7, "b", 2)),
        &[
            "r: widened by missing-column",
            "r: delete all page:*:x",
            "r: delete page:b:x",
            "r: delete user:7",
            "r: delete user:7",
            "r: widened by missing-column",
            "r: invalidate /p/*",
            "r: invalidate /p/b",
            "r: invalidate /u/7",
            "r: invalidate /u/7",
        ],
    );
}

#[test]
fn a_value_that_cannot_be_decoded_is_as_one_that_is_lost_but_for_whether_it_changed() {
    let slug = |bytes: &'static [u8]| with(row(7, "", 1), "slug", Value::Undecodable(bytes));
    let fields = "keys = [\"page:{slug}\", \"user:{id}\"]\npaths = [\"/p/{slug}\"]";
    check(
        fields,
        Some(row(7, "a", 1)),
        Some(slug(b"\xe9")),
        &[
            "r: delete page:a",
            "r: widened by undecodable",
            "r: delete all page:*",
            "r: delete user:7",
            "r: delete user:7",
            "r: invalidate /p/a",
            "r: widened by undecodable",
            "r: invalidate /p/*",
        ],
    );
    let changed = "changed = [\"slug\"]\nkeys = [\"user:{id}\"]";
    check(changed, Some(slug(b"\xe9")), Some(slug(b"\xe9")), &[]);
    let deleted = ["r: delete user:7", "r: delete user:7"];
    check(changed, Some(slug(b"\xe9")), Some(slug(b"\xe8")), &deleted);
    // Of the rest `when` knows nothing either.
    check(
        "when = \"after.slug == 'a'\"\nkeys = [\"user:{id}\"]",
        None,
        Some(slug(b"a\xe9")),
        &deleted[1..],
    );
}

#[test]
fn a_lost_value_takes_of_table_wide_what_covers_its_template() {
    let lost = || Some(with(row(7, "", 1), "slug", Value::Absent));
    for (table_wide, expected) in [
        (
            "{ keys = [\"p*\", \"page:*\", \"user:*\"] }",
            &["r: delete all page:*"][..],
        ),
        ("{ keys = [\"*:x\", \"user:*\"] }", &["r: delete all *:x"]),
        // None of them covers it alone.
        (
            "{ keys = [\"page:?*:x\", \"user:*\"] }",
            &["r: delete all page:?*:x", "r: delete all user:*"],
        ),
        ("{ paths = [\"/all\"] }", &["r: delete all page:*:x"]),
        ("{ keys = [], paths = [\"/all\"] }", &[]),
        (
            "{ generation = \"gen\", keys = [\"page:*\"] }",
            &["r: increment gen", "r: delete all page:*"],
        ),
    ] {
        let fields = format!("keys = [\"page:{{slug}}:x\"]\ntable_wide = {table_wide}");
        let expected = [&["r: widened by missing-column"], expected].concat();
        check(&fields, lost(), None, &expected);
    }
}

#[test]
fn a_value_that_a_filter_cannot_take_widens_too() {
    let zero = Value::Date(Date {
        year: 0,
        month: 0,
        day: 0,
    });
    check(
        "keys = [\"day:{at|date(\\\"%F\\\")}\", \"uuid:{raw|uuid}\"]",
        None,
        Some(with(row(7, "a", 1), "at", zero)),
        &[
            "r: widened by missing-column",
            "r: delete all day:*",
            "r: widened by missing-column",
            "r: delete all uuid:*",
        ],
    );
}

#[test]
fn keys_are_bytes_and_take_the_prefix() {
    let rules = rules(
        "key_prefix = \"app[1]:\"\n[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n\
         keys = ['u\\x01{{{raw}}}:{raw|hex}:{id|md5}', \"price:{price}\"]\n",
    );
    let planned = plan(&rules, None, Some(&row(7, "a", 1)));
    let md5 = "8f14e45fceea167a5a36dedd4bea2543";
    assert_eq!(
        planned,
        [
            format!(r"r: delete app[1]:u\x01{{\xff\x00}}:ff00:{md5}"),
            "r: delete app[1]:price:9.50".to_owned()
        ]
    );
    let mut wide = Lines::default();
    rules.widen_table(
        &TableName::new("shop", "users"),
        Widening::Statement,
        &mut wide,
    );
    // Two backslashes are one, printed.
    assert_eq!(
        wide.0,
        [
            "r: widened by statement",
            r"r: delete all app\\[1\\]:price:*",
            r"r: delete all app\\[1\\]:u\x01{*}:*:*",
        ]
    );
}

#[test]
fn a_rule_that_does_not_fit_its_table_is_refused_with_its_line() {
    let cases = [
        (
            "keys = [\"{nmae}\"]",
            "rule \"r\": key \"{nmae}\": table shop.users has no column `nmae`; did you mean `name`?",
        ),
        (
            "keys = [\"{slug}\"]\nversion = \"revision\"",
            "rule \"r\": version: table shop.users has no column `revision`",
        ),
        (
            "changed = [\"slugs\"]\nkeys = [\"k\"]",
            "rule \"r\": changed: table shop.users has no column `slugs`; did you mean `slug`?",
        ),
        (
            "when = \"after.slgu == 'x'\"\nkeys = [\"k\"]",
            "rule \"r\": when: table shop.users has no column `slgu`; did you mean `slug`?",
        ),
        (
            "keys = [\"{id|date(\\\"%F\\\")}\"]",
            "rule \"r\": key \"{id|date(\"%F\")}\": column `id`: filter `date` needs a DATE, DATETIME or TIMESTAMP column",
        ),
        (
            "keys = [\"{id|uuid}\"]",
            "rule \"r\": key \"{id|uuid}\": column `id`: filter `uuid` needs a BINARY(16) or text column",
        ),
    ];
    for (fields, expected) in cases {
        let error = rule(fields).bind(&users()).unwrap_err();
        assert_eq!(error.message, expected);
        assert!((8..=9).contains(&error.line), "{fields}: {}", error.line);
    }
    // Column names are not case-sensitive.
    rule("keys = [\"{ID}:{Slug}\"]").bind(&users()).unwrap();
}

#[test]
fn on_changed_and_when_decide_whether_a_rule_fires() {
    let (a, b) = (row(7, "a", 1), row(7, "b", 2));
    let insert_only = "on = [\"insert\"]\nkeys = [\"k\"]";
    check(insert_only, Some(a.clone()), Some(b.clone()), &[]);
    check(insert_only, None, Some(b.clone()), &["r: delete k"]);
    let on_name = "changed = [\"name\"]\nkeys = [\"k\"]";
    check(on_name, Some(a.clone()), Some(b.clone()), &[]);
    check(on_name, Some(a.clone()), None, &["r: delete k"]);
    let renamed = with(b.clone(), "name", Value::Null);
    check(on_name, Some(a.clone()), Some(renamed), &["r: delete k"]);
    let when = "when = \"after.slug != 'b'\"\nkeys = [\"k\"]";
    check(when, Some(a.clone()), Some(b.clone()), &[]);
    check(when, Some(b), Some(a.clone()), &["r: delete k"]);
    // There is no after image, so that the condition fails, and counts as true.
    check(when, Some(a), None, &["r: delete k"]);
}

#[test]
fn several_rules_on_one_table_plan_in_the_configurations_order() {
    let rules = rules(
        "[[rule]]\nname = \"b\"\ntables = [\"shop.*\"]\nkeys = [\"b:{slug}\"]\n\
         [[rule]]\nname = \"other\"\ntables = [\"shop.orders\"]\nkeys = [\"o:{id}\"]\n\
         [[rule]]\nname = \"a\"\ntables = [\"x.y\", \"sh?p.users\"]\nkeys = [\"a:{version}:{id}\"]\n",
    );
    assert_eq!(
        plan(&rules, Some(&row(7, "x", 1)), Some(&row(7, "y", 2))),
        [
            "b: delete b:x",
            "b: delete b:y",
            "a: delete a:1:7",
            "a: delete a:2:7"
        ]
    );
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        Just(Value::Absent),
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        ".{0,30}".prop_map(|text| Value::Text(text.into())),
        "[*/% ?#~ü]{0,20}".prop_map(|text| Value::Text(text.into())),
        (0_usize..3_000).prop_map(|length| Value::Text("ü".repeat(length).into())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
        (any::<u16>(), any::<u8>(), any::<u8>()).prop_map(|(year, month, day)| Value::Date(Date {
            year,
            month,
            day
        })),
    ]
}

fn any_row() -> impl Strategy<Value = Option<Row>> {
    prop::option::of(prop::array::uniform7(value()))
}

const EVERYTHING: &str = "version = \"version\"\nwhen = \"before.name != after.name || true\"\n\
     keys = ['{id}:{slug}:v{version}', '{raw|uuid}', '{at|date(\"%F\")}', '{name|lower|hex}', '{before.slug}{after.slug}']\n\
     paths = ['/{id}/{slug}', '/{slug|urlencode}*', '/p{raw}', '/{at|date(\"%Y/%m\")}', '/{name|upper|default(\"*ü\")}*', '/{before.price}x{after.price|sha1}']";

proptest! {
    #[test]
    fn whatever_the_values_a_plan_ends_and_its_paths_are_what_cloudfront_takes(
        before in any_row(),
        after in any_row(),
    ) {
        prop_assume!(before.is_some() || after.is_some());
        let rules = rule(EVERYTHING);
        let planned = plan(&rules, before.as_ref(), after.as_ref());
        for line in &planned {
            if let Some(path) = line.strip_prefix("r: invalidate ") {
                prop_assert!(path.starts_with('/') && path.is_ascii(), "{}", path);
                prop_assert!(path.len() <= 4_000);
                prop_assert!(!path.contains([' ', '#', '"', '?', '~']), "{}", path);
                let stars = path.matches('*').count();
                prop_assert!(stars == 0 || stars == 1 && path.ends_with('*'), "{}", path);
            }
        }
        prop_assert_eq!(&planned, &plan(&rules, before.as_ref(), after.as_ref()));
    }
}
