//! `evictd explain`: what one change would invalidate, and why or why not.

mod row;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use self::row::GivenRow;
use super::{CommandError, preflight, print};
use crate::binlog::server::catalog;
use crate::cli::{ExplainArgs, Global, OutputFormat};
use crate::config::{self, Config, ConfigError};
use crate::model::edge_item::is_tag;
use crate::model::invalidation::{Action, Plan, Widening};
use crate::model::{Op, RowChange, TableName, TableSchema};
use crate::rules::explanation::{Explanation, Lacks, Note};
use crate::rules::rule::Rule;
use crate::rules::{RenderBuffers, suggestion};

/// Prints what every rule makes of the change.
pub async fn run(global: &Global, options: &ExplainArgs) -> Result<(), CommandError> {
    let mut config = config::load(&global.config)?;
    let usage = CommandError::configuration;
    let row = |text: &Option<String>, option| {
        let parsed = text.as_deref().map(|text| row::parse(text, option));
        parsed.transpose().map_err(usage)
    };
    let (before, after) = (
        row(&options.before, "--before")?,
        row(&options.after, "--after")?,
    );
    let op = match (&before, &after) {
        (None, None) => {
            return Err(usage(
                "give --after for an insert, --before for a delete, both for an update".to_owned(),
            ));
        }
        (None, Some(_)) => Op::Insert,
        (Some(_), Some(_)) => Op::Update,
        (Some(_), None) => Op::Delete,
    };
    let table = options
        .table
        .split_once('.')
        .filter(|(a, b)| !a.is_empty() && !b.is_empty());
    let (database, table) = table.ok_or_else(|| {
        usage(format!(
            "--table \"{}\" has no database: write shop.users",
            options.table
        ))
    })?;
    let name = TableName::new(database, table);
    let rows: Vec<&GivenRow> = before.iter().chain(&after).collect();
    let schema = match options.online {
        true => online(&mut config, &global.config, name, &rows).await?,
        false => {
            let rules = config.rules.iter().filter(|rule| rule.is_about(&name));
            row::schema(name.clone(), &rows, rules.flat_map(Rule::columns))
        }
    };
    let explained = explain(
        &config,
        &global.config,
        &schema,
        op,
        before.as_ref(),
        after.as_ref(),
    )?;
    match options.format {
        OutputFormat::Text => print(explained.to_string().as_bytes()),
        OutputFormat::Json => {
            let mut json = serde_json::to_vec(&explained).map_err(CommandError::failed)?;
            json.push(b'\n');
            print(&json)
        }
    }
}

/// The table's columns as the server has them.
async fn online(
    config: &mut Config,
    path: &Path,
    name: TableName,
    rows: &[&GivenRow],
) -> Result<TableSchema, CommandError> {
    let connector = preflight::connector(&config.source)?;
    let mut server = preflight::server(&connector, config, path).await?;
    let columns = server.columns(&name).await?.ok_or_else(|| {
        CommandError::configuration(format!(
            "account \"{}\" sees no table {name} on {}",
            config.source.user,
            connector.address()
        ))
    })?;
    let schema = catalog::schema(name, &columns);
    for column in rows.iter().flat_map(|row| row.keys()) {
        if schema.column(column).is_none() {
            let known = schema.columns.iter().map(|column| &*column.name);
            return Err(CommandError::configuration(format!(
                "table {} has no column `{column}`{}",
                schema.name,
                suggestion(column, known)
            )));
        }
    }
    Ok(schema)
}

fn explain(
    config: &Config,
    path: &Path,
    schema: &TableSchema,
    op: Op,
    before: Option<&GivenRow>,
    after: Option<&GivenRow>,
) -> Result<Explained, CommandError> {
    let planner = config
        .rules
        .bind(schema)
        .map_err(|error| ConfigError::from_bind(error, path))?;
    let projection = planner.projection();
    let before = before.map(|row| row::project(schema, projection, row));
    let after = after.map(|row| row::project(schema, projection, row));
    let change = RowChange {
        table: schema,
        op,
        before: before.as_deref(),
        after: after.as_deref(),
    };
    let column = |slot: usize| {
        let column = projection
            .get(slot)
            .and_then(|index| schema.columns.get(*index));
        column.map_or_else(String::new, |column| column.name.to_string())
    };
    let mut reasons = Reasons {
        column: &column,
        heard: Vec::new(),
    };
    let mut planned = Planned(Vec::new());
    planner.plan_explained(
        &change,
        &mut RenderBuffers::default(),
        &mut planned,
        &mut reasons,
    );
    let rules = config.rules.iter().map(|rule| {
        let heard = reasons
            .heard
            .iter()
            .filter(|(name, ..)| **name == *rule.name);
        let planned = planned.0.iter().filter(|(name, _)| **name == *rule.name);
        let mut why: Vec<String> = heard.clone().map(|(_, reason, _)| reason.clone()).collect();
        why.retain(|reason| !reason.is_empty());
        why.dedup();
        let fires = heard.clone().any(|(_, _, fires)| *fires);
        let about = rule.is_about(&schema.name);
        if !about {
            let tables: Vec<String> = rule.tables.iter().map(ToString::to_string).collect();
            why.push(format!("`tables` does not match: {}", tables.join(", ")));
        }
        let mut does: Vec<String> = planned.map(|(_, line)| line.clone()).collect();
        does.dedup();
        if !about && !does.is_empty() {
            why.push("a foreign key carries the change over to its table".to_owned());
        }
        RuleExplained {
            rule: rule.name.to_string(),
            line: rule.line,
            fires: fires || !does.is_empty(),
            why,
            does,
        }
    });
    Ok(Explained {
        table: schema.name.to_string(),
        op: op.as_str(),
        rules: rules.collect(),
    })
}

/// Everything that every rule says.
#[derive(Debug, Serialize)]
struct Explained {
    table: String,
    op: &'static str,
    rules: Vec<RuleExplained>,
}

#[derive(Debug, Serialize)]
struct RuleExplained {
    rule: String,
    /// Where it stands in the configuration.
    line: usize,
    fires: bool,
    why: Vec<String>,
    does: Vec<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.table, self.op)?;
        for rule in &self.rules {
            let fires = if rule.fires { "fires" } else { "does not fire" };
            writeln!(f, "\nrule \"{}\" (line {}) {fires}", rule.rule, rule.line)?;
            for line in &rule.does {
                writeln!(f, "  {line}")?;
            }
            for line in &rule.why {
                writeln!(f, "  because {line}")?;
            }
        }
        Ok(())
    }
}

/// The planner's reasons as sentences.
struct Reasons<'c> {
    /// The column of a slot.
    column: &'c dyn Fn(usize) -> String,
    /// The rule, the reason, and whether it fires.
    heard: Vec<(Arc<str>, String, bool)>,
}

impl Explanation for Reasons<'_> {
    fn note<'a>(&mut self, rule: &'a Rule, note: impl FnOnce() -> Note<'a>) {
        let note = note();
        let fires = matches!(note, Note::Fires);
        let reason = self.sentence(&note);
        self.heard.push((Arc::clone(&rule.name), reason, fires));
    }
}

impl Reasons<'_> {
    fn sentence(&self, note: &Note<'_>) -> String {
        match note {
            Note::Fires => String::new(),
            Note::Differs(column) => format!("`{}` differs", column.name),
            Note::OtherOperation(on) => {
                let on: Vec<&str> = on.iter().map(|op| op.as_str()).collect();
                format!("`on` is {} only", on.join(", "))
            }
            Note::NothingDiffers(columns) => {
                let columns: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                format!("none of `changed` differs: {}", columns.join(", "))
            }
            Note::ConditionFalse(condition) => format!("`when` is false: {}", condition.text()),
            Note::ConditionFailed(condition, reason) => format!(
                "`when` cannot be evaluated and counts as true: {}: {reason}",
                condition.text()
            ),
            Note::NoText { template, lacks } => match lacks {
                Lacks::Value(slot) => format!(
                    "\"{template}\" renders nothing: `{}` is NULL",
                    (self.column)(*slot)
                ),
                Lacks::Image => {
                    format!("\"{template}\" renders nothing: the change has no such row image")
                }
            },
            Note::Unknown { template, slot } => format!(
                "\"{template}\" cannot be rendered: `{}` is not given, or its filter does not take the value",
                (self.column)(*slot)
            ),
        }
    }
}

/// What the planner plans, as lines.
struct Planned(Vec<(Arc<str>, String)>);

impl Planned {
    fn add(&mut self, rule: &Arc<str>, line: fmt::Arguments<'_>) {
        let mut text = String::new();
        // Writing to a String does not fail.
        text.write_fmt(line).ok();
        self.0.push((Arc::clone(rule), text));
    }
}

impl Plan for Planned {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        match action {
            Action::Delete { key, settles } => {
                let again = if settles {
                    ""
                } else {
                    " (once: no reader fills it again)"
                };
                self.add(rule, format_args!("delete {}{again}", Bytes(key)));
            }
            Action::DeleteMatching { glob } => {
                self.add(rule, format_args!("delete every key like {}", Bytes(glob)));
            }
            Action::Increment { key } => self.add(rule, format_args!("add one to {}", Bytes(key))),
            Action::RaiseGuard { key, version, .. } => {
                self.add(
                    rule,
                    format_args!("raise guard {} to {version}", Bytes(key)),
                );
            }
            Action::SkipGuard { version: b"" } => {
                self.add(rule, format_args!("raise no guard: the version is NULL"));
            }
            Action::SkipGuard { version } => {
                self.add(
                    rule,
                    format_args!("raise no guard: the version is {}", Bytes(version)),
                );
            }
            Action::DeleteTagSet { key, .. } => {
                self.add(
                    rule,
                    format_args!("delete tag set {} and what it names", Bytes(key)),
                );
            }
            Action::DeleteTagSetsMatching { glob, .. } => self.add(
                rule,
                format_args!(
                    "delete every tag set like {} and what it names",
                    Bytes(glob)
                ),
            ),
            Action::DeleteField { key, field } => {
                self.add(
                    rule,
                    format_args!("delete field {} of {}", Bytes(field), Bytes(key)),
                );
            }
            Action::Publish { channel, .. } => {
                self.add(rule, format_args!("tell the subscribers of {channel}"));
            }
            Action::BackwardVersion { before, after } => self.add(
                rule,
                format_args!(
                    "warn: the version went back from {} to {}",
                    Bytes(before),
                    Bytes(after)
                ),
            ),
            Action::Invalidate { path, at } => {
                let what = match is_tag(path) {
                    true => "tag ",
                    false => "",
                };
                let of = at.tenant.map(|tenant| format!(" of tenant {tenant}"));
                let names = at.distributions;
                let names = names.map(|names| format!(" at {}", names.join(", ")));
                let (of, names) = (of.unwrap_or_default(), names.unwrap_or_default());
                self.add(rule, format_args!("invalidate {what}{path}{of}{names}"));
            }
            Action::Skip { path, class } => {
                self.add(
                    rule,
                    format_args!("send nothing for {path}: its class is {class}"),
                );
            }
            Action::MissedBump { version } => self.add(
                rule,
                format_args!(
                    "warn: the row changed and its version {} did not",
                    Bytes(version)
                ),
            ),
        }
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.add(
            rule,
            format_args!("widen to the whole table what cannot be known row by row ({reason})"),
        );
    }
}

/// Text as it is; bytes that are none escaped.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => f.write_str(text),
            Err(_) => self.0.escape_ascii().fmt(f),
        }
    }
}
