//! What happens in a case, one step after the other.

use std::collections::BTreeSet;
use std::fmt;

use super::columns::quoted;
use super::ddl;
use super::dml;
use super::draw::Draw;
use super::fates::{Breakage, EdgeFate, Fate, FilesFate, Has, MysqlFate, QueueFate, RedisFate};
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

/// How long a commit is in the binlog before anybody sees its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Briefly,
    /// The server is frozen meanwhile, until evictd no longer waits for its answer.
    ThroughAFreeze,
}

impl Held {
    pub fn told(self) -> &'static str {
        match self {
            Held::Briefly => " held before it is visible",
            Held::ThroughAFreeze => " held before it is visible, while MySQL is frozen",
        }
    }
}

/// Statements that belong together, in one session.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: &'static str,
    pub statements: Vec<Statement>,
    pub allows: Allows,
    /// Whether a reader that read the rows of before stores them after the first deletion.
    pub late: bool,
    /// Of the first commit.
    pub held: Option<Held>,
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
            held: None,
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

    /// Besides, whatever a word of it may name, since its form does not tell: see docs/limits.md.
    pub fn allowing_words(mut self) -> Self {
        if let Allows::Tables(tables) = &mut self.allows {
            for statement in &self.statements {
                let sql = statement.sql(&Without::new());
                let words = sql.split([' ', '`', '.', '(', ')']);
                tables.extend(words.map(str::to_owned));
            }
        }
        self
    }

    pub fn allowing_everything(mut self) -> Self {
        self.allows = Allows::Everything;
        self
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    Change(Change),
    Evictd(Fate),
    Edge(EdgeFate),
    Queue(QueueFate),
    Files(FilesFate),
    Redis(RedisFate),
    Mysql(MysqlFate),
    /// A thousand commits, one path each.
    Flood,
    /// Until what is changed now is deleted, and invalidated wherever that can be, though something is in trouble.
    Progress,
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
            Step::Edge(fate) => format!("CloudFront: {fate:?}"),
            Step::Queue(fate) => format!("SQS: {fate:?}"),
            Step::Files(fate) => format!("evictd's files: {fate:?}"),
            Step::Redis(fate) => format!("Redis: {fate:?}"),
            Step::Mysql(fate) => format!("MySQL: {fate:?}"),
            Step::Flood => "flood".to_owned(),
            Step::Progress => "progress".to_owned(),
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
                let held = change.held.map(Held::told).unwrap_or_default();
                write!(f, "{}{late}{held}: {}", change.kind, sql.join("; "))?;
                match &change.file {
                    Some(file) => write!(f, " <- {file:?}"),
                    None => Ok(()),
                }
            }
            other => write!(f, "{}", other.kind()),
        }
    }
}

/// What statements of a round are like. Where nothing widens, everything that is wrong about rows shows.
#[derive(Clone, Copy)]
pub enum Theme {
    Rows,
    /// Rows, and statements about tables that leave rows as they are.
    Harmless,
    Any,
}

/// The steps of a case while they are drawn.
pub struct Steps<'c> {
    /// As it is by then.
    pub schema: Schema,
    /// Whether the binlog does not name columns.
    minimal: bool,
    pub has: Has<'c>,
    number: u64,
    /// What ends a transaction that is prepared.
    prepared: Option<Change>,
    all: Vec<Step>,
}

impl<'c> Steps<'c> {
    pub fn new(schema: Schema, minimal: bool, has: Has<'c>) -> Self {
        Self {
            schema,
            minimal,
            has,
            number: 1,
            prepared: None,
            all: Vec::new(),
        }
    }

    /// Draws what happens until the next quiet point.
    pub fn round(&mut self, draw: &mut Draw) {
        if self.minimal && draw.percent(12) {
            self.behind(draw);
            return;
        }
        let theme = draw.weighted(&[(5, Theme::Rows), (2, Theme::Harmless), (5, Theme::Any)]);
        if draw.percent(35) {
            // A server that is put back or replaced may not know of a transaction that was prepared.
            self.all.extend(self.prepared.take().map(Step::Change));
            Breakage::new(draw, self, theme).draw();
            self.all.push(Step::Quiet);
            return;
        }
        let killed = if self.has.sqs() { 0 } else { 1 };
        let away = draw.weighted(&[
            (4, None),
            (1, Some(Fate::Freeze)),
            (killed, Some(Fate::Kill)),
            (1, Some(Fate::Stop)),
        ]);
        let count = 1 + draw.below(6);
        let leaves = draw.below(count + 1);
        for index in 0..count {
            if index == leaves {
                self.all.extend(away.map(Step::Evictd));
            }
            let change = self.change(draw, theme);
            self.push_change(draw, change);
            if draw.percent(15) {
                self.all.push(Step::Fill);
            }
            if index >= leaves && draw.percent(30) {
                self.all.extend(away.map(|fate| Step::Evictd(back(fate))));
            }
        }
        self.all.push(Step::Quiet);
    }

    /// All of them; nothing stays prepared.
    pub fn end(mut self) -> Vec<Step> {
        if let Some(change) = self.prepared {
            self.all.extend([Step::Change(change), Step::Quiet]);
        }
        self.all
    }

    fn change(&mut self, draw: &mut Draw, theme: Theme) -> Change {
        if draw.percent(40)
            && let Some(change) = self.prepared.take()
        {
            return change;
        }
        if matches!(theme, Theme::Any) && self.prepared.is_none() && draw.percent(12) {
            self.number += 1;
            let [prepare, end] = dml::prepared(draw, &self.schema, self.number);
            self.prepared = Some(end);
            return prepare;
        }
        self.whole_change(draw, theme)
    }

    /// One that leaves nothing prepared.
    pub fn whole_change(&mut self, draw: &mut Draw, theme: Theme) -> Change {
        self.number += 1;
        match theme {
            Theme::Rows => dml::rows(draw, &self.schema, self.number),
            Theme::Harmless if draw.percent(60) => {
                let table = draw.pick(&self.schema.tables);
                ddl::harmless(draw, table)
            }
            Theme::Harmless => dml::rows(draw, &self.schema, self.number),
            Theme::Any if draw.percent(60) => dml::draw(draw, &self.schema, self.number),
            Theme::Any => self.ddl(draw, ddl::draw),
        }
    }

    /// Sometimes with readers that are late.
    pub fn push_change(&mut self, draw: &mut Draw, mut change: Change) {
        let often = if change.kind == "delete and insert of a row" {
            85
        } else {
            35
        };
        change.late = draw.percent(often);
        self.push(Step::Change(change));
    }

    pub fn push(&mut self, step: Step) {
        self.all.push(step);
    }

    /// An insert, an update or a deletion.
    pub fn plain(&mut self, draw: &mut Draw) -> Change {
        self.number += 1;
        dml::plain(draw, &self.schema, self.number)
    }

    /// Whatever widens a table widens those whose rows may go with its own.
    fn ddl(&mut self, draw: &mut Draw, kind: fn(&mut Draw, &mut Schema) -> Change) -> Change {
        let before = self.schema.clone();
        let mut change = kind(draw, &mut self.schema);
        if let Allows::Tables(tables) = &mut change.allows
            && before.hides_cascades
        {
            let names = before.tables.iter().map(|table| &table.name);
            let follows = |name: &&String| tables.iter().any(|table| before.follows(table, name));
            let more: Vec<String> = names.filter(follows).cloned().collect();
            tables.extend(more);
        }
        change
    }

    /// Rows that evictd reads after their columns have changed, and not the statement that changed them; and then it
    /// ends.
    fn behind(&mut self, draw: &mut Draw) {
        let rows = self.plain(draw);
        let columns = self.ddl(draw, ddl::columns);
        let end = self.has.end(draw);
        self.all.extend([
            Step::Evictd(Fate::Freeze),
            Step::Change(rows),
            Step::Evictd(Fate::Hold),
            Step::Change(columns),
            Step::Evictd(Fate::Thaw),
            Step::Evictd(Fate::Catch),
            Step::Evictd(end),
            Step::Evictd(Fate::Release),
            Step::Quiet,
        ]);
    }
}

fn back(fate: Fate) -> Fate {
    match fate {
        Fate::Freeze => Fate::Thaw,
        Fate::Hold => Fate::Release,
        _ => Fate::Start,
    }
}
