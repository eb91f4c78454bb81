//! The shapes in which applications cache a row, and when an entry of each is stale.

use std::time::{SystemTime, UNIX_EPOCH};

/// A shape has a table of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One key a row. A row that is not there is cached as well.
    Plain,
    /// A key for each version of a row.
    Versioned,
    /// One key a row, and beside it a guard that refuses fills of rows that are older.
    Guarded,
}

/// The content of a row that a reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: u64,
    pub content: String,
}

/// The text that stands for a row that is not there.
const ABSENT: &str = "absent";

impl Shape {
    pub const ALL: [Shape; 3] = [Shape::Plain, Shape::Versioned, Shape::Guarded];

    pub fn table(self) -> &'static str {
        match self {
            Shape::Plain => "plain",
            Shape::Versioned => "versioned",
            Shape::Guarded => "guarded",
        }
    }

    /// Where a row of this version is cached.
    pub fn key(self, id: u64, version: u64) -> String {
        match self {
            Shape::Plain => format!("plain:{id}"),
            Shape::Versioned => format!("versioned:{id}:v{version}"),
            Shape::Guarded => format!("{{guarded:{id}}}:entry"),
        }
    }

    /// What stands under the key.
    pub fn entry(row: Option<&Row>) -> String {
        match row {
            Some(row) => format!("{} {}", row.version, row.content),
            None => ABSENT.to_owned(),
        }
    }

    /// The rule that keeps the shape honest.
    pub fn rule(self) -> &'static str {
        match self {
            Shape::Plain => {
                r#"
[[rule]]
name   = "plain"
tables = ["soak.plain"]
keys   = ["plain:{id}"]
paths  = ["/plain/{id}"]
"#
            }
            Shape::Versioned => {
                r#"
[[rule]]
name    = "versioned"
tables  = ["soak.versioned"]
version = "version"
keys    = ["versioned:{id}:v{version}"]
"#
            }
            Shape::Guarded => {
                r#"
[[rule]]
name    = "guarded"
tables  = ["soak.guarded"]
version = "version"
keys    = ["{{guarded:{id}}}:entry"]
guard   = { key = "{{guarded:{id}}}:guard", ttl = "1d" }
"#
            }
        }
    }

    /// The shape and row that a key belongs to, if it is an entry.
    pub fn of_key(key: &str) -> Option<(Shape, u64)> {
        let (shape, rest) = if let Some(rest) = key.strip_prefix("plain:") {
            (Shape::Plain, rest)
        } else if let Some(rest) = key.strip_prefix("versioned:") {
            (Shape::Versioned, rest.split_once(":v")?.0)
        } else {
            let rest = key.strip_prefix("{guarded:")?;
            (Shape::Guarded, rest.strip_suffix("}:entry")?)
        };
        Some((shape, rest.parse().ok()?))
    }

    /// Whether a reader could be served this entry, and what it says is not what the row says now.
    pub fn is_stale(self, key: &str, entry: &str, row: Option<&Row>) -> bool {
        match self {
            Shape::Plain | Shape::Guarded => entry != Self::entry(row),
            // Nobody asks for a version that the row does not have; versions are not used twice.
            Shape::Versioned => row.is_some_and(|row| {
                let (_, id) = Self::of_key(key).unwrap();
                key == self.key(id, row.version) && entry != Self::entry(Some(row))
            }),
        }
    }
}

/// µs since the epoch.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

#[test]
fn an_entry_is_stale_if_a_reader_can_be_served_something_else_than_the_row() {
    let row = |version, content: &str| Row {
        version,
        content: content.to_owned(),
    };
    let new = row(2, "new");
    let stale = |shape: Shape, version, entry: Option<&Row>, row: Option<&Row>| {
        let key = shape.key(7, version);
        assert_eq!(Shape::of_key(&key), Some((shape, 7)));
        shape.is_stale(&key, &Shape::entry(entry), row)
    };
    for shape in [Shape::Plain, Shape::Guarded] {
        assert!(!stale(shape, 2, Some(&new), Some(&new)));
        assert!(stale(shape, 2, Some(&row(1, "old")), Some(&new)));
        assert!(stale(shape, 2, Some(&row(2, "old")), Some(&new)));
        assert!(stale(shape, 2, None, Some(&new)));
        assert!(stale(shape, 2, Some(&new), None));
    }
    assert!(!stale(Shape::Versioned, 2, Some(&new), Some(&new)));
    assert!(stale(Shape::Versioned, 2, Some(&row(2, "old")), Some(&new)));
    assert!(!stale(
        Shape::Versioned,
        1,
        Some(&row(1, "old")),
        Some(&new)
    ));
    assert!(!stale(Shape::Versioned, 1, Some(&row(1, "old")), None));
}
