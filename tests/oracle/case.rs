//! One case: what is there, what is cached, and what happens.

use std::fmt;

use super::dml;
use super::draw::Draw;
use super::edge::place_of_page;
use super::fates::{Has, MysqlFate};
use super::rules::{Family, Fires, Rule, Shape, Template};
use super::schema::{Key, Schema};
use super::settings::Settings;
use super::snapshot::Place;
use super::steps::{Statement, Step, Steps, Without};
use super::topology::Topology;

/// How often evictd gets quiet in a case.
const QUIET: usize = 4;

#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub settings: Settings,
    /// As it is at first.
    pub schema: Schema,
    pub first_rows: Vec<Statement>,
    pub rules: Vec<Rule>,
    /// Whether there are paths and CloudFront.
    pub edge: bool,
    pub topology: Topology,
    pub steps: Vec<Step>,
    /// Columns that a shrunk case does without.
    pub without: Without,
}

impl Case {
    pub fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let settings = Settings::draw(&mut draw);
        let schema = Schema::draw(&mut draw, settings.native_foreign_keys);
        let edge = draw.percent(50);
        let topology = Topology::draw(&mut draw);
        let rules = 2 + draw.below(4);
        let rules: Vec<Rule> = (0..rules)
            .map(|number| Rule::draw(&mut draw, number, &schema, edge))
            .collect();
        let mut first_rows = Vec::new();
        for table in &schema.tables {
            first_rows.extend(dml::first_rows(&mut draw, table));
        }
        let minimal = settings.row_metadata == "MINIMAL";
        let has = Has {
            gtid: settings.gtid,
            edge,
            topology: &topology,
            rules: &rules,
        };
        let mut steps = Steps::new(schema.clone(), minimal, has);
        for _ in 0..2 + draw.below(QUIET - 1) {
            steps.round(&mut draw);
        }
        Self {
            seed,
            settings,
            schema,
            first_rows,
            steps: steps.end(),
            rules,
            edge,
            topology,
            without: Without::new(),
        }
    }

    /// What makes the tables.
    pub fn setup(&self) -> Vec<String> {
        let mut schema = self.schema.clone();
        for table in &mut schema.tables {
            let name = table.name.clone();
            table
                .columns
                .retain(|column| !self.without.contains(&(name.clone(), column.name.clone())));
        }
        let rows = self.first_rows.iter();
        let rows = rows.map(|statement| statement.sql(&self.without));
        schema.sql().into_iter().chain(rows).collect()
    }

    /// Whether row images may lack what a family's names are made of, so that it widens. Tables get each other's names.
    pub fn lacks_columns(&self, rule: &Rule, family: &Family) -> bool {
        let switched = |step: &Step| matches!(step, Step::Mysql(MysqlFate::Set(setting)) if setting.ends_with("MINIMAL"));
        if self.settings.row_image == "FULL" && !self.steps.iter().any(switched) {
            return false;
        }
        let keys = |key: Key| -> &[&str] {
            match key {
                Key::Id => &["id"],
                Key::Composite => &["id", "part"],
                Key::None => &[],
            }
        };
        let is_lacking = |name: &str| {
            let tables = self.schema.tables.iter();
            let mut tables = tables.filter(|table| rule.is_about(&table.name));
            tables.any(|table| !keys(table.key).contains(&name))
        };
        let lacks = |family: &Family| family.reads().any(is_lacking);
        let mut families = rule.families.iter();
        // What cannot be compared counts as different.
        let asks = rule.fires.reads().any(is_lacking);
        let guarded = |family: &Family| matches!(family.shape, Shape::Guarded(_));
        // Of a guard the version is lacking, and then all of the rule is meant, as with a generation.
        asks || lacks(family)
            || families.clone().any(guarded)
            || (rule.generation && families.any(lacks))
    }

    /// Which rule and family have paths like this one.
    pub fn place_of(&self, path: &str) -> Option<Place> {
        let rules = self.rules.iter().enumerate();
        let mut families = rules.flat_map(|(number, rule)| {
            let families = rule.families.iter().enumerate();
            families.map(move |(index, family)| ((number, index), &family.path))
        });
        let path = place_of_page(path);
        let is_of = |template: &Template| path.starts_with(&template.prefix);
        let found = families.find(|(_, template)| template.as_ref().is_some_and(is_of));
        found.map(|(place, _)| place)
    }

    /// What was drawn, for the table of a run.
    pub fn kinds(&self) -> Vec<(&'static str, String)> {
        let mut kinds: Vec<(&'static str, String)> = Vec::new();
        let settings = self.settings.kinds().into_iter();
        kinds.extend(settings.map(|kind| ("setting", kind)));
        let topology = self.topology.kinds(self.edge).into_iter();
        kinds.extend(topology.map(|kind| ("topology", kind)));
        for table in &self.schema.tables {
            kinds.push(("table", format!("key {:?}", table.key)));
            let has = [
                (table.version, "version"),
                (table.partitioned, "partitions"),
                (table.parent.is_some(), "foreign key"),
                (table.trigger.is_some(), "triggers"),
                (
                    table.columns.iter().any(|column| column.invisible),
                    "invisible column",
                ),
                (
                    table
                        .columns
                        .iter()
                        .any(|column| column.generated.is_some()),
                    "generated column",
                ),
            ];
            let has = has.into_iter().filter(|(is, _)| *is);
            kinds.extend(has.map(|(_, name)| ("table", name.to_owned())));
            let columns = table.columns.iter();
            kinds.extend(columns.map(|column| ("column", format!("{:?}", column.of))));
        }
        for rule in &self.rules {
            kinds.push((
                "rule",
                match &rule.fires {
                    Fires::Always => "always".to_owned(),
                    Fires::Changed(_) => "changed".to_owned(),
                    Fires::Differs(_) => "condition: differs".to_owned(),
                    Fires::Above(..) => "condition: above".to_owned(),
                },
            ));
            if rule.has_glob() {
                kinds.push(("rule", "glob".to_owned()));
            }
            let has = [
                (rule.table_wide, "table_wide"),
                (rule.generation, "generation"),
                (rule.cascade_from.is_some(), "cascade_from"),
                (
                    rule.families.iter().any(|family| family.template.varies),
                    "expand",
                ),
            ];
            let has = has.into_iter().filter(|(is, _)| *is);
            kinds.extend(has.map(|(_, name)| ("rule", name.to_owned())));
            for family in &rule.families {
                kinds.push((
                    "rule",
                    match family.shape {
                        Shape::Plain => "plain key".to_owned(),
                        Shape::Versioned => "versioned key".to_owned(),
                        Shape::Guarded(_) => "guarded key".to_owned(),
                        Shape::Tag => "tag set".to_owned(),
                        Shape::Field(_) => "hash field".to_owned(),
                    },
                ));
                if family.path.is_some() {
                    let of = if family.tagged { "cache tag" } else { "path" };
                    kinds.push(("rule", of.to_owned()));
                }
            }
        }
        kinds.extend(self.steps.iter().map(|step| ("step", step.kind())));
        let late = self
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Change(change) if change.late));
        kinds.extend(late.map(|_| ("step", "with late fills".to_owned())));
        let held = self.steps.iter().filter_map(|step| match step {
            Step::Change(change) => change.held,
            _ => None,
        });
        kinds.extend(held.map(|held| ("step", format!("commit{}", held.told()))));
        kinds
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "settings: {}", self.settings.kinds().join(", "))?;
        writeln!(f, "topology: {}", self.topology.kinds(self.edge).join(", "))?;
        writeln!(f, "database {}:", self.schema.database)?;
        for sql in self.setup() {
            writeln!(f, "  {sql};")?;
        }
        writeln!(
            f,
            "rules{}:{}",
            if self.edge { ", with CloudFront" } else { "" },
            self.rules
                .iter()
                .map(|rule| rule.toml(&self.schema.database))
                .collect::<String>()
        )?;
        writeln!(f, "steps:")?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", number + 1)?;
        }
        if !self.without.is_empty() {
            writeln!(f, "without the columns {:?}", self.without)?;
        }
        Ok(())
    }
}
