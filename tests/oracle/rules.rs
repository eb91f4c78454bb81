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

/// `prefix{column|filter}:{column}`, or `prefix{variant}:{column}`.
#[derive(Clone, Debug)]
pub struct Template {
    pub prefix: String,
    /// Whether there is one text for each of the rule's variants.
    pub varies: bool,
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
    /// A field of the hash that this renders.
    Field(Template),
}

/// Entries of one template.
#[derive(Clone, Debug)]
pub struct Family {
    pub shape: Shape,
    pub template: Template,
    /// The pages that are built from these entries.
    pub path: Option<Template>,
    /// Its pages are invalidated by a cache tag: the path without its slash.
    pub tagged: bool,
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
    /// What `expand` lists.
    pub variants: Vec<&'static str>,
    /// Whether entries count for one generation only, the counter of this rule.
    pub generation: bool,
    /// The parent of the foreign key whose column is all that the one template has.
    pub cascade_from: Option<String>,
}

impl Template {
    fn new(prefix: String, placeholders: Vec<Placeholder>) -> Self {
        Self {
            prefix,
            varies: false,
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
        let variant = if self.varies { "{variant}:" } else { "" };
        format!("'{}{variant}{}'", self.prefix, parts.join(":"))
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

/// What applications make of a point in time whose sessions have a zone of their own.
pub const IN_ANOTHER_ZONE: &str = "date(\"%Y-%m-%d %H:%M:%S\", \"+05:30\")";

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
    if matches!(of, Type::Timestamp | Type::TimestampMicros) && draw.percent(60) {
        filters.push(IN_ANOTHER_ZONE);
    }
    if draw.percent(12) {
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
    columns.iter().map(|name| plain(name)).collect()
}

fn plain(column: &str) -> Placeholder {
    Placeholder {
        column: column.to_owned(),
        filters: Vec::new(),
    }
}

fn placeholders(draw: &mut Draw, tables: &[&Table]) -> Vec<Placeholder> {
    let columns = common(tables);
    let mut all = Vec::new();
    if columns.is_empty() || draw.percent(60) {
        all = key(tables);
    }
    if !columns.is_empty() && (all.is_empty() || draw.percent(75)) {
        for (name, of, not_null) in draw.some(&columns, 2) {
            all.push(Placeholder {
                column: name.to_owned(),
                filters: filters(draw, of, not_null),
            });
        }
    }
    all
}

impl Family {
    /// Another one of `rule`, whose others are drawn already.
    fn draw(
        draw: &mut Draw,
        [number, index]: [usize; 2],
        rule: &Rule,
        unique: bool,
        tables: &[&Table],
        edge: bool,
    ) -> Self {
        // A name with the version in it, or one that a guard is for, is one row's: see docs/limits.md.
        let if_versioned = |weight| if rule.version && unique { weight } else { 0 };
        let guards = if index == 0 { 5 } else { 0 };
        let shape = draw.weighted(&[
            (6, 0),
            (if_versioned(12), 1),
            (if_versioned(guards), 2),
            (2, 3),
            (2, 4),
        ]);
        let mut placeholders = placeholders(draw, tables);
        let shape = match shape {
            1 => {
                let others = std::mem::replace(&mut placeholders, key(tables));
                if draw.percent(40) {
                    let is_other = |one: &Placeholder| !matches!(&*one.column, "id" | "part");
                    placeholders.extend(others.into_iter().filter(is_other));
                }
                placeholders.push(plain("ver"));
                Shape::Versioned
            }
            2 => {
                placeholders = key(tables);
                Shape::Guarded(Template::new(format!("r{number}g:"), key(tables)))
            }
            3 => Shape::Tag,
            4 => {
                let of = if draw.percent(50) {
                    key(tables)
                } else {
                    Vec::new()
                };
                Shape::Field(Template::new(format!("r{number}h{index}:"), of))
            }
            _ => Shape::Plain,
        };
        let varies = !matches!(shape, Shape::Tag | Shape::Field(_)) && draw.percent(20);
        let paths = matches!(shape, Shape::Plain | Shape::Guarded(_)) && edge;
        let template = |prefix: String| Template {
            varies,
            ..Template::new(prefix, placeholders.clone())
        };
        let path = (paths && draw.percent(70)).then(|| template(format!("/r{number}p{index}/")));
        Self {
            template: template(format!("r{number}k{index}:")),
            tagged: path.is_some() && draw.percent(25),
            path,
            shape,
        }
    }

    /// The columns that its names are made of.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        let of = match &self.shape {
            Shape::Guarded(template) | Shape::Field(template) => Some(template),
            _ => None,
        };
        of.into_iter()
            .chain([&self.template])
            .flat_map(Template::columns)
    }
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
            let most = if draw.percent(60) { 1 } else { 2 };
            draw.some(&names, most)
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
        let mut rule = Self {
            name: format!("rule {number}"),
            version: matched.iter().all(|table| table.version) && draw.percent(80),
            tables,
            families: Vec::new(),
            fires: Fires::Always,
            table_wide: draw.percent(20),
            variants: vec!["en", "de"],
            generation: !edge && draw.percent(15),
            cascade_from: None,
        };
        if let ([table], false) = (matched.as_slice(), rule.has_glob())
            && let Some((parent, _)) = &table.parent
            && draw.percent(40)
        {
            rule.follow(number, parent);
            return rule;
        }
        for index in 0..1 + draw.below(3) {
            let family = Family::draw(draw, [number, index], &rule, unique, &matched, edge);
            rule.families.push(family);
        }
        let mut families = rule.families.iter();
        let guarded = families.any(|family| matches!(family.shape, Shape::Guarded(_)));
        if !rule.version && !guarded {
            rule.fires = Fires::draw(draw, &rule.families, &matched);
        }
        rule
    }

    /// Entries of all rows that refer to one, which go with it.
    fn follow(&mut self, number: usize, parent: &str) {
        self.version = false;
        self.cascade_from = Some(parent.to_owned());
        self.families = vec![Family {
            shape: Shape::Plain,
            template: Template::new(format!("r{number}o:"), vec![plain("owner")]),
            path: None,
            tagged: false,
        }];
    }

    pub fn is_about(&self, table: &str) -> bool {
        self.tables.iter().any(|glob| matches(glob, table))
    }

    /// What a template of it stands for: one text, or one for each variant.
    pub fn variants(&self, template: &Template) -> Vec<Option<&'static str>> {
        if template.varies {
            self.variants.iter().copied().map(Some).collect()
        } else {
            vec![None]
        }
    }

    /// The counter that entries' generation is read from.
    pub fn counter(&self) -> Option<String> {
        self.generation
            .then(|| format!("generation of {}", self.name))
    }

    pub fn has_paths(&self) -> bool {
        self.families.iter().any(|family| family.path.is_some())
    }

    pub fn has_glob(&self) -> bool {
        self.tables.iter().any(|glob| glob.contains(['*', '?']))
    }

    /// The columns that it reads.
    pub fn reads(&self) -> Vec<&str> {
        let families = self.families.iter();
        let mut all: Vec<&str> = families.flat_map(Family::reads).collect();
        all.extend(self.fires.reads());
        if self.version {
            all.push("ver");
        }
        all
    }

    /// As the configuration has it.
    pub fn toml(&self, database: &str) -> String {
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
        let (mut keys, mut tags, mut fields) = (vec![], vec![], vec![]);
        let (mut paths, mut edge_tags) = (vec![], vec![]);
        for family in &self.families {
            let text = family.template.text();
            match &family.shape {
                Shape::Plain | Shape::Versioned => keys.push(text),
                Shape::Guarded(guard) => {
                    keys.push(text);
                    toml += &format!("guard = {{ key = {}, ttl = '1h' }}\n", guard.text());
                }
                Shape::Tag => tags.push(text),
                Shape::Field(key) => {
                    fields.push(format!("{{ key = {}, field = {text} }}", key.text()));
                }
            }
            if let Some(path) = &family.path {
                if family.tagged {
                    edge_tags.push(path.text().replacen('/', "", 1));
                } else {
                    paths.push(path.text());
                }
            }
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
            ("edge_tags", edge_tags),
        ] {
            if !all.is_empty() {
                toml += &format!("{name} = {}\n", list(all));
            }
        }
        if self.families.iter().any(|family| family.template.varies) {
            let texts = self.variants.iter().map(|text| format!("'{text}'"));
            toml += &format!("expand = {{ variant = {} }}\n", list(texts.collect()));
        }
        if let (Some(parent), [family]) = (&self.cascade_from, self.families.as_slice()) {
            let key = Template {
                placeholders: vec![plain("id")],
                ..family.template.clone()
            };
            toml += &format!(
                "cascade_from = [{{ table = '{database}.{parent}', keys = [{}] }}]\n",
                key.text()
            );
        }
        toml + &self.table_wide_toml()
    }

    fn table_wide_toml(&self) -> String {
        let plain = |family: &Family| {
            family.path.is_none() && !matches!(family.shape, Shape::Tag | Shape::Field(_))
        };
        let wildcards = |prefixes: Vec<&String>| {
            let texts = prefixes.iter().map(|prefix| format!("'{prefix}*'"));
            list(texts.collect())
        };
        let mut fields = Vec::new();
        if let Some(counter) = self.counter() {
            fields.push(format!("generation = '{counter}'"));
        } else if self.table_wide && self.families.iter().all(plain) {
            let globs = self.families.iter();
            let globs = globs.map(|family| &family.template.prefix);
            fields.push(format!("keys = {}", wildcards(globs.collect())));
        }
        // No wildcard stands for tags.
        if self.families.iter().any(|family| family.tagged) {
            let paths = self
                .families
                .iter()
                .filter_map(|family| family.path.as_ref());
            let paths = paths.map(|path| &path.prefix);
            fields.push(format!("paths = {}", wildcards(paths.collect())));
        }
        if fields.is_empty() {
            return String::new();
        }
        format!("table_wide = {{ {} }}\n", fields.join(", "))
    }
}

impl Fires {
    /// The columns that decide.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        let columns = match self {
            Self::Always => &[],
            Self::Changed(columns) | Self::Differs(columns) => columns.as_slice(),
            Self::Above(column, _) => std::slice::from_ref(column),
        };
        columns.iter().map(String::as_str)
    }

    fn draw(draw: &mut Draw, families: &[Family], tables: &[&Table]) -> Self {
        let kind = draw.weighted(&[(6, 0), (1, 1), (1, 2), (1, 3)]);
        let columns = common(tables);
        let mut of: Vec<String> = families
            .iter()
            .flat_map(|family| family.reads().map(str::to_owned))
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

fn list(all: Vec<String>) -> String {
    format!("[{}]", all.join(", "))
}
