//! Globs over table names, where `*` is any run of characters and `?` any one;
//! and over Redis keys, which have more.

use crate::model::TableName;

/// Whether `glob` matches all of `text`. Linear in practice: only the last
/// star is ever revisited.
pub fn matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (glob.get(g), text.get(t)) {
            (Some(b'*'), _) => {
                star = Some((g + 1, t));
                g += 1;
            }
            (Some(b'?'), Some(_)) => (g, t) = (g + 1, t + 1),
            (Some(want), Some(have)) if want == have => (g, t) = (g + 1, t + 1),
            (None, None) => return true,
            _ => match star {
                Some((after_star, from)) if from < text.len() => {
                    star = Some((after_star, from + 1));
                    (g, t) = (after_star, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// Whether `glob` matches all of `key` by Redis' rules (Redis manual, `KEYS`):
/// `*`, `?`, `[a-c]`, `[^a]`, and `\` before a byte that is meant literally.
pub fn key_matches(glob: &[u8], key: &[u8]) -> bool {
    let (mut rest, mut text) = (glob, key);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', after)) = rest.split_first() {
            star = Some((after, text));
            rest = after;
            continue;
        }
        let step = match text.split_first() {
            None if rest.is_empty() => return true,
            None => None,
            Some((byte, left)) => one_of_key(rest, *byte).map(|rest| (rest, left)),
        };
        match (step, star) {
            (Some(step), _) => (rest, text) = step,
            (None, Some((after, [_, from @ ..]))) => {
                star = Some((after, from));
                (rest, text) = (after, from);
            }
            (None, _) => return false,
        }
    }
}

/// The rest of `glob` if its first element, which is not a star, matches `byte`.
fn one_of_key(glob: &[u8], byte: u8) -> Option<&[u8]> {
    match glob {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// The rest behind the class that `set` begins in, if `byte` is in the class.
fn class(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut set) = match set {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    loop {
        match set {
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                set = rest;
            }
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [from, b'-', to, rest @ ..] => {
                let (low, high) = (from.min(to), from.max(to));
                found |= (low..=high).contains(&&byte);
                set = rest;
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                set = rest;
            }
            // A class that is not closed reaches to the glob's end.
            [] => return (found != negated).then_some(set),
        }
    }
}

/// A glob over `database.table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableGlob {
    schema: String,
    table: String,
    /// The line in the configuration, for errors.
    pub line: usize,
}

impl TableGlob {
    /// Reads `database.table`; both halves are required.
    pub fn parse(text: &str, line: usize) -> Result<Self, String> {
        match text.split_once('.') {
            Some((schema, table)) if !schema.is_empty() && !table.is_empty() => Ok(Self {
                schema: schema.to_owned(),
                table: table.to_owned(),
                line,
            }),
            _ => Err(format!(
                "table \"{text}\" has no database: write `database.table`, such as `shop.users`"
            )),
        }
    }

    /// Whether it can match a table of the database `name`.
    pub fn matches_database(&self, name: &str) -> bool {
        matches(self.schema.as_bytes(), name.as_bytes())
    }

    /// Whether it matches `name`.
    pub fn matches(&self, name: &TableName) -> bool {
        matches(self.schema.as_bytes(), name.schema.as_bytes())
            && matches(self.table.as_bytes(), name.table.as_bytes())
    }
}

impl std::fmt::Display for TableGlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        let cases = [
            ("", "", true),
            ("*", "", true),
            ("*", "users", true),
            ("shop_*", "shop_eu", true),
            ("shop_*", "shop", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab ab a", false),
            ("u?ers", "users", true),
            ("u?ers", "uers", false),
            ("users", "Users", false),
            ("a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ];
        for (glob, text, expected) in cases {
            assert_eq!(
                matches(glob.as_bytes(), text.as_bytes()),
                expected,
                "{glob} {text}"
            );
        }
    }

    #[test]
    fn globs_over_keys_match_as_redis_has_it() {
        let cases = [
            ("user:*", "user:", true),
            ("user:*:v*", "user:7:v4", true),
            ("user:*:v*", "user:7:profile", false),
            ("*a*b", "ab ab a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            (r"h[\]x]llo", "h]llo", true),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            ("a[b", "ab", true),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
        ];
        for (glob, key, expected) in cases {
            assert_eq!(
                key_matches(glob.as_bytes(), key.as_bytes()),
                expected,
                "{glob} {key}"
            );
        }
    }

    #[test]
    fn a_table_glob_needs_its_database() {
        assert!(TableGlob::parse("users", 1).is_err());
        let glob = TableGlob::parse("shop_*.users", 1).unwrap();
        assert!(glob.matches(&TableName::new("shop_eu", "users")));
        assert!(!glob.matches(&TableName::new("shop_eu", "orders")));
    }
}
