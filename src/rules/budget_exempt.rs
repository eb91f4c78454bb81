//! `path.always`: paths that are sent as they are, whatever the budget says.

use super::glob;
use super::path_class::PathPattern;
use crate::model::path;

/// The patterns of `[[path]]` in their order, each with its `always`.
#[derive(Clone, Debug, Default)]
pub struct AlwaysPaths {
    patterns: Vec<(Vec<u8>, bool)>,
}

impl AlwaysPaths {
    /// Takes the patterns in the configuration's order.
    pub fn new<'a>(patterns: impl IntoIterator<Item = (&'a PathPattern, bool)>) -> Self {
        Self {
            patterns: patterns
                .into_iter()
                .map(|(pattern, always)| (pattern.glob(), always))
                .collect(),
        }
    }

    /// Whether the first pattern that matches `path` is exempt. A wildcard is
    /// matched by its beginning.
    pub fn contains(&self, path: &str) -> bool {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let path = path::normalized(path.strip_suffix('*').unwrap_or(path).as_bytes());
        self.patterns
            .iter()
            .find(|(glob, _)| glob::matches(glob, &path))
            .is_some_and(|(_, always)| *always)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invalidation::PathClass;

    #[test]
    fn the_first_match_decides() {
        let pattern = |text: &str| PathPattern {
            text: text.to_owned(),
            class: PathClass::Cached,
            line: 1,
        };
        let patterns = [
            (pattern("/prices/archive/*"), false),
            (pattern("prices/*"), true),
            (pattern("/prices*"), false),
        ];
        let always = AlwaysPaths::new(patterns.iter().map(|(pattern, always)| (pattern, *always)));
        for (path, expected) in [
            ("/prices/7", true),
            ("/prices/7?currency=eur", true),
            ("/prices/*", true),
            ("/prices/archive/7", false),
            ("/prices", false),
            ("/users/7", false),
        ] {
            assert_eq!(always.contains(path), expected, "{path}");
        }
    }
}
