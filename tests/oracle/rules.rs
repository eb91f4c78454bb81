//! Rules, and what applications build from the rows behind them.

use super::columns::Type;
use super::draw::Draw;
use super::schema::{Key, Schema, Table};

/// A column in a template, with filters. What each means in SQL is in [`super::names`].
#[derive(Clone, Debug)]
pub struct Placeholder {
    pub column: String,
    pub filters: Vec<&'static str>,
}

/// `prefix{column|filter}:{column}`.
#[derive(Clone, Debug)]
pub struct Template {
    pub prefix: String,
    pub placeholders: Vec<Placeholder>,
}

/// What an application keeps under a name.
#[derive(Clone, Debug)]
pub enum Shape {
    Plain,
    /// The version is part of the name: names of before are not asked for.
    Versioned,
    /// Stored by `lua/fill.lua`, under the guard that this renders.
    Guarded(Template),
    /// The name is a tag's: its set names the entry.
    Tag,
    /// A field of the hash of this name.
    Field(String),
}

/// Entries of one template.
#[derive(Clone, Debug)]
pub struct Family {
    pub shape: Shape,
    pub template: Template,
    /// The pages that are built from these entries.
    pub path: Option<Template>,
}

/// When a rule fires, and so what its entries may hold.
#[derive(Clone, Debug)]
pub enum Fires {
    Always,
    /// `changed`: entries hold these columns and no others.
    Changed(Vec<String>),
    /// The same, written as a condition.
    Differs(Vec<String>),
    /// A condition: entries hold rows whose column is above this.
    Above(String, i32),
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    /// Globs, without the database.
    pub tables: Vec<String>,
    pub version: bool,
    pub families: Vec<Family>,
    pub fires: Fires,
    /// Whether globs are written out.
    pub table_wide: bool,
}

impl Template {
    fn new(prefix: String, placeholders: Vec<Placeholder>) -> Self {
        Self {
            prefix,
            placeholders,
        }
    }

    /// As the configuration has it.
    fn text(&self) -> String {
        let placeholder = |one: &Placeholder| {
            let filters: String = one.filters.iter().map(|name| format!("|{name}")).collect();
            format!("{{{}{filters}}}", one.column)
        };
        let parts: Vec<String> = self.placeholders.iter().map(placeholder).collect();
        format!("'{}{}'", self.prefix, parts.join(":"))
    }

    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.placeholders.iter().map(|one| one.column.as_str())
    }
}

/// What a table and all others that a rule is about have in common.
fn common<'t>(tables: &[&'t Table]) -> Vec<(&'t str, Type, bool)> {
    let (first, others) = tables.split_first().expect("there is a table");
    let columns = first.columns.iter().filter(|column| {
        column.of != Type::Json
            && others.iter().all(|table| {
                let mut same = table.columns.iter();
                same.any(|other| other.name == column.name && other.of == column.of)
            })
    });
    columns
        .map(|column| (column.name.as_str(), column.of, column.not_null))
        .collect()
}

fn filters(draw: &mut Draw, of: Type, not_null: bool) -> Vec<&'static str> {
    let mut filters = Vec::new();
    let text = matches!(of, Type::Varchar | Type::Text | Type::Latin1 | Type::Enum);
    // Not `upper`: of `ß` MySQL and Unicode make different things.
    if text && draw.percent(20) {
        filters.push("lower");
    }
    if matches!(of, Type::Binary | Type::Varbinary) && draw.percent(50) {
        filters.push("hex");
    }
    if draw.percent(20) {
        filters.push(*draw.pick(&["crc32", "hex"]));
    }
    if !not_null && draw.percent(50) {
        filters.push("default(\"none\")");
    }
    filters
}

/// Of a table's key, each column once.
fn key(tables: &[&Table]) -> Vec<Placeholder> {
    let composite = tables.iter().all(|table| table.key == Key::Composite);
    let columns: &[&str] = if composite { &["id", "part"] } else { &["id"] };
    let plain = |column: &&str| Placeholder {
        column: (*column).to_owned(),
        filters: Vec::new(),
    };
    columns.iter().map(plain).collect()
}

fn placeholders(draw: &mut Draw, tables: &[&Table]) -> Vec<Placeholder> {
    let columns = common(tables);
    let mut all = Vec::new();
    if columns.is_empty() || draw.percent(60) {
        all = key(tables);
    }
    if !columns.is_empty() && (all.is_empty() || draw.percent(60)) {
        for (name, of, not_null) in draw.some(&columns, 2) {
            all.push(Placeholder {
                column: name.to_owned(),
                filters: filters(draw, of, not_null),
            });
        }
    }
    all
}

impl Rule {
    pub fn draw(draw: &mut Draw, number: usize, schema: &Schema, edge: bool) -> Self {
        let globs = draw.percent(20);
        let tables = if globs {
            vec![(*draw.pick(&["t*", "*", "t?", "T?", "*e*"])).to_owned()]
        } else {
            let names: Vec<String> = schema
                .tables
                .iter()
                .map(|table| table.name.clone())
                .collect();
            draw.some(&names, 2)
        };
        let about = |table: &&Table| tables.iter().any(|glob| matches(glob, &table.name));
        let mut matched: Vec<&Table> = schema.tables.iter().filter(about).collect();
        let mut tables = tables;
        if matched.is_empty() {
            // A glob that matches nothing is refused.
            matched = vec![draw.pick(&schema.tables)];
            tables = vec![matched[0].name.clone()];
        }
        let unique = matched.iter().all(|table| table.key != Key::None)
            && (matched.len() == 1 && tables[0] == matched[0].name);
        let version = matched.iter().all(|table| table.version) && draw.percent(70);
        let mut families = Vec::new();
        for index in 0..1 + draw.below(2) {
            let prefix = format!("r{number}k{index}:");
            let shape = draw.weighted(&[(6, 0), (2, 1), (2, 2), (1, 3), (1, 4)]);
            let mut placeholders = placeholders(draw, &matched);
            let shape = match shape {
                1 if version => {
                    if draw.percent(70) {
                        placeholders = key(&matched);
                    }
                    placeholders.push(Placeholder {
                        column: "ver".to_owned(),
                        filters: Vec::new(),
                    });
                    Shape::Versioned
                }
                2 if version && unique && index == 0 => {
                    placeholders = key(&matched);
                    let guard = Template::new(format!("r{number}g:"), key(&matched));
                    Shape::Guarded(guard)
                }
                3 => Shape::Tag,
                4 => Shape::Field(format!("r{number}h{index}")),
                _ => Shape::Plain,
            };
            let paths = matches!(shape, Shape::Plain | Shape::Guarded(_)) && edge;
            let path = (paths && draw.percent(70))
                .then(|| Template::new(format!("/r{number}p{index}/"), placeholders.clone()));
            families.push(Family {
                shape,
                template: Template::new(prefix, placeholders),
                path,
            });
        }
        let guarded = families
            .iter()
            .any(|family| matches!(family.shape, Shape::Guarded(_)));
        let fires = if version || guarded {
            Fires::Always
        } else {
            Fires::draw(draw, &families, &matched)
        };
        Self {
            name: format!("rule {number}"),
            tables,
            version,
            families,
            fires,
            table_wide: draw.percent(20),
        }
    }

    pub fn is_about(&self, table: &str) -> bool {
        self.tables.iter().any(|glob| matches(glob, table))
    }

    pub fn has_glob(&self) -> bool {
        self.tables.iter().any(|glob| glob.contains(['*', '?']))
    }

    /// The columns that it reads.
    pub fn reads(&self) -> Vec<&str> {
        let families = self.families.iter();
        let mut all: Vec<&str> = families
            .flat_map(|family| family.template.columns())
            .collect();
        match &self.fires {
            Fires::Always => {}
            Fires::Changed(columns) | Fires::Differs(columns) => {
                all.extend(columns.iter().map(String::as_str));
            }
            Fires::Above(column, _) => all.push(column),
        }
        if self.version {
            all.push("ver");
        }
        all
    }

    /// As the configuration has it.
    pub fn toml(&self, database: &str) -> String {
        let list = |all: Vec<String>| format!("[{}]", all.join(", "));
        let tables = self
            .tables
            .iter()
            .map(|glob| format!("'{database}.{glob}'"));
        let mut toml = format!(
            "\n[[rule]]\nname = '{}'\ntables = {}\n",
            self.name,
            list(tables.collect())
        );
        if self.version {
            toml += "version = 'ver'\n";
        }
        let (mut keys, mut tags, mut fields, mut paths) = (vec![], vec![], vec![], vec![]);
        for family in &self.families {
            let text = family.template.text();
            match &family.shape {
                Shape::Plain | Shape::Versioned => keys.push(text),
                Shape::Guarded(guard) => {
                    keys.push(text);
                    toml += &format!("guard = {{ key = {}, ttl = '1h' }}\n", guard.text());
                }
                Shape::Tag => tags.push(text),
                Shape::Field(key) => fields.push(format!("{{ key = '{key}', field = {text} }}")),
            }
            paths.extend(family.path.as_ref().map(Template::text));
        }
        match &self.fires {
            Fires::Always => {}
            Fires::Changed(columns) => {
                let columns = columns.iter().map(|name| format!("'{name}'"));
                toml += &format!("changed = {}\n", list(columns.collect()));
            }
            Fires::Differs(columns) => {
                let differ = columns
                    .iter()
                    .map(|name| format!("before[\"{name}\"] != after[\"{name}\"]"));
                let differ: Vec<String> = differ.collect();
                toml += &format!("when = '''op != 'update' || {}'''\n", differ.join(" || "));
            }
            Fires::Above(column, above) => {
                toml += &format!(
                    "when = '''(op != 'insert' && before[\"{column}\"] > {above}) || (op != 'delete' && after[\"{column}\"] > {above})'''\n"
                );
            }
        }
        for (name, all) in [
            ("keys", keys),
            ("tag_sets", tags),
            ("hash_fields", fields),
            ("paths", paths),
        ] {
            if !all.is_empty() {
                toml += &format!("{name} = {}\n", list(all));
            }
        }
        toml + &self.table_wide_toml()
    }

    fn table_wide_toml(&self) -> String {
        let plain = |family: &Family| {
            family.path.is_none() && !matches!(family.shape, Shape::Tag | Shape::Field(_))
        };
        if !self.table_wide || !self.families.iter().all(plain) {
            return String::new();
        }
        let globs = self.families.iter();
        let globs: Vec<String> = globs
            .map(|family| format!("'{}*'", family.template.prefix))
            .collect();
        format!("table_wide = {{ keys = [{}] }}\n", globs.join(", "))
    }
}

impl Fires {
    fn draw(draw: &mut Draw, families: &[Family], tables: &[&Table]) -> Self {
        let kind = draw.weighted(&[(6, 0), (1, 1), (1, 2), (1, 3)]);
        let columns = common(tables);
        let mut of: Vec<String> = families
            .iter()
            .flat_map(|family| family.template.columns().map(str::to_owned))
            .collect();
        if let Some((name, _, _)) = columns.first() {
            of.push((*name).to_owned());
        }
        of.sort();
        of.dedup();
        let integer = columns.iter().find(|(_, of, _)| *of == Type::Int);
        match (kind, integer) {
            (1, _) => Self::Changed(of),
            (2, _) => Self::Differs(of),
            (3, Some((name, _, _))) => Self::Above((*name).to_owned(), 1),
            _ => Self::Always,
        }
    }
}

/// Whether a glob matches a name: `*` any run of characters, `?` one.
pub fn matches(glob: &str, name: &str) -> bool {
    let mut glob_chars = glob.chars();
    match glob_chars.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = glob_chars.as_str();
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            let mut ends = ends.map(|at| &name[at..]);
            ends.any(|tail| matches(rest, tail))
        }
        Some(c) => {
            let mut name_chars = name.chars();
            name_chars
                .next()
                .is_some_and(|first| c == '?' || c == first)
                && matches(glob_chars.as_str(), name_chars.as_str())
        }
    }
}

#[test]
fn globs_match_like_a_shells() {
    for (glob, name, is) in [
        ("t*", "t1", true),
        ("t*", "T1", false),
        ("*e*", "größe", true),
        ("t?", "t1", true),
        ("t?", "t", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(glob, name), is, "{glob} {name}");
    }
}
