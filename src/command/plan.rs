//! `evictd plan`: what binlog files would invalidate. It asks no server and
//! reads no secret.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::json;

use super::CommandError;
use super::parts::bulk_rules;
use crate::binlog::file::Notice;
use crate::cli::{Global, OutputFormat, PlanArgs};
use crate::config::{self, Config};
use crate::evict::plan_item::Widened;
use crate::plans::binlog_files::{FilePlans, FileStep};
use crate::plans::diff::{DiffItem, DifferenceTotals, Differences};
use crate::plans::lines::PlanLines;
use crate::plans::totals::Totals;
use crate::telemetry::repeating;

/// Prints the plans and a summary.
pub fn run(global: &Global, options: &PlanArgs) -> Result<(), CommandError> {
    let config = config::load(&global.config)?;
    let out = io::BufWriter::new(io::stdout().lock());
    let printed = match &options.diff {
        None => plans(config, options, out)?,
        Some(other) => {
            let other = config::load(other)?;
            differences(config, other, options, out)?
        }
    };
    match printed {
        // `evictd plan … | head` is not a failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CommandError::failed(error)),
        Ok(()) => Ok(()),
    }
}

/// The outcome of reading the files, and within it that of writing the output.
type Printed = Result<io::Result<()>, CommandError>;

fn plans(config: Config, options: &PlanArgs, out: impl Write) -> Printed {
    let totals = Totals::new(distributions(&config)).with_bulk(bulk_rules(&config));
    let mut plans = FilePlans::new(Arc::new(config.rules), options.binlog.clone());
    let lines = PlanLines::new(out, options.format.into());
    let mut record = (lines, totals);
    let mut notices = Notices::default();
    loop {
        let step = plans.step(&mut record)?;
        if let Err(error) = record.0.write() {
            return Ok(Err(error));
        }
        match step {
            None => break,
            Some(FileStep::Notice(notice)) => notices.add(&notice),
            Some(FileStep::Planned(widened)) => warn_of(widened, &plans.reading_at()),
        }
    }
    let (lines, mut totals) = record;
    let bill = totals.bill();
    Ok(match options.format {
        OutputFormat::Json => print(
            lines.into_inner(),
            &json!({ "summary": totals, "cloudfront": bill, "notices": notices.0 }),
        ),
        OutputFormat::Text => lines
            .into_inner()
            .flush()
            .map(|()| say(&format!("{totals}\n{bill}"))),
    })
}

fn differences(config: Config, other: Config, options: &PlanArgs, mut out: impl Write) -> Printed {
    let (mine, other) = (Arc::new(config.rules), Arc::new(other.rules));
    let mut differences = Differences::new(mine, other, options.binlog.clone());
    let mut totals = DifferenceTotals::default();
    let mut notices = Notices::default();
    while let Some(next) = differences.next_difference()? {
        let difference = match next {
            DiffItem::Notice(notice) => {
                notices.add(&notice);
                continue;
            }
            DiffItem::Difference(difference) => difference,
        };
        totals.add(&difference);
        let written = match options.format {
            OutputFormat::Json => print(&mut out, &difference),
            OutputFormat::Text => writeln!(out, "{difference}"),
        };
        if written.is_err() {
            return Ok(written);
        }
    }
    Ok(match options.format {
        OutputFormat::Json => print(out, &json!({ "summary": totals, "notices": notices.0 })),
        OutputFormat::Text => out.flush().map(|()| say(&totals.to_string())),
    })
}

/// The distributions that paths are sent to. Without an edge, one is assumed.
fn distributions(config: &Config) -> Vec<Arc<str>> {
    let Some(section) = &config.cloudfront else {
        return vec!["main".into()];
    };
    section
        .distributions
        .iter()
        .map(|distribution| distribution.name.as_str().into())
        .collect()
}

/// What reading noticed: logged at once, and repeated in the summary for
/// programs.
#[derive(Default)]
struct Notices(Vec<String>);

impl Notices {
    fn add(&mut self, notice: &Notice) {
        tracing::warn!("{notice}");
        self.0.push(notice.to_string());
    }
}

fn warn_of(widened: Option<Widened>, position: &str) {
    match widened {
        None | Some(Widened::Tables(_) | Widened::Databases(_)) => {}
        Some(Widened::Undecodable(table, reason)) => {
            repeating!(warn, &table.to_string(), { %table, reason, position },
                "rows cannot be decoded: planning the whole table");
        }
        Some(Widened::Value(table, reason)) => {
            tracing::warn!(%table, reason, position, "a value cannot be decoded: planning everything that can be made of its column");
        }
        Some(Widened::Any(reason)) => {
            repeating!(warn, &reason.to_string(), { %reason, position },
                "what changed cannot be known: planning everything");
        }
        Some(Widened::Statement(dml)) => {
            repeating!(warn, "", { statement = dml.text, position },
                "without a server it cannot be known how far a statement reaches: planning everything");
        }
    }
}

fn print(mut out: impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// Prints to standard error, so that standard output holds plans alone.
#[expect(clippy::print_stderr, reason = "the summary of a command for people")]
fn say(text: &str) {
    eprintln!("{text}");
}
