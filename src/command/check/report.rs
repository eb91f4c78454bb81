//! The findings of a check: collected, printed, and summed up as an exit code.

use serde_json::json;

use super::paths::{self, ClassRow};
use crate::command::finding::{Finding, Level};
use crate::command::{CommandError, Exit};

#[derive(Default)]
pub(super) struct CheckReport {
    pub(super) findings: Vec<Finding>,
    pub(super) paths: Vec<ClassRow>,
}

impl CheckReport {
    pub(super) fn add(&mut self, level: Level, part: &'static str, message: String) {
        self.findings.push(Finding::new(level, part, message));
    }

    pub(super) fn fail(&mut self, part: &'static str, error: impl Into<CommandError>) {
        let error = error.into();
        let mut finding = Finding::new(Level::Error, part, format!("{:#}", error.cause));
        finding.unreachable = error.exit == Exit::Unreachable;
        self.findings.push(finding);
    }

    pub(super) fn json(&self) -> String {
        let json = json!({ "findings": self.findings, "paths": self.paths });
        format!("{json}\n")
    }

    pub(super) fn text(&self) -> String {
        let mut text: String = self
            .findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect();
        let mut rest = self.paths.as_slice();
        while let Some(first) = rest.first() {
            let name = &first.distribution;
            let same = rest.iter().take_while(|row| row.distribution == *name);
            let (rows, others) = rest.split_at(same.count());
            text.push_str(&format!("\ndistribution {name}\n{}", paths::table(rows)));
            rest = others;
        }
        text
    }

    pub(super) fn outcome(&self) -> Result<(), CommandError> {
        let levels = || {
            let paths = self.paths.iter().map(|row| row.level);
            self.findings
                .iter()
                .map(|finding| finding.level)
                .chain(paths)
        };
        let count = |wanted| levels().filter(|level| *level == wanted).count();
        let errors = count(Level::Error);
        if errors == 0 {
            return Ok(());
        }
        let unreachable = self
            .findings
            .iter()
            .filter(|finding| finding.unreachable)
            .count();
        // A wrong setting has to be corrected, whether or not a server answers.
        let exit = if unreachable == errors {
            Exit::Unreachable
        } else {
            Exit::Configuration
        };
        let warnings = count(Level::Warning);
        Err(CommandError::new(
            exit,
            anyhow::anyhow!("found errors: {errors}, warnings: {warnings}"),
        ))
    }
}
