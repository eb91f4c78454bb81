//! Statements that change rows.

use super::columns::quoted;
use super::draw::Draw;
use super::schema::{Key, Schema, Table};
use super::steps::{Allows, Change, Statement};

/// Rows' ids are below this, unless a statement adds to them.
const IDS: usize = 7;

/// Versions grow by this with each step, so that none comes again: see docs/limits.md.
const VERSIONS: u64 = 20;

#[derive(Clone, Copy)]
enum Kind {
    Insert,
    Update,
    Delete,
    Move,
    Replace,
    Upsert,
    Reinsert,
    UpdateTwo,
    DeleteTwo,
    InsertSelect,
    CreateSelect,
    Load,
    Truncate,
    Savepoints,
    Transaction,
    Xa,
    AsStatement,
}

const KINDS: [(usize, Kind); 17] = [
    (8, Kind::Insert),
    (12, Kind::Update),
    (5, Kind::Delete),
    (3, Kind::Move),
    (4, Kind::Replace),
    (4, Kind::Upsert),
    (9, Kind::Reinsert),
    (2, Kind::UpdateTwo),
    (2, Kind::DeleteTwo),
    (3, Kind::InsertSelect),
    (1, Kind::CreateSelect),
    (2, Kind::Load),
    (2, Kind::Truncate),
    (4, Kind::Savepoints),
    (3, Kind::Transaction),
    (3, Kind::Xa),
    (2, Kind::AsStatement),
];

/// Any of them.
pub fn draw(draw: &mut Draw, schema: &Schema, number: u64) -> Change {
    let table = draw.pick(&schema.tables);
    let other = draw.pick(&schema.tables);
    let name = quoted(&table.name);
    let id = draw.below(IDS);
    let all = Affected { schema };
    match draw.weighted(&KINDS) {
        Kind::Insert => Change::new("insert", vec![insert(draw, table, "INSERT IGNORE", number)]),
        Kind::Update => all.children_of(Change::new("update", vec![update(draw, table)]), table),
        Kind::Delete => all.children_of(Change::raw("delete", vec![delete(draw, table)]), table),
        Kind::Move => {
            let by = *draw.pick(&["+ 20", "- 20", "+ 1"]);
            let bump = if table.version { ", ver = ver + 1" } else { "" };
            let sql = format!("UPDATE {name} SET id = id {by}{bump} WHERE id = {id}");
            all.children_of(Change::raw("update of the key", vec![sql]), table)
        }
        // A row that is replaced by an equal one is deleted and inserted.
        Kind::Replace => {
            let change = Change::new("replace", vec![insert(draw, table, "REPLACE", number)]);
            all.rows_of(change, &[table])
        }
        Kind::Upsert => {
            let mut statement = insert(draw, table, "INSERT", number);
            let mut set: Vec<String> = Vec::new();
            if table.version {
                set.push("ver = ver + 1".to_owned());
            }
            for column in table.set_columns().into_iter().take(2) {
                let name = quoted(&column.name);
                set.push(format!("{name} = VALUES({name})"));
            }
            if set.is_empty() {
                set.push("id = id".to_owned());
            }
            if let Statement::Insert { tail, .. } = &mut statement {
                *tail = format!(" ON DUPLICATE KEY UPDATE {}", set.join(", "));
            }
            all.rows_of(
                Change::new("insert … on duplicate key", vec![statement]),
                &[table],
            )
        }
        Kind::Reinsert => {
            let mut versioned = schema.tables.iter().filter(|table| table.version);
            let table = versioned.find(|_| draw.percent(60)).unwrap_or(table);
            all.rows_of(reinsert(draw, table, number), &[table])
        }
        Kind::UpdateTwo => {
            let bump = |table: &Table, alias: &str| {
                if table.version {
                    format!(", {alias}.ver = {alias}.ver + 1")
                } else {
                    String::new()
                }
            };
            let set = |draw: &mut Draw, table: &Table, alias: &str| {
                let columns = table.set_columns();
                if columns.is_empty() {
                    return format!("{alias}.id = {alias}.id");
                }
                let column = *draw.pick(&columns);
                format!("{alias}.{} = {}", quoted(&column.name), column.value(draw))
            };
            let (first, second) = (set(draw, table, "a"), set(draw, other, "b"));
            let sql = format!(
                "UPDATE {name} a JOIN {} b ON a.id = b.id SET {first}{}, {second}{} WHERE a.id <= {id}",
                quoted(&other.name),
                bump(table, "a"),
                if table.name == other.name {
                    String::new()
                } else {
                    bump(other, "b")
                },
            );
            all.rows_of(
                Change::raw("update of two tables", vec![sql]),
                &[table, other],
            )
        }
        Kind::DeleteTwo => {
            let sql = format!(
                "DELETE a, b FROM {name} a JOIN {} b ON a.id = b.id WHERE a.id <= {id}",
                quoted(&other.name)
            );
            all.rows_of(
                Change::raw("delete from two tables", vec![sql]),
                &[table, other],
            )
        }
        Kind::InsertSelect => Change::raw(
            "insert … select",
            vec![insert_select(draw, table, other, number)],
        ),
        Kind::CreateSelect => {
            let key = if other.key == Key::Id {
                " (PRIMARY KEY (id))"
            } else {
                ""
            };
            let sql = vec![
                format!("DROP TABLE {name}"),
                format!(
                    "CREATE TABLE {name}{key} SELECT * FROM {}",
                    quoted(&other.name)
                ),
            ];
            all.rows_of(Change::raw("create … select", sql), &[table])
        }
        Kind::Load => load(draw, table, number),
        Kind::Truncate => {
            let change = if table.partitioned && draw.percent(50) {
                let sql = format!("ALTER TABLE {name} TRUNCATE PARTITION p0");
                Change::raw("truncate of a partition", vec![sql])
            } else {
                Change::raw("truncate", vec![format!("TRUNCATE {name}")])
            };
            all.rows_of(change, &[table])
        }
        Kind::Savepoints => {
            let end = *draw.pick(&["COMMIT", "COMMIT", "ROLLBACK"]);
            let statements = vec![
                raw("BEGIN"),
                plain_statement(draw, table, number),
                raw("SAVEPOINT here"),
                plain_statement(draw, other, number),
                raw("ROLLBACK TO here"),
                plain_statement(draw, table, number),
                raw(end),
            ];
            all.rows_of(Change::new("savepoints", statements), &[table, other])
        }
        Kind::Transaction => {
            let statements = vec![
                raw("BEGIN"),
                plain_statement(draw, table, number),
                plain_statement(draw, other, number),
                raw("COMMIT"),
            ];
            all.rows_of(Change::new("transaction", statements), &[table, other])
        }
        Kind::Xa => xa(draw, table, other, number),
        Kind::AsStatement => {
            let statements = vec![
                raw("SET SESSION binlog_format = STATEMENT"),
                plain_statement(draw, table, number),
                // It cannot be set within a transaction.
                raw("COMMIT"),
                raw("SET SESSION binlog_format = ROW"),
            ];
            Change::new("as a statement", statements).allowing_everything()
        }
    }
}

/// What leaves a transaction prepared, and what commits it or rolls it back.
pub fn prepared(draw: &mut Draw, schema: &Schema, number: u64) -> [Change; 2] {
    let mut statements = vec![raw("XA START 'later'")];
    for _ in 0..1 + draw.below(2) {
        let table = draw.pick(&schema.tables);
        statements.push(plain_statement(draw, table, number));
    }
    statements.extend([raw("XA END 'later'"), raw("XA PREPARE 'later'")]);
    let end = *draw.pick(&[
        "XA COMMIT 'later'",
        "XA COMMIT 'later'",
        "XA ROLLBACK 'later'",
    ]);
    // After a restart nobody knows which tables a transaction touched that was prepared before.
    [
        Change::new("xa prepare", statements),
        Change::raw("xa end", vec![end.to_owned()]),
    ]
    .map(Change::allowing_everything)
}

/// Rows of any kind of statement that widens nothing.
pub fn rows(draw: &mut Draw, schema: &Schema, number: u64) -> Change {
    loop {
        let change = self::draw(draw, schema, number);
        let widens = change.allows == Allows::Everything
            || matches!(
                change.kind,
                "create … select" | "truncate" | "truncate of a partition"
            );
        if !widens {
            return change;
        }
    }
}

/// An insert, an update or a deletion, in a change of its own.
pub fn plain(draw: &mut Draw, schema: &Schema, number: u64) -> Change {
    let table = draw.pick(&schema.tables);
    let statement = plain_statement(draw, table, number);
    Affected { schema }.rows_of(Change::new("rows", vec![statement]), &[table])
}

fn raw(sql: &str) -> Statement {
    Statement::Raw(sql.to_owned())
}

fn plain_statement(draw: &mut Draw, table: &Table, number: u64) -> Statement {
    match draw.below(4) {
        0 => insert(draw, table, "INSERT IGNORE", number),
        1 => Statement::Raw(delete(draw, table)),
        _ => update(draw, table),
    }
}

/// Which tables' rows a statement reaches.
struct Affected<'s> {
    schema: &'s Schema,
}

impl Affected<'_> {
    /// Any row of these tables may be written, also one that looks the same afterwards.
    fn rows_of(&self, change: Change, tables: &[&Table]) -> Change {
        let reached = |name: &str| {
            let mut tables = tables.iter();
            tables.any(|table| table.name == name || self.schema.follows(&table.name, name))
        };
        let all = self.schema.tables.iter().map(|table| table.name.as_str());
        let reached: Vec<&str> = all.filter(|name| reached(name)).collect();
        change.allowing(&reached)
    }

    /// The rows that differ, and those of children, if no row event tells of them.
    fn children_of(&self, change: Change, table: &Table) -> Change {
        if !self.schema.hides_cascades {
            return change;
        }
        let all = self.schema.tables.iter().map(|table| table.name.as_str());
        let children: Vec<&str> = all
            .filter(|name| *name != table.name && self.schema.follows(&table.name, name))
            .collect();
        change.allowing(&children)
    }
}

/// A row's columns and values.
fn row(draw: &mut Draw, table: &Table, number: u64) -> Vec<(String, String)> {
    let mut row = vec![("id".to_owned(), draw.below(IDS).to_string())];
    if table.key == Key::Composite {
        row.push(("part".to_owned(), draw.below(2).to_string()));
    }
    for column in table.set_columns() {
        row.push((column.name.clone(), column.value(draw)));
    }
    if table.version {
        row.push(("ver".to_owned(), (number * VERSIONS).to_string()));
    }
    if table.parent.is_some() {
        let owner = [draw.below(IDS).to_string(), "NULL".to_owned()];
        row.push(("owner".to_owned(), draw.pick(&owner).clone()));
    }
    row
}

/// The rows that a table has at first.
pub fn first_rows(draw: &mut Draw, table: &Table) -> Vec<Statement> {
    let rows = 3 + draw.below(4);
    let insert = |_| insert(draw, table, "INSERT IGNORE", 1);
    (0..rows).map(insert).collect()
}

fn insert(draw: &mut Draw, table: &Table, verb: &'static str, number: u64) -> Statement {
    let rows = 1 + draw.below(2);
    Statement::Insert {
        verb,
        table: table.name.clone(),
        rows: (0..rows).map(|_| row(draw, table, number)).collect(),
        tail: String::new(),
    }
}

fn condition(draw: &mut Draw) -> String {
    let id = draw.below(IDS);
    let which = [
        format!("id = {id}"),
        format!("id = {id}"),
        format!("id <= {id}"),
    ];
    format!(" WHERE {}", draw.pick(&which))
}

fn update(draw: &mut Draw, table: &Table) -> Statement {
    let columns = table.set_columns();
    let mut set: Vec<(String, String)> = Vec::new();
    if !columns.is_empty() {
        for column in draw.some(&columns, 2) {
            set.push((column.name.clone(), column.value(draw)));
        }
    }
    // An application that forgets it now and then.
    if table.version && (set.is_empty() || draw.percent(85)) {
        set.push(("ver".to_owned(), "ver + 1".to_owned()));
    }
    Statement::Update {
        table: table.name.clone(),
        set,
        tail: condition(draw),
    }
}

fn delete(draw: &mut Draw, table: &Table) -> String {
    format!("DELETE FROM {}{}", quoted(&table.name), condition(draw))
}

/// A row goes and comes again, other than before and under its version.
fn reinsert(draw: &mut Draw, table: &Table, number: u64) -> Change {
    let name = quoted(&table.name);
    let id = draw.below(IDS);
    let mut row = row(draw, table, number);
    row[0].1 = "@id".to_owned();
    let mut statements = vec![
        raw("BEGIN"),
        // One that is there, if any is.
        Statement::Raw(format!(
            "SET @id = IFNULL((SELECT MIN(id) FROM {name} WHERE id >= {id}), {id})"
        )),
    ];
    if let Some(version) = row.iter_mut().find(|(name, _)| name == "ver") {
        version.1 = format!("IFNULL(@ver, {})", version.1);
        let sql = format!("SET @ver = (SELECT MAX(ver) FROM {name} WHERE id = @id)");
        statements.push(Statement::Raw(sql));
    }
    let insert = |verb| Statement::Insert {
        verb,
        table: table.name.clone(),
        rows: vec![row],
        tail: String::new(),
    };
    if draw.percent(70) {
        statements.push(Statement::Raw(format!("DELETE FROM {name} WHERE id = @id")));
        statements.push(insert("INSERT"));
    } else {
        statements.push(insert("REPLACE"));
    }
    statements.push(raw("COMMIT"));
    Change::new("delete and insert of a row", statements)
}

fn insert_select(draw: &mut Draw, table: &Table, other: &Table, number: u64) -> String {
    let row = row(draw, table, number);
    let columns: Vec<String> = row.iter().map(|(name, _)| quoted(name)).collect();
    let values: Vec<&str> = row[1..].iter().map(|(_, value)| value.as_str()).collect();
    let plus = *draw.pick(&[10, 0, 1]);
    let values: String = values.iter().map(|value| format!(", {value}")).collect();
    format!(
        "INSERT IGNORE INTO {} ({}) SELECT id + {plus}{values} FROM {} ORDER BY id LIMIT 3",
        quoted(&table.name),
        columns.join(", "),
        quoted(&other.name)
    )
}

fn load(draw: &mut Draw, table: &Table, number: u64) -> Change {
    let row = row(draw, table, number);
    let set: Vec<String> = row[1..]
        .iter()
        .map(|(name, value)| format!("{} = {value}", quoted(name)))
        .collect();
    let set = if set.is_empty() {
        String::new()
    } else {
        format!(" SET {}", set.join(", "))
    };
    let sql = format!(
        "LOAD DATA LOCAL INFILE 'rows' IGNORE INTO TABLE {} (id){set}",
        quoted(&table.name)
    );
    let ids: Vec<String> = (0..3).map(|_| draw.below(IDS).to_string()).collect();
    let mut change = Change::raw("load data", vec![sql]);
    change.file = Some(ids.join("\n") + "\n");
    change
}

fn xa(draw: &mut Draw, table: &Table, other: &Table, number: u64) -> Change {
    let mut statements = vec![raw("XA START 'x'")];
    statements.push(plain_statement(draw, table, number));
    statements.push(plain_statement(draw, other, number));
    statements.push(raw("XA END 'x'"));
    let ends: [&[&str]; 3] = [
        &["XA PREPARE 'x'", "XA COMMIT 'x'"],
        &["XA PREPARE 'x'", "XA ROLLBACK 'x'"],
        &["XA COMMIT 'x' ONE PHASE"],
    ];
    statements.extend(draw.pick(&ends).iter().map(|sql| raw(sql)));
    // After a restart nobody knows which tables a transaction touched that was prepared before.
    Change::new("xa", statements).allowing_everything()
}
