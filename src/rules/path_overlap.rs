//! The pairs of a path class and a cache behaviour that share paths, found
//! exactly.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::path_class::{PathClasses, States, Symbol, glob_of, pattern_symbols};
use crate::model::invalidation::PathClass;

/// A path class and a cache behaviour that share paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Index of the `[[path]]` that matches them first; `None` if none matches.
    pub class: Option<usize>,
    /// Index of the behaviour that matches them first.
    pub behavior: usize,
    /// The shortest path that they share.
    pub example: String,
}

/// Most states that the search visits. Beyond it there is no answer.
const STATES_MAX: usize = 50_000;

impl PathClasses {
    /// Every `[[path]]` with its class.
    pub fn iter(&self) -> impl Iterator<Item = (String, PathClass)> {
        self.patterns
            .iter()
            .map(|(glob, class)| (String::from_utf8_lossy(glob).into_owned(), *class))
    }

    /// Every pair of a class and one of `behaviors` that are the first matches of
    /// some path. The last behaviour should match everything. `None` if the
    /// patterns are too intricate.
    ///
    /// A breadth-first search through the product of the patterns' automata,
    /// as in [`PathClasses::forbidden`].
    pub fn overlaps(&self, behaviors: &[String]) -> Option<Vec<Overlap>> {
        let machines: Vec<Vec<Symbol>> = self
            .patterns
            .iter()
            .map(|(glob, _)| pattern_symbols(glob))
            .chain(
                behaviors
                    .iter()
                    .map(|pattern| pattern_symbols(&glob_of(pattern))),
            )
            .collect();
        let mut alphabet: Vec<u8> = b"x".to_vec();
        alphabet.extend(machines.iter().flatten().filter_map(|symbol| match symbol {
            Symbol::Byte(byte) => Some(*byte),
            Symbol::One | Symbol::Many(_) => None,
        }));
        alphabet.sort_unstable();
        alphabet.dedup();

        let (classes, mut found) = (self.patterns.len(), BTreeMap::new());
        let begin: Vec<States> = machines
            .iter()
            .map(|machine| States::start(machine).step(machine, b'/'))
            .collect();
        let mut seen = HashSet::from([begin.clone()]);
        let mut queue = VecDeque::from([(begin, b"/".to_vec())]);
        while let Some((states, path)) = queue.pop_front() {
            let matching = machines.iter().zip(&states).enumerate();
            let mut class = None;
            let mut behavior = None;
            for (index, _) in
                matching.filter(|(_, (machine, states))| states.contains(machine.len()))
            {
                match index.checked_sub(classes) {
                    None => class = class.or(Some(index)),
                    Some(index) => behavior = behavior.or(Some(index)),
                }
            }
            if let Some(behavior) = behavior {
                found
                    .entry((class.unwrap_or(classes), behavior))
                    .or_insert_with(|| String::from_utf8_lossy(&path).into_owned());
            }
            if seen.len() > STATES_MAX {
                return None;
            }
            for byte in &alphabet {
                let next: Vec<States> = machines
                    .iter()
                    .zip(&states)
                    .map(|(machine, states)| states.step(machine, *byte))
                    .collect();
                if seen.insert(next.clone()) {
                    let mut path = path.clone();
                    path.push(*byte);
                    queue.push_back((next, path));
                }
            }
        }
        let overlap = |((class, behavior), example)| Overlap {
            class: (class < classes).then_some(class),
            behavior,
            example,
        };
        Some(found.into_iter().map(overlap).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::path_class::PathPattern;

    fn overlaps(classes: &[(&str, PathClass)], behaviors: &[&str]) -> Vec<String> {
        let patterns: Vec<_> = classes
            .iter()
            .map(|(text, class)| PathPattern {
                text: (*text).to_owned(),
                class: *class,
                line: 1,
            })
            .collect();
        let behaviors: Vec<String> = behaviors.iter().map(|text| (*text).to_owned()).collect();
        let found = PathClasses::new(&patterns).overlaps(&behaviors).unwrap();
        found
            .iter()
            .map(|overlap| {
                let class = overlap.class.map_or("-", |index| classes[index].0);
                format!(
                    "{class} {} {}",
                    behaviors[overlap.behavior], overlap.example
                )
            })
            .collect()
    }

    #[test]
    fn the_first_matches_of_both_sides_are_paired_with_an_example() {
        let classes = [
            ("/checkout/help", PathClass::Cached),
            ("/checkout/*", PathClass::Strong),
        ];
        assert_eq!(
            overlaps(&classes, &["checkout/*", "*.js", "*"]),
            [
                "/checkout/help checkout/* /checkout/help",
                "/checkout/* checkout/* /checkout/",
                "- *.js /.js",
                "- * /",
            ]
        );
    }

    #[test]
    fn an_earlier_behaviour_that_takes_a_part_of_a_class_is_found() {
        let classes = [("/checkout/*", PathClass::Strong)];
        assert_eq!(
            overlaps(&classes, &["*.js", "/checkout/*", "*"]),
            [
                "/checkout/* *.js /checkout/.js",
                "/checkout/* /checkout/* /checkout/",
                "- *.js /.js",
                "- * /",
            ]
        );
    }
}
