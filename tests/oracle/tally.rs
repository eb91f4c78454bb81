//! What was drawn in a run, and how often.

use std::collections::BTreeMap;
use std::fmt;

use super::case::Case;
use super::world::Done;

#[derive(Default)]
pub struct Tally {
    pub cases: u64,
    kinds: BTreeMap<(&'static str, String), u64>,
    done: Done,
}

impl Tally {
    pub fn add(&mut self, case: &Case, done: Done) {
        self.cases += 1;
        for kind in case.kinds() {
            *self.kinds.entry(kind).or_default() += 1;
        }
        self.done.fills += done.fills;
        self.done.late_fills += done.late_fills;
        self.done.pages += done.pages;
        self.done.compared += done.compared;
        self.done.refused_statements += done.refused_statements;
        for (kind, took) in done.took {
            *self.done.took.entry(kind).or_default() += took;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done {
            fills,
            late_fills,
            pages,
            compared,
            refused_statements,
            took,
        } = &self.done;
        writeln!(
            f,
            "oracle: {} cases, {fills} fills, {late_fills} late ones, {pages} pages, {compared} entries compared, \
             {refused_statements} steps with a statement that the server refused",
            self.cases
        )?;
        let mut of = "";
        for ((what, kind), count) in &self.kinds {
            if *what != of {
                writeln!(f, "oracle: {what}")?;
                of = what;
            }
            // So that what is dear shows.
            let took = took.get(kind).filter(|_| *what == "step");
            let took = took.map_or_else(String::new, |took| {
                format!(", {:.2} s in all", took.as_secs_f64())
            });
            writeln!(f, "oracle: {count:>8}  {kind}{took}")?;
        }
        Ok(())
    }
}
