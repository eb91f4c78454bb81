//! Path classes, which say what the edge does with a path, and the search for
//! paths that a template can produce and must never invalidate.

use std::collections::{HashSet, VecDeque};

use super::glob;
use crate::model::invalidation::PathClass;
use crate::model::path;

/// `[[path]]`: a pattern as in CloudFront's cache behaviours, with `*` and `?`;
/// case counts, the leading `/` is optional, and the query string is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As it stands in the configuration.
    pub text: String,
    pub class: PathClass,
    /// The line in the configuration, for errors.
    pub line: usize,
}

impl PathPattern {
    pub(super) fn glob(&self) -> Vec<u8> {
        glob_of(&self.text)
    }
}

/// A pattern in the form in which paths are compared, with its leading `/`, which
/// CloudFront makes optional.
pub(super) fn glob_of(pattern: &str) -> Vec<u8> {
    let mut glob = path::normalized(pattern.as_bytes()).into_owned();
    if !pattern.starts_with(['/', '*']) {
        glob.insert(0, b'/');
    }
    glob
}

/// All patterns in their order. The first match wins; a path without a match is
/// `cached`.
#[derive(Clone, Debug, Default)]
pub struct PathClasses {
    pub(super) patterns: Vec<(Vec<u8>, PathClass)>,
}

/// The bytes that a placeholder's value can consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Digits and `-`.
    Integer,
    /// Digits, `-`, `.`, `e`.
    Number,
    /// Hexadecimal digits and `-`.
    Hex,
    /// Letters, digits and `-_.~%`: a percent-encoded segment.
    Segment,
    /// Anything.
    Any,
}

impl Alphabet {
    fn contains(self, byte: u8) -> bool {
        match self {
            Alphabet::Integer => byte.is_ascii_digit() || byte == b'-',
            Alphabet::Number => byte.is_ascii_digit() || b"-.e".contains(&byte),
            Alphabet::Hex => byte.is_ascii_hexdigit() || byte == b'-',
            Alphabet::Segment => byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte),
            Alphabet::Any => true,
        }
    }
}

/// A symbol of a path's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    Byte(u8),
    /// Any one byte.
    One,
    /// Any number of bytes of this alphabet.
    Many(Alphabet),
}

/// A path that a template can produce, and that must not be invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// An example.
    pub path: String,
    pub class: PathClass,
}

/// Most states that the search visits. Beyond it the template counts as one that
/// could not be proved harmless.
const STATES_MAX: usize = 50_000;

impl PathClasses {
    /// Takes the patterns in the configuration's order.
    pub fn new(patterns: &[PathPattern]) -> Self {
        Self {
            patterns: patterns
                .iter()
                .map(|pattern| (pattern.glob(), pattern.class))
                .collect(),
        }
    }

    /// The class of one path, or of the set of paths that a trailing `*`
    /// stands for. Such a set is left unsent only if nothing in it can be
    /// `cached` (Over, never under).
    pub fn of(&self, path: &str) -> PathClass {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if self.patterns.is_empty() {
            return PathClass::Cached;
        }
        let Some(prefix) = path.strip_suffix('*') else {
            let path = path::normalized(path.as_bytes());
            return self
                .patterns
                .iter()
                .find(|(glob, _)| glob::matches(glob, &path))
                .map_or(PathClass::Cached, |(_, class)| *class);
        };
        let prefix = path::normalized(prefix.as_bytes());
        // A byte that no pattern names stands for what the star may be.
        let longest = [&prefix, &[1, 1][..]].concat();
        for (glob, class) in &self.patterns {
            if *class == PathClass::Cached {
                return PathClass::Cached;
            }
            let mut samples = (prefix.len()..=longest.len()).map_while(|end| longest.get(..end));
            if samples.all(|sample| glob::matches(glob, sample)) {
                return *class;
            }
        }
        PathClass::Cached
    }

    /// The shortest path of the language `symbols` whose class is `strong` or
    /// `immutable`: a breadth-first search through the product of the
    /// language's automaton and those of all patterns, so that "the first
    /// match wins" is decided exactly.
    pub fn forbidden(&self, symbols: &[Symbol]) -> Option<Forbidden> {
        let machines: Vec<Vec<Symbol>> = std::iter::once(symbols.to_vec())
            .chain(self.patterns.iter().map(|(glob, _)| pattern_symbols(glob)))
            .collect();
        let mut alphabet: Vec<u8> = b"a0-./%\x01".to_vec();
        alphabet.extend(machines.iter().flatten().filter_map(|symbol| match symbol {
            Symbol::Byte(byte) => Some(*byte),
            _ => None,
        }));
        alphabet.sort_unstable();
        alphabet.dedup();

        let start: Vec<States> = machines
            .iter()
            .map(|machine| States::start(machine))
            .collect();
        let mut seen = HashSet::from([start.clone()]);
        let mut queue = VecDeque::from([(start, Vec::new())]);
        while let Some((states, path)) = queue.pop_front() {
            let accepted = |index: usize| match (machines.get(index), states.get(index)) {
                (Some(machine), Some(states)) => states.contains(machine.len()),
                _ => false,
            };
            let first_match = || {
                self.patterns
                    .iter()
                    .enumerate()
                    .find(|(index, _)| accepted(index + 1))
                    .map(|(_, (_, class))| *class)
            };
            if accepted(0)
                && let Some(class @ (PathClass::Strong | PathClass::Immutable)) = first_match()
            {
                return Some(Forbidden {
                    path: String::from_utf8_lossy(&path).replace('\u{1}', "x"),
                    class,
                });
            }
            if seen.len() > STATES_MAX {
                return Some(Forbidden {
                    path: "(the patterns are too intricate to rule it out)".to_owned(),
                    class: PathClass::Strong,
                });
            }
            for byte in &alphabet {
                let next: Vec<States> = machines
                    .iter()
                    .zip(&states)
                    .map(|(machine, states)| states.step(machine, *byte))
                    .collect();
                if next.first().is_some_and(|template| !template.is_empty())
                    && seen.insert(next.clone())
                {
                    let mut path = path.clone();
                    path.push(*byte);
                    queue.push_back((next, path));
                }
            }
        }
        None
    }
}

pub(super) fn pattern_symbols(glob: &[u8]) -> Vec<Symbol> {
    glob.iter()
        .map(|byte| match byte {
            b'*' => Symbol::Many(Alphabet::Any),
            b'?' => Symbol::One,
            byte => Symbol::Byte(*byte),
        })
        .collect()
}

/// The states that a nondeterministic automaton can be in: indices of its next
/// symbol, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct States(Vec<usize>);

impl States {
    pub(super) fn start(machine: &[Symbol]) -> Self {
        let mut states = States(Vec::new());
        states.add(machine, 0);
        states
    }

    /// Adds a state, and those that are reached from it without reading a byte.
    fn add(&mut self, machine: &[Symbol], state: usize) {
        if let Err(at) = self.0.binary_search(&state) {
            self.0.insert(at, state);
            if let Some(Symbol::Many(_)) = machine.get(state) {
                self.add(machine, state + 1);
            }
        }
    }

    pub(super) fn contains(&self, state: usize) -> bool {
        self.0.binary_search(&state).is_ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn step(&self, machine: &[Symbol], byte: u8) -> Self {
        let mut next = States(Vec::new());
        for state in &self.0 {
            match machine.get(*state) {
                Some(Symbol::Byte(want)) if *want == byte => next.add(machine, state + 1),
                Some(Symbol::One) => next.add(machine, state + 1),
                Some(Symbol::Many(alphabet)) if alphabet.contains(byte) => {
                    next.add(machine, *state);
                }
                _ => {}
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(patterns: &[(&str, PathClass)]) -> PathClasses {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|(text, class)| PathPattern {
                text: (*text).to_owned(),
                class: *class,
                line: 1,
            })
            .collect();
        PathClasses::new(&patterns)
    }

    fn shop() -> PathClasses {
        classes(&[
            ("/checkout/help", PathClass::Cached),
            ("/checkout/*", PathClass::Strong),
            ("static/*.js", PathClass::Immutable),
            ("/stock/*", PathClass::ShortTtl),
        ])
    }

    #[test]
    fn the_first_pattern_that_matches_gives_the_class() {
        let cases = [
            ("/checkout/help", PathClass::Cached),
            ("/checkout/pay", PathClass::Strong),
            ("/checkout", PathClass::Cached),
            ("/Checkout/pay", PathClass::Cached),
            ("/static/a/b.js", PathClass::Immutable),
            ("/stock/7?fresh=1", PathClass::ShortTtl),
            ("/users/7", PathClass::Cached),
            ("/*", PathClass::Cached),
        ];
        for (path, class) in cases {
            assert_eq!(shop().of(path), class, "{path}");
        }
        let short = classes(&[
            ("/pay/*", PathClass::Strong),
            ("/stock/*", PathClass::ShortTtl),
        ]);
        assert_eq!(short.of("/stock/7*"), PathClass::ShortTtl);
        assert_eq!(short.of("/sto*"), PathClass::Cached);
    }

    #[test]
    fn a_pattern_matches_a_path_however_either_is_encoded() {
        for pattern in ["/~me/ö/*", "/%7eme/%c3%b6/*"] {
            let classes = classes(&[(pattern, PathClass::Cached), ("/*", PathClass::ShortTtl)]);
            for path in ["/%7Eme/%C3%B6/7", "/%7Eme/%C3%B6/*"] {
                assert_eq!(classes.of(path), PathClass::Cached, "{pattern} {path}");
            }
            assert_eq!(classes.of("/me/7"), PathClass::ShortTtl);
        }
        let slash = classes(&[("/a/b", PathClass::ShortTtl)]);
        assert_eq!(slash.of("/a%2Fb"), PathClass::Cached);
    }

    /// `{` stands for any value, `#` for an integer, `$` for an encoded segment.
    fn language(text: &str) -> Vec<Symbol> {
        text.bytes()
            .map(|byte| match byte {
                b'{' => Symbol::Many(Alphabet::Any),
                b'#' => Symbol::Many(Alphabet::Integer),
                b'$' => Symbol::Many(Alphabet::Segment),
                byte => Symbol::Byte(byte),
            })
            .collect()
    }

    #[test]
    fn a_template_that_can_reach_a_strong_path_is_found_with_an_example() {
        let cases = [
            ("/checkout/{", Some("/checkout/")),
            ("/{", Some("/checkout/")),
            ("/checkout/help", None),
            ("/#", None),
            ("/$", None),
            ("/$/#", Some("/checkout/")),
            ("/users/{", None),
            ("/static/{", Some("/static/.js")),
            ("/static/#", None),
            ("/stock/{", None),
        ];
        for (template, path) in cases {
            let found = shop().forbidden(&language(template));
            assert_eq!(
                found.as_ref().map(|found| found.path.as_str()),
                path,
                "{template}"
            );
        }
    }

    #[test]
    fn an_earlier_pattern_shadows_a_later_one() {
        let classes = classes(&[("/a/*", PathClass::Cached), ("/*", PathClass::Strong)]);
        assert_eq!(classes.forbidden(&language("/a/{")), None);
        assert!(classes.forbidden(&language("/{")).is_some());
    }
}
