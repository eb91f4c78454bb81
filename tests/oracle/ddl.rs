//! Statements that change tables. The schema that is drawn from follows them.

use super::columns::{Column, Type, quoted};
use super::draw::Draw;
use super::schema::{Key, Schema, Table};
use super::steps::Change;

#[derive(Clone, Copy)]
enum Kind {
    Add,
    Drop,
    DropAndAdd,
    Modify,
    RenameColumn,
    Reorder,
    RenameTable,
    Swap,
    Recreate,
    Harmless,
    Rebuild,
    Exchange,
    Partitions,
    Convert,
}

const KINDS: [(usize, Kind); 14] = [
    (4, Kind::Add),
    (3, Kind::Drop),
    (5, Kind::DropAndAdd),
    (3, Kind::Modify),
    (2, Kind::RenameColumn),
    (4, Kind::Reorder),
    (2, Kind::RenameTable),
    (2, Kind::Swap),
    (2, Kind::Recreate),
    (6, Kind::Harmless),
    (1, Kind::Rebuild),
    (2, Kind::Exchange),
    (2, Kind::Partitions),
    (1, Kind::Convert),
];

pub fn draw(draw: &mut Draw, schema: &mut Schema) -> Change {
    let index = draw.below(schema.tables.len());
    match draw.weighted(&KINDS) {
        Kind::Add => add(draw, &mut schema.tables[index]),
        Kind::Drop => drop_column(draw, &mut schema.tables[index]),
        Kind::DropAndAdd => drop_and_add(draw, &mut schema.tables[index]),
        Kind::Modify => modify(draw, &mut schema.tables[index]),
        Kind::RenameColumn => rename_column(draw, &mut schema.tables[index]),
        Kind::Reorder => reorder(draw, &schema.tables[index]),
        Kind::RenameTable => rename_table(draw, schema, index),
        Kind::Swap => {
            let other = draw.below(schema.tables.len());
            if [index, other]
                .iter()
                .any(|index| schema.is_tied(&schema.tables[*index]))
            {
                return harmless(draw, &schema.tables[index]);
            }
            swap(schema, index, other)
        }
        Kind::Recreate => recreate(draw, schema, index),
        Kind::Harmless => harmless(draw, &schema.tables[index]),
        Kind::Rebuild => {
            let table = &schema.tables[index];
            alter("rebuild", table, "ENGINE = InnoDB").allowing(&[&table.name])
        }
        Kind::Exchange => exchange(draw, schema, index),
        Kind::Partitions => partitions(draw, partitioned(schema, index)),
        Kind::Convert => {
            let set = *draw.pick(&["utf8mb4 COLLATE utf8mb4_bin", "latin1"]);
            let clause = format!("CONVERT TO CHARACTER SET {set}");
            alter("convert", &schema.tables[index], &clause)
        }
    }
}

/// A partition's rows, and those of a table of equal columns.
fn exchange(draw: &mut Draw, schema: &Schema, index: usize) -> Change {
    let table = partitioned(schema, index);
    let name = quoted(&table.name);
    let with = if draw.percent(50) { "WITHOUT" } else { "WITH" };
    let sql = vec![
        format!("CREATE TABLE elsewhere.part LIKE {name}"),
        "ALTER TABLE elsewhere.part REMOVE PARTITIONING".to_owned(),
        format!(
            "ALTER TABLE {name} EXCHANGE PARTITION p1 WITH TABLE elsewhere.part {with} VALIDATION"
        ),
        "DROP TABLE elsewhere.part".to_owned(),
    ];
    let change = Change::raw("exchange a partition", sql);
    change.allowing(&[&table.name]).allowing_words()
}

/// The first one with partitions, or else any.
fn partitioned(schema: &Schema, index: usize) -> &Table {
    let mut tables = schema.tables.iter();
    let found = tables.find(|table| table.partitioned);
    found.unwrap_or(&schema.tables[index])
}

fn partitions(draw: &mut Draw, table: &Table) -> Change {
    let clause = *draw.pick(&[
        "TRUNCATE PARTITION p1",
        "COALESCE PARTITION 1",
        "ADD PARTITION PARTITIONS 1",
        "REBUILD PARTITION ALL",
        "REMOVE PARTITIONING",
    ]);
    alter("partitions", table, clause)
}

/// One that gives columns another place.
pub fn columns(draw: &mut Draw, schema: &mut Schema) -> Change {
    let index = draw.below(schema.tables.len());
    let table = &mut schema.tables[index];
    match draw.below(3) {
        0 => drop_and_add(draw, table),
        1 => add(draw, table),
        _ => reorder(draw, table),
    }
}

fn alter(kind: &'static str, table: &Table, clauses: &str) -> Change {
    let sql = format!("ALTER TABLE {} {clauses}", quoted(&table.name));
    Change::raw(kind, vec![sql]).allowing(&[&table.name])
}

fn place(draw: &mut Draw, table: &Table) -> String {
    let mut places = vec![String::new(), " FIRST".to_owned(), " AFTER id".to_owned()];
    if let Some(column) = table.columns.last() {
        places.push(format!(" AFTER {}", quoted(&column.name)));
    }
    draw.pick(&places).clone()
}

/// What rows get that are there already.
fn default(draw: &mut Draw, column: &Column) -> String {
    let takes_none = matches!(column.of, Type::Text | Type::Json);
    if column.generated.is_some() || takes_none {
        return String::new();
    }
    let value = column.of.value(draw);
    // An expression is no default in these forms.
    if value.starts_with("REPEAT") || value.starts_with('_') {
        return String::new();
    }
    format!(" DEFAULT {value}")
}

fn add(draw: &mut Draw, table: &mut Table) -> Change {
    let name = table.free_name();
    let column = Table::column(draw, name, &table.columns);
    let default = default(draw, &column);
    let clauses = format!("ADD COLUMN {}{default}{}", column.sql(), place(draw, table));
    let mut change = alter("add column", table, &clauses);
    change.adds.push(name.to_owned());
    table.columns.push(column);
    change
}

fn drop_column(draw: &mut Draw, table: &mut Table) -> Change {
    if table.columns.len() < 2 {
        return add(draw, table);
    }
    let column = table.columns.remove(draw.below(table.columns.len()));
    alter(
        "drop column",
        table,
        &format!("DROP COLUMN {}", quoted(&column.name)),
    )
}

/// In one statement or in two; every row has another value afterwards.
fn drop_and_add(draw: &mut Draw, table: &mut Table) -> Change {
    if table.columns.is_empty() {
        return add(draw, table);
    }
    let index = draw.below(table.columns.len());
    let name = table.columns[index].name.clone();
    let others: Vec<Column> = table
        .columns
        .iter()
        .filter(|column| column.name != name)
        .cloned()
        .collect();
    let same = table.columns[index].clone();
    let column = if same.generated.is_none() && draw.percent(60) {
        same
    } else {
        Table::column(draw, &name, &others)
    };
    let default = default(draw, &column);
    let place = if others.is_empty() {
        ""
    } else {
        *draw.pick(&["", " FIRST", " AFTER id"])
    };
    let (drop, add) = (
        format!("DROP COLUMN {}", quoted(&name)),
        format!("ADD COLUMN {}{default}{place}", column.sql()),
    );
    table.columns[index] = column;
    if draw.percent(50) {
        return alter("drop and add column", table, &format!("{drop}, {add}"));
    }
    let statement = |clause: &str| format!("ALTER TABLE {} {clause}", quoted(&table.name));
    let sql = vec![statement(&drop), statement(&add)];
    Change::raw("drop column; add column", sql).allowing(&[&table.name])
}

fn modify(draw: &mut Draw, table: &mut Table) -> Change {
    let plain = |column: &&mut Column| column.generated.is_none();
    let mut columns: Vec<&mut Column> = table.columns.iter_mut().filter(plain).collect();
    if columns.is_empty() {
        return add(draw, table);
    }
    let index = draw.below(columns.len());
    let column = &mut columns[index];
    column.of = match column.of {
        Type::Int | Type::TinyUnsigned => Type::Decimal,
        Type::Latin1 | Type::Cyrillic | Type::Char => Type::Varchar,
        Type::Datetime => Type::DatetimeMicros,
        Type::DatetimeMicros => Type::Datetime,
        Type::Binary => Type::Varbinary,
        other => other,
    };
    column.not_null = false;
    let clause = format!("MODIFY COLUMN {}", column.sql());
    alter("modify column", table, &clause)
}

fn rename_column(draw: &mut Draw, table: &mut Table) -> Change {
    if table.columns.is_empty() {
        return add(draw, table);
    }
    let to = table.free_name();
    let index = draw.below(table.columns.len());
    let from = std::mem::replace(&mut table.columns[index].name, to.to_owned());
    let clause = format!("RENAME COLUMN {} TO {}", quoted(&from), quoted(to));
    alter("rename column", table, &clause)
}

fn reorder(draw: &mut Draw, table: &Table) -> Change {
    if table.columns.is_empty() {
        return alter(
            "reorder columns",
            table,
            "MODIFY COLUMN id INT NOT NULL FIRST",
        );
    }
    let alike = |pair: &&[Column]| {
        let of_its_own = pair.iter().all(|column| column.generated.is_none());
        of_its_own && pair[0].of == pair[1].of
    };
    let mut alike = table.columns.windows(2).filter(alike);
    let (column, place) = match alike.next() {
        Some([column, other]) if draw.percent(60) => {
            (column, format!(" AFTER {}", quoted(&other.name)))
        }
        _ => {
            let place = *draw.pick(&[" FIRST", " AFTER id"]);
            (draw.pick(&table.columns), place.to_owned())
        }
    };
    alter(
        "reorder columns",
        table,
        &format!("MODIFY COLUMN {}{place}", column.sql()),
    )
}

/// A name that comes back later, in the place of another table, or for good.
fn rename_table(draw: &mut Draw, schema: &mut Schema, index: usize) -> Change {
    if schema.is_tied(&schema.tables[index]) {
        return harmless(draw, &schema.tables[index]);
    }
    let names = ["t5", "tables2", "moved"];
    let free = names.iter().find(|name| schema.table(name).is_none());
    let from = schema.tables[index].name.clone();
    let to = (*free.unwrap_or(&"t6")).to_owned();
    if draw.percent(50) {
        let sql = |from: &str, to: &str| format!("RENAME TABLE {} TO {}", quoted(from), quoted(to));
        return Change::raw(
            "rename table and back",
            vec![sql(&from, &to), sql(&to, &from)],
        )
        .allowing(&[&from, &to]);
    }
    let sql = format!("ALTER TABLE {} RENAME TO {}", quoted(&from), quoted(&to));
    renamed(schema, &from, &to);
    let change = Change::raw("rename table", vec![sql]);
    change.allowing(&[&from, &to]).allowing_words()
}

/// Others know a table by its name.
fn renamed(schema: &mut Schema, from: &str, to: &str) {
    for table in &mut schema.tables {
        if table.name == from {
            to.clone_into(&mut table.name);
        }
        if let Some((parent, _)) = &mut table.parent
            && parent == from
        {
            to.clone_into(parent);
        }
    }
}

fn swap(schema: &mut Schema, first: usize, second: usize) -> Change {
    let (a, b) = (
        schema.tables[first].name.clone(),
        schema.tables[second].name.clone(),
    );
    let sql = format!(
        "RENAME TABLE {a} TO swapped, {b} TO {a}, swapped TO {b}",
        a = quoted(&a),
        b = quoted(&b)
    );
    if a != b {
        renamed(schema, &a, "swapped");
        renamed(schema, &b, &a);
        renamed(schema, "swapped", &b);
    }
    Change::raw("swap tables", vec![sql]).allowing(&[&a, &b])
}

/// Under its name, with other columns.
fn recreate(draw: &mut Draw, schema: &mut Schema, index: usize) -> Change {
    let name = schema.tables[index].name.clone();
    let referred = |table: &Table| {
        table
            .parent
            .as_ref()
            .is_some_and(|(parent, _)| *parent == name)
    };
    if schema.tables.iter().any(referred) {
        return harmless(draw, &schema.tables[index]);
    }
    let mut table = Table::draw(draw, &name, &[]);
    table.version = schema.tables[index].version;
    table.key = schema.tables[index].key;
    let sql = Schema {
        database: schema.database.clone(),
        tables: vec![table.clone()],
        hides_cascades: schema.hides_cascades,
    }
    .sql();
    schema.tables[index] = table;
    let drop = format!("DROP TABLE {}", quoted(&name));
    Change::raw("drop and create table", [vec![drop], sql].concat()).allowing(&[&name])
}

/// No row differs afterwards, and nothing is deleted for it.
pub fn harmless(draw: &mut Draw, table: &Table) -> Change {
    let name = quoted(&table.name);
    let index = match table.key {
        Key::None => "ADD INDEX another (id)",
        _ => "ADD INDEX by_id (id)",
    };
    let all = [
        format!("ALTER TABLE {name} COMMENT = 'DROP COLUMN c1, größe'"),
        format!("ALTER TABLE {name} {index}"),
        format!(
            "ALTER TABLE {name} ADD INDEX a (id); ALTER TABLE {name} RENAME INDEX a TO b; DROP INDEX b ON {name}"
        ),
        format!("CREATE VIEW seen AS SELECT * FROM {name}; DROP VIEW seen"),
        format!("ANALYZE TABLE {name}"),
        format!(
            "ALTER TABLE {name} ADD CONSTRAINT positive CHECK (id > -1000000); ALTER TABLE {name} DROP CHECK positive"
        ),
        "CREATE DATABASE another; DROP DATABASE another".to_owned(),
        "CREATE DATABASE `größer`; DROP DATABASE `größer`".to_owned(),
        "CREATE TABLE elsewhere.x (id INT PRIMARY KEY); INSERT INTO elsewhere.x VALUES (1); TRUNCATE elsewhere.x; DROP TABLE elsewhere.x".to_owned(),
        "CREATE TABLE elsewhere.y (id INT, table2 INT) COMMENT 'größe'; ALTER TABLE elsewhere.y COMMENT = 'é'; ALTER TABLE elsewhere.y DROP COLUMN table2; DROP TABLE elsewhere.y".to_owned(),
        "CREATE TABLE elsewhere.z (id INT); RENAME TABLE elsewhere.z TO elsewhere.tz; DROP TABLE elsewhere.tz".to_owned(),
    ];
    let some = draw.between(&all, 2, 4);
    Change::raw("harmless", one_by_one(&some.join("; ")))
}

fn one_by_one(sql: &str) -> Vec<String> {
    sql.split("; ").map(str::to_owned).collect()
}
