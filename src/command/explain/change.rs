//! The change that the command line describes, and what the rules make of it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::actions::Planned;
use super::reasons::Reasons;
use super::row::{self, GivenRow};
use crate::binlog::server::catalog;
use crate::cli::{ExplainArgs, Global, OutputFormat};
use crate::command::{CommandError, preflight, print};
use crate::config::{self, Config, ConfigError};
use crate::model::{Op, RowChange, TableName, TableSchema};
use crate::rules::rule::Rule;
use crate::rules::{RenderBuffers, suggestion};

/// Prints what each rule does with the change.
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
            "--table \"{}\" has no database: write DATABASE.TABLE, such as shop.users",
            options.table
        ))
    })?;
    let name = TableName::new(database, table);
    let rows: Vec<&GivenRow> = before.iter().chain(&after).collect();
    let schema = if options.online {
        online(&mut config, &global.config, name, &rows).await?
    } else {
        let rules = config.rules.iter().filter(|rule| rule.is_about(&name));
        row::schema(name.clone(), &rows, rules.flat_map(Rule::columns))
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

/// The table with the columns that it has on the server.
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
            "account \"{}\" cannot see a table {name} on {}",
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
        projection
            .get(slot)
            .and_then(|index| schema.columns.get(*index))
            .map_or_else(String::new, |column| column.name.to_string())
    };
    let mut reasons = Reasons {
        column: &column,
        heard: Vec::new(),
    };
    let mut planned = Planned::default();
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

/// The effect of each rule on a change.
#[derive(Debug, Serialize)]
struct Explained {
    table: String,
    op: &'static str,
    rules: Vec<RuleExplained>,
}

#[derive(Debug, Serialize)]
struct RuleExplained {
    rule: String,
    /// Its line in the configuration.
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
