//! What an application would build from the rows at this moment: names, and what stands under them.
//!
//! Everything is rendered by the server, so that texts are the server's own. Nothing here is evictd's code.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::columns::quoted;
use super::rules::{Family, Fires, IN_ANOTHER_ZONE, Rule, Shape, Template};

/// A row's columns, in hexadecimal digits, or NULL.
pub type Values = BTreeMap<String, Option<String>>;

/// The rows behind a name, in an order of their own.
pub type Content = Vec<Values>;

/// A key, a tag or a field, as bytes.
pub type Name = Vec<u8>;

/// Rule and family.
pub type Place = (usize, usize);

/// A table's columns and their types, as the server has them.
pub type Columns = BTreeMap<String, Vec<(String, String)>>;

/// The generation that each rule's entries are of, if they are of one.
pub type Generations = Vec<Option<u64>>;

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub entries: BTreeMap<Place, BTreeMap<Name, Content>>,
    /// Each page, with the entry that it is built from.
    pub pages: BTreeMap<String, (Place, Name)>,
    /// The guard and the version of each entry that has one.
    pub guards: BTreeMap<(Place, Name), (Name, String)>,
    /// What rules' counters said before.
    pub generations: Generations,
}

impl Snapshot {
    /// The rows behind a name; none if there are none.
    pub fn content(&self, place: Place, name: &[u8]) -> &[Values] {
        let family = self.entries.get(&place);
        family
            .and_then(|names| names.get(name))
            .map_or(&[], Vec::as_slice)
    }
}

/// Tables and views are told apart; the applications of a case read tables.
pub async fn columns(conn: &mut Conn, database: &str) -> mysql_async::Result<Columns> {
    let rows: Vec<(String, String, String)> = conn
        .exec(
            "SELECT c.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE FROM information_schema.COLUMNS c \
             JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME) \
             WHERE c.TABLE_SCHEMA = ? AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY c.ORDINAL_POSITION",
            (database.to_owned(),),
        )
        .await?;
    let mut columns = Columns::new();
    for (table, column, of) in rows {
        columns.entry(table).or_default().push((column, of));
    }
    Ok(columns)
}

/// The text of a column, or its bytes.
fn text(name: &str, of: &str) -> String {
    let name = quoted(name);
    match of {
        "bit" => format!("CONCAT({name} + 0)"),
        "binary" | "varbinary" => name,
        "char" | "varchar" | "text" | "enum" | "set" => format!("CONVERT({name} USING utf8mb4)"),
        _ => format!("CONCAT({name})"),
    }
}

fn filtered(text: String, filter: &str) -> String {
    match filter {
        "lower" => format!("LOWER({text})"),
        "hex" => format!("LOWER(HEX({text}))"),
        "crc32" => format!("CONCAT(CRC32({text}))"),
        "default(\"none\")" => format!("IFNULL({text}, 'none')"),
        IN_ANOTHER_ZONE => {
            format!("DATE_FORMAT(CONVERT_TZ({text}, '+00:00', '+05:30'), '%Y-%m-%d %H:%i:%s')")
        }
        other => panic!("no filter {other}"),
    }
}

/// A template as SQL, if the table has its columns.
fn rendered(
    template: &Template,
    variant: Option<&str>,
    columns: &[(String, String)],
) -> Option<String> {
    let mut parts = vec![format!("_binary'{}'", template.prefix)];
    parts.extend(variant.map(|text| format!("_binary'{text}:'")));
    for (index, placeholder) in template.placeholders.iter().enumerate() {
        if index > 0 {
            parts.push("_binary':'".to_owned());
        }
        let (name, of) = columns
            .iter()
            .find(|(name, _)| *name == placeholder.column)?;
        let mut value = text(name, of);
        for filter in &placeholder.filters {
            value = filtered(value, filter);
        }
        parts.push(format!("CAST({value} AS BINARY)"));
    }
    Some(format!("CONCAT({})", parts.join(", ")))
}

/// One family's columns in a query.
fn selected(
    rule: &Rule,
    family: &Family,
    variant: Option<&str>,
    columns: &[(String, String)],
) -> Option<[String; 4]> {
    let mut name = rendered(&family.template, variant, columns)?;
    if let Shape::Field(key) = &family.shape {
        name = format!(
            "CONCAT({}, _binary'\n', {name})",
            rendered(key, None, columns)?
        );
    }
    let name = match &rule.fires {
        Fires::Above(column, above) => {
            columns.iter().find(|(name, _)| name == column)?;
            // What cannot be compared counts as true.
            format!(
                "IF(COALESCE({} <= {above}, FALSE), NULL, {name})",
                quoted(column)
            )
        }
        _ => name,
    };
    let null = || "NULL".to_owned();
    let path = family.path.as_ref();
    let path = path.map_or_else(|| Some(null()), |path| rendered(path, variant, columns))?;
    let (guard, version) = match &family.shape {
        Shape::Guarded(guard) => {
            columns.iter().find(|(name, _)| name == "ver")?;
            (rendered(guard, None, columns)?, "CONCAT(ver)".to_owned())
        }
        _ => (null(), null()),
    };
    Some([name, path, guard, version])
}

/// What entries of a rule hold of a row.
fn held(rule: &Rule, mut row: Values) -> Values {
    if let Fires::Changed(columns) | Fires::Differs(columns) = &rule.fires {
        row.retain(|name, _| columns.contains(name));
    }
    row
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the server answers in UTF-8")
}

/// Reads everything once.
pub async fn take(
    conn: &mut Conn,
    rules: &[Rule],
    columns: &Columns,
) -> mysql_async::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for (table, columns) in columns {
        let mut places: Vec<Place> = Vec::new();
        let pairs: Vec<String> = columns
            .iter()
            .map(|(name, _)| {
                let literal = name.replace('\'', "''");
                format!("'{literal}', HEX(CONCAT({}))", quoted(name))
            })
            .collect();
        let mut select = vec![format!("JSON_OBJECT({})", pairs.join(", "))];
        for (number, rule) in rules.iter().enumerate() {
            for (index, family) in rule.families.iter().enumerate() {
                if !rule.is_about(table) {
                    continue;
                }
                for variant in rule.variants(&family.template) {
                    if let Some(selected) = selected(rule, family, variant, columns) {
                        select.extend(selected);
                        places.push((number, index));
                    }
                }
            }
        }
        if places.is_empty() {
            continue;
        }
        let sql = format!("SELECT {} FROM {}", select.join(", "), quoted(table));
        let rows: Vec<Row> = conn.query(sql).await?;
        for mut row in rows {
            let mut next = (0..row.len()).collect::<Vec<_>>().into_iter();
            let mut take = || row.take::<Option<Vec<u8>>, _>(next.next()?).flatten();
            let values = take().expect("an object is never NULL");
            let values: Values = serde_json::from_slice(&values).expect("MySQL writes JSON");
            for place in &places {
                let (name, path, guard, version) = (take(), take(), take(), take());
                let Some(name) = name else { continue };
                let rule = &rules[place.0];
                if let Some(path) = path {
                    let tag = tag(&path).filter(|_| rule.families[place.1].tagged);
                    let page = tag.unwrap_or_else(|| encoded(&path));
                    snapshot.pages.insert(page, (*place, name.clone()));
                }
                if let (Some(guard), Some(version)) = (guard, version) {
                    let guard = (guard, utf8(version));
                    snapshot.guards.insert((*place, name.clone()), guard);
                }
                let names = snapshot.entries.entry(*place).or_default();
                names
                    .entry(name)
                    .or_default()
                    .push(held(rule, values.clone()));
            }
        }
    }
    for content in snapshot.entries.values_mut().flat_map(BTreeMap::values_mut) {
        content.sort();
    }
    Ok(snapshot)
}

/// A path without its slash as a cache tag, if it can be one: docs/configuration.md, "Cache tags".
fn tag(path: &[u8]) -> Option<String> {
    let tag = path.get(1..)?;
    let allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    let can_be = tag.len() <= 256 && tag.iter().all(allowed);
    can_be.then(|| format!("#{}", String::from_utf8_lossy(tag)))
}

/// A path as viewers send it: docs/configuration.md, "Paths".
fn encoded(path: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in path.iter().enumerate() {
        let stays = match byte {
            b'%' => {
                let digits = path.get(at + 1..at + 3);
                digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
            }
            byte => byte.is_ascii_alphanumeric() || b"-_./;:@&=+,!$'()".contains(byte),
        };
        if stays {
            text.push(char::from(*byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

/// Whether an entry does not say what the rows say. Columns that were added since are not missed, unless the rule
/// reads them.
pub fn is_stale(stored: &[Values], now: &[Values], rule: &Rule, added: &[String]) -> bool {
    if stored.len() != now.len() {
        return true;
    }
    let reads = rule.reads();
    let may_lack = |name: &String| added.contains(name) && !reads.contains(&name.as_str());
    let is_of = |stored: &Values, now: &Values| {
        let mut now = now.clone();
        now.retain(|name, _| stored.contains_key(name) || !may_lack(name));
        now == *stored
    };
    let mut left: Vec<&Values> = now.iter().collect();
    let found = |stored: &Values| {
        let at = left.iter().position(|now| is_of(stored, now));
        at.map(|at| left.swap_remove(at)).is_some()
    };
    !stored.iter().all(found)
}

#[test]
fn an_entry_is_stale_if_it_says_something_else_than_the_rows() {
    let row = |pairs: &[(&str, &str)]| -> Values {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        pairs.iter().map(pair).collect()
    };
    let rule = Rule {
        name: String::new(),
        tables: Vec::new(),
        version: true,
        families: Vec::new(),
        fires: Fires::Always,
        table_wide: false,
        variants: Vec::new(),
        generation: false,
        cascade_from: None,
    };
    let stale = |stored: &[&Values], now: &[&Values], added: &[&str]| {
        let rows = |rows: &[&Values]| -> Content { rows.iter().copied().cloned().collect() };
        let added: Vec<String> = added.iter().map(|name| (*name).to_owned()).collect();
        is_stale(&rows(stored), &rows(now), &rule, &added)
    };
    let (one, two) = (&row(&[("id", "31")]), &row(&[("id", "32")]));
    let wider = &row(&[("id", "31"), ("c", "41")]);
    let versioned = &row(&[("id", "31"), ("ver", "41")]);
    assert!(!stale(&[], &[], &[]));
    assert!(!stale(&[one], &[one], &[]));
    assert!(stale(&[one], &[two], &[]));
    assert!(stale(&[one], &[], &[]));
    assert!(stale(&[one], &[one, two], &[]));
    assert!(stale(&[one], &[wider], &[]));
    assert!(!stale(&[one], &[wider], &["c"]));
    assert!(
        !stale(&[one, wider], &[wider, wider], &["c"]),
        "of two tables"
    );
    assert!(stale(&[wider], &[one], &["c"]), "dropped");
    assert!(stale(&[one], &[versioned], &["ver"]), "the rule reads it");
}

#[test]
fn paths_are_encoded_as_viewers_send_them() {
    assert_eq!(
        encoded("/p/größe ~?*a%41%x".as_bytes()),
        "/p/gr%C3%B6%C3%9Fe%20%7E%3F%2Aa%41%25x"
    );
}
