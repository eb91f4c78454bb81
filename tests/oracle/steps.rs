//! What happens in a case, one step after the other.

use std::collections::BTreeSet;
use std::fmt;

use super::columns::quoted;
use super::ddl;
use super::dml;
use super::draw::Draw;
use super::schema::Schema;

/// Columns that a shrunk case does without: table and name.
pub type Without = BTreeSet<(String, String)>;

/// One statement. Values have their columns' names, so that a column can be left out.
#[derive(Clone, Debug)]
pub enum Statement {
    Raw(String),
    Insert {
        /// `INSERT`, `REPLACE` and the like.
        verb: &'static str,
        table: String,
        rows: Vec<Vec<(String, String)>>,
        tail: String,
    },
    Update {
        table: String,
        set: Vec<(String, String)>,
        tail: String,
    },
}

impl Statement {
    pub fn sql(&self, without: &Without) -> String {
        let kept =
            |table: &str, name: &str| !without.contains(&(table.to_owned(), name.to_owned()));
        match self {
            Statement::Raw(sql) => sql.clone(),
            Statement::Insert {
                verb,
                table,
                rows,
                tail,
            } => {
                let first = rows.first().expect("there is a row");
                let columns: Vec<String> = first
                    .iter()
                    .filter(|(name, _)| kept(table, name))
                    .map(|(name, _)| quoted(name))
                    .collect();
                let row = |row: &Vec<(String, String)>| {
                    let values = row.iter().filter(|(name, _)| kept(table, name));
                    let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
                    format!("({})", values.join(", "))
                };
                let rows: Vec<String> = rows.iter().map(row).collect();
                format!(
                    "{verb} INTO {} ({}) VALUES {}{tail}",
                    quoted(table),
                    columns.join(", "),
                    rows.join(", ")
                )
            }
            Statement::Update { table, set, tail } => {
                let set = set.iter().filter(|(name, _)| kept(table, name));
                let set: Vec<String> = set
                    .map(|(name, value)| format!("{} = {value}", quoted(name)))
                    .collect();
                if set.is_empty() {
                    return "DO 0".to_owned();
                }
                format!("UPDATE {} SET {}{tail}", quoted(table), set.join(", "))
            }
        }
    }
}

/// What may be deleted though no row behind it looks any different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allows {
    /// Only entries of rows that differ.
    Nothing,
    /// Whatever is made of these tables.
    Tables(Vec<String>),
    Everything,
}

/// Statements that belong together, in one session.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: &'static str,
    pub statements: Vec<Statement>,
    pub allows: Allows,
    /// Whether a reader that read the rows of before stores them after the first deletion.
    pub late: bool,
    /// Columns that are added.
    pub adds: Vec<String>,
    /// What LOAD DATA LOCAL is given.
    pub file: Option<String>,
}

impl Change {
    pub fn new(kind: &'static str, statements: Vec<Statement>) -> Self {
        Self {
            kind,
            statements,
            allows: Allows::Nothing,
            late: false,
            adds: Vec::new(),
            file: None,
        }
    }

    pub fn raw(kind: &'static str, statements: Vec<String>) -> Self {
        Self::new(kind, statements.into_iter().map(Statement::Raw).collect())
    }

    pub fn allowing(mut self, tables: &[&str]) -> Self {
        let tables = tables.iter().map(|name| (*name).to_owned()).collect();
        self.allows = Allows::Tables(tables);
        self
    }

    pub fn allowing_everything(mut self) -> Self {
        self.allows = Allows::Everything;
        self
    }
}

/// What becomes of evictd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stop,
    Kill,
    Start,
    Freeze,
    Thaw,
    /// Its binlog stream brings nothing more.
    Hold,
    Release,
    /// Until its position is at the place where the stream was held.
    Catch,
}

#[derive(Clone, Debug)]
pub enum Step {
    Change(Change),
    Evictd(Fate),
    /// Readers store every entry.
    Fill,
    /// Until evictd is done; then everything is compared.
    Quiet,
}

impl Step {
    pub fn kind(&self) -> String {
        match self {
            Step::Change(change) => change.kind.to_owned(),
            Step::Evictd(fate) => format!("evictd: {fate:?}"),
            Step::Fill => "fill".to_owned(),
            Step::Quiet => "quiet".to_owned(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Change(change) => {
                let sql: Vec<String> = change
                    .statements
                    .iter()
                    .map(|statement| statement.sql(&Without::new()))
                    .collect();
                let late = if change.late { " with late fills" } else { "" };
                write!(f, "{}{late}: {}", change.kind, sql.join("; "))?;
                match &change.file {
                    Some(file) => write!(f, " <- {file:?}"),
                    None => Ok(()),
                }
            }
            other => write!(f, "{}", other.kind()),
        }
    }
}

/// Draws what happens until the next quiet point.
pub fn draw(draw: &mut Draw, schema: &mut Schema, number: &mut u64, minimal: bool) -> Vec<Step> {
    if minimal && draw.percent(12) {
        return behind(draw, schema, number);
    }
    let mut steps = Vec::new();
    let away = draw.weighted(&[
        (5, None),
        (1, Some(Fate::Freeze)),
        (1, Some(Fate::Kill)),
        (1, Some(Fate::Stop)),
    ]);
    let count = 1 + draw.below(5);
    let leaves = draw.below(count + 1);
    for index in 0..count {
        if index == leaves {
            steps.extend(away.map(Step::Evictd));
        }
        *number += 1;
        steps.push(Step::Change(change(draw, schema, *number)));
        if draw.percent(15) {
            steps.push(Step::Fill);
        }
        if index >= leaves && draw.percent(30) {
            steps.extend(away.map(|fate| Step::Evictd(back(fate))));
        }
    }
    steps.push(Step::Quiet);
    steps
}

fn back(fate: Fate) -> Fate {
    match fate {
        Fate::Freeze => Fate::Thaw,
        Fate::Hold => Fate::Release,
        _ => Fate::Start,
    }
}

fn change(draw: &mut Draw, schema: &mut Schema, number: u64) -> Change {
    let mut change = if draw.percent(70) {
        dml::draw(draw, schema, number)
    } else {
        ddl::draw(draw, schema)
    };
    change.late = draw.percent(35);
    change
}

/// Rows that evictd reads after their columns have changed, and not the statement that changed them; and then it
/// ends.
fn behind(draw: &mut Draw, schema: &mut Schema, number: &mut u64) -> Vec<Step> {
    *number += 1;
    let rows = dml::plain(draw, schema, *number);
    let columns = ddl::columns(draw, schema);
    let end = *draw.pick(&[Fate::Kill, Fate::Stop]);
    vec![
        Step::Evictd(Fate::Freeze),
        Step::Change(rows),
        Step::Evictd(Fate::Hold),
        Step::Change(columns),
        Step::Evictd(Fate::Thaw),
        Step::Evictd(Fate::Catch),
        Step::Evictd(end),
        Step::Evictd(Fate::Release),
        Step::Quiet,
    ]
}
