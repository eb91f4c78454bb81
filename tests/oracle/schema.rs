//! Tables: keys, columns, foreign keys, triggers, partitions, and names.

use super::columns::{Column, Type, quoted};
use super::draw::Draw;

/// Names of databases. The last two have to be quoted.
const DATABASES: [&str; 4] = ["oracle", "Oracle_2", "or-acle", "größen"];

const TABLES: [&str; 8] = [
    "t1", "t_2", "T3", "tables", "odd name", "lateral", "größe", "t-4",
];

/// No table has one of these names: a statement about a column may be one about a table.
const COLUMNS: [&str; 8] = ["c1", "C2", "straße", "group", "c 5", "c6", "c7", "c8"];

/// What tells rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Id,
    Composite,
    /// Rows are found by all their columns.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnParent {
    Cascade,
    SetNull,
}

/// A table of a case.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub key: Key,
    /// Whether there is a column `ver`.
    pub version: bool,
    pub columns: Vec<Column>,
    pub partitioned: bool,
    /// The table that `owner` refers to.
    pub parent: Option<(String, OnParent)>,
    /// A table of which a row changes with each row here.
    pub trigger: Option<String>,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Schema {
    pub database: String,
    pub tables: Vec<Table>,
    /// Whether cascades are in no event.
    pub hides_cascades: bool,
}

impl Schema {
    pub fn draw(draw: &mut Draw, hides_cascades: bool) -> Self {
        let names = draw.between(&TABLES, 2, 4);
        let mut tables: Vec<Table> = Vec::new();
        for name in names {
            let table = Table::draw(draw, name, &tables);
            tables.push(table);
        }
        if tables.len() > 1 && draw.percent(20) {
            let changed = tables[tables.len() - 1].name.clone();
            tables[0].trigger = Some(changed);
        }
        let weights: Vec<(usize, &str)> = [5, 1, 1, 1].into_iter().zip(DATABASES).collect();
        Self {
            database: draw.weighted(&weights).to_owned(),
            tables,
            hides_cascades,
        }
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Whether the second's rows change with the first's, without a statement that says so.
    pub fn follows(&self, changed: &str, child: &str) -> bool {
        self.table(child).is_some_and(|table| {
            let parent = table.parent.as_ref().map(|(parent, _)| parent.as_str());
            parent.is_some_and(|parent| parent == changed || self.follows(changed, parent))
        }) || self
            .table(changed)
            .and_then(|table| table.trigger.as_deref())
            .is_some_and(|other| other == child || self.is_child(child, other))
    }

    /// Whether evictd has to know of a foreign key of it, by the names that it found at its start.
    pub fn is_tied(&self, table: &Table) -> bool {
        let of = |other: &Table| {
            let mut parent = other.parent.iter();
            parent.any(|(name, _)| *name == table.name)
        };
        self.hides_cascades && (table.parent.is_some() || self.tables.iter().any(of))
    }

    fn is_child(&self, child: &str, parent: &str) -> bool {
        let of = self.table(child).and_then(|table| table.parent.as_ref());
        of.is_some_and(|(name, _)| name == parent || self.is_child(name, parent))
    }

    /// The statements that make them.
    pub fn sql(&self) -> Vec<String> {
        let mut sql: Vec<String> = self.tables.iter().map(Table::sql).collect();
        sql.extend(self.tables.iter().flat_map(|table| self.triggers(table)));
        sql
    }

    fn triggers(&self, table: &Table) -> Vec<String> {
        let Some(other) = table.trigger.as_ref().and_then(|name| self.table(name)) else {
            return Vec::new();
        };
        let Some(column) = other.columns.iter().find(|column| {
            column.generated.is_none() && !column.not_null && column.of.is_integer()
        }) else {
            return Vec::new();
        };
        let bump = if other.version { ", ver = ver + 1" } else { "" };
        let body = |row: &str| {
            format!(
                "UPDATE {} SET {column} = IF({column} <=> 1, 2, 1){bump} WHERE id = {row}.id",
                quoted(&other.name),
                column = quoted(&column.name),
            )
        };
        let events = [("UPDATE", "NEW"), ("INSERT", "NEW"), ("DELETE", "OLD")];
        let trigger = |(event, row): (&str, &str)| {
            format!(
                "CREATE TRIGGER {} AFTER {event} ON {} FOR EACH ROW {}",
                quoted(&format!("{event} {}", table.name)),
                quoted(&table.name),
                body(row)
            )
        };
        events.map(trigger).to_vec()
    }
}

impl Table {
    pub fn draw(draw: &mut Draw, name: &str, others: &[Table]) -> Self {
        let key = draw.weighted(&[(6, Key::Id), (2, Key::Composite), (3, Key::None)]);
        let mut columns: Vec<Column> = Vec::new();
        for name in draw.between(&COLUMNS, 2, 6) {
            let mut column = Self::column(draw, name, &columns);
            // Rules about several tables are made of what these have in common.
            let others = others.iter().flat_map(|table| &table.columns);
            let mut plain = others.filter(|column| column.generated.is_none());
            if let Some(other) = plain.find(|column| column.name == name)
                && column.generated.is_none()
                && draw.percent(60)
            {
                column.of = other.of;
            } else if let Some(before) = columns.last()
                && before.generated.is_none()
                && column.generated.is_none()
                && draw.percent(30)
            {
                // Nothing but its name tells it from its neighbour.
                column.of = before.of;
            }
            columns.push(column);
        }
        let parents: Vec<&Table> = others
            .iter()
            .filter(|table| table.key == Key::Id && !table.partitioned)
            .collect();
        // A hidden key would not have the column that rows are spread by.
        let partitioned = draw.percent(25) && key != Key::None;
        let parent = if !parents.is_empty() && !partitioned && draw.percent(40) {
            let parent = draw.pick(&parents).name.clone();
            Some((
                parent,
                draw.weighted(&[(2, OnParent::Cascade), (1, OnParent::SetNull)]),
            ))
        } else {
            None
        };
        Self {
            name: name.to_owned(),
            key,
            version: draw.percent(50),
            columns,
            partitioned,
            parent,
            trigger: None,
        }
    }

    /// Another column.
    pub fn column(draw: &mut Draw, name: &str, others: &[Column]) -> Column {
        let stored = draw.percent(50);
        let base: Vec<&Column> = others
            .iter()
            .filter(|column| column.generated.is_none() && column.of.is_integer())
            .collect();
        let invisible = draw.percent(10);
        if !base.is_empty() && draw.percent(25) {
            let of = quoted(&draw.pick(&base).name);
            let times = 2 + draw.below(3);
            return Column {
                name: name.to_owned(),
                of: Type::Varchar,
                not_null: false,
                invisible,
                generated: Some((format!("CONCAT({of}, 'x{times}')"), stored)),
            };
        }
        Column {
            name: name.to_owned(),
            of: draw.weighted(&Type::WEIGHTS),
            not_null: draw.percent(30),
            invisible,
            generated: None,
        }
    }

    /// A name that no column has yet.
    pub fn free_name(&self) -> &'static str {
        let has = |name: &str| {
            let mut columns = self.columns.iter();
            columns.any(|column| column.name.eq_ignore_ascii_case(name))
        };
        let mut names = COLUMNS.into_iter().chain(["c10", "c11", "c12", "c13"]);
        names.find(|name| !has(name)).unwrap_or("c14")
    }

    /// Columns that statements set.
    pub fn set_columns(&self) -> Vec<&Column> {
        let columns = self.columns.iter();
        columns
            .filter(|column| column.generated.is_none())
            .collect()
    }

    fn sql(&self) -> String {
        let mut parts = vec!["id INT NOT NULL".to_owned()];
        if self.key == Key::Composite {
            parts.push("part INT NOT NULL".to_owned());
        }
        parts.extend(self.columns.iter().map(Column::sql));
        if self.version {
            parts.push("ver BIGINT UNSIGNED NOT NULL".to_owned());
        }
        match self.key {
            Key::Id => parts.push("PRIMARY KEY (id)".to_owned()),
            Key::Composite => parts.push("PRIMARY KEY (id, part)".to_owned()),
            Key::None => parts.push("KEY by_id (id)".to_owned()),
        }
        if let Some((parent, on)) = &self.parent {
            let (delete, update) = match on {
                OnParent::Cascade => ("CASCADE", "CASCADE"),
                OnParent::SetNull => ("SET NULL", "CASCADE"),
            };
            parts.push("owner INT NULL".to_owned());
            parts.push(format!(
                "FOREIGN KEY (owner) REFERENCES {} (id) ON DELETE {delete} ON UPDATE {update}",
                quoted(parent)
            ));
        }
        let partitions = if self.partitioned {
            " PARTITION BY HASH (id) PARTITIONS 3"
        } else {
            ""
        };
        format!(
            "CREATE TABLE {} ({}){partitions}",
            quoted(&self.name),
            parts.join(", ")
        )
    }
}
