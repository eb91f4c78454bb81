//! Globs over table names: `*` is any run of characters, `?` any one.

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
    fn a_table_glob_needs_its_database() {
        assert!(TableGlob::parse("users", 1).is_err());
        let glob = TableGlob::parse("shop_*.users", 1).unwrap();
        assert!(glob.matches(&TableName::new("shop_eu", "users")));
        assert!(!glob.matches(&TableName::new("shop_eu", "orders")));
    }
}
