//! `[[path]]` and `[[rule]]`, checked as far as no server is needed.

use std::collections::HashSet;

use toml::Spanned;

use super::error::{ConfigError, Lines};
use super::structures::RuleField;
use super::{raw, structures, target};
use crate::model::Op;
use crate::model::invalidation::PathClass;
use crate::model::path;
use crate::rules::condition::Condition;
use crate::rules::glob::TableGlob;
use crate::rules::path_class::PathPattern;
use crate::rules::rule::{CascadeFrom, ColumnRef, Rule};
use crate::rules::table_wide::{TableWide, escape_glob};
use crate::rules::template::Template;

pub(super) fn path_patterns(
    raw: &[raw::RawPathPattern],
    lines: &Lines<'_>,
) -> Result<Vec<PathPattern>, ConfigError> {
    let mut seen = HashSet::new();
    raw.iter()
        .map(|path| {
            let line = lines.of(&path.pattern);
            let text = path.pattern.get_ref().clone();
            if text.is_empty() {
                return Err(ConfigError::at(line, "a [[path]] has an empty pattern"));
            }
            if !seen.insert(text.clone()) {
                return Err(ConfigError::at(
                    line,
                    format!(
                        "[[path]] \"{text}\" can never match: the same pattern stands before it"
                    ),
                ));
            }
            let class = match path.class {
                raw::RawPathClass::Strong => PathClass::Strong,
                raw::RawPathClass::Immutable => PathClass::Immutable,
                raw::RawPathClass::ShortTtl => PathClass::ShortTtl,
                raw::RawPathClass::Cached => PathClass::Cached,
            };
            Ok(PathPattern { text, class, line })
        })
        .collect()
}

pub(super) fn rules(
    raw: Vec<Spanned<raw::RawRule>>,
    key_prefix: &str,
    distributions: &[&str],
    lines: &Lines<'_>,
) -> Result<Vec<Rule>, ConfigError> {
    if raw.is_empty() {
        return Err(ConfigError::at(
            1,
            "there is no [[rule]]: add at least one with `name`, `tables`, and `keys` or `paths`",
        ));
    }
    let mut names = HashSet::new();
    let mut rules = Vec::new();
    for spanned in raw {
        let line = lines.of(&spanned);
        let rule = rule(spanned.into_inner(), key_prefix, distributions, line, lines)?;
        if !names.insert(std::sync::Arc::clone(&rule.name)) {
            return Err(ConfigError::at(
                line,
                format!("two rules are called \"{}\"", rule.name),
            ));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(
    raw: raw::RawRule,
    key_prefix: &str,
    configured: &[&str],
    line: usize,
    lines: &Lines<'_>,
) -> Result<Rule, ConfigError> {
    let name = raw.name.get_ref().clone();
    let in_rule = |message: String| format!("rule \"{name}\": {message}");
    if name.is_empty() {
        return Err(ConfigError::at(
            lines.of(&raw.name),
            "a rule has an empty name",
        ));
    }
    if raw.tables.is_empty() {
        return Err(ConfigError::at(
            line,
            in_rule("`tables` is empty".to_owned()),
        ));
    }
    let deletes = !raw.keys.is_empty() || !raw.tag_sets.is_empty() || !raw.hash_fields.is_empty();
    let sends = !raw.paths.is_empty() || !raw.edge_tags.is_empty();
    if !deletes && !sends && raw.guard.is_none() {
        return Err(ConfigError::at(
            line,
            in_rule(
                "it invalidates nothing: add `keys`, `paths`, `edge_tags`, `tag_sets`, `hash_fields` or `guard`"
                    .to_owned(),
            ),
        ));
    }
    let place = RuleField { rule: &name, lines };
    let version = raw.version.as_ref().map(|column| column.get_ref().as_str());
    let guard = raw
        .guard
        .as_ref()
        .map(|guard| structures::guard(guard, version, &place))
        .transpose()?;
    let tag_sets = structures::tag_sets(&raw.tag_sets, key_prefix, &place)?;
    let hash_fields = structures::hash_fields(&raw.hash_fields, &place)?;
    let channel = structures::channel(raw.publish.as_ref(), deletes, &place)?;
    let tables = collect(&raw.tables, lines, TableGlob::parse, in_rule)?;
    let (distributions, tenant) = target::target(&raw, configured, &place)?;
    let expand = target::expand(&raw, &place)?;
    let key_templates = collect(&raw.keys, lines, Template::parse, in_rule)?;
    let path_templates = collect(&raw.paths, lines, Template::parse, in_rule)?;
    let tag_templates = collect(&raw.edge_tags, lines, Template::parse, in_rule)?;
    let keys = target::variants(&expand, &key_templates, &place)?;
    let paths = target::variants(&expand, &path_templates, &place)?;
    let edge_tags = target::variants(&expand, &tag_templates, &place)?;
    for path in &paths {
        path.check_path()
            .map_err(|reason| ConfigError::at(path.line, in_rule(reason)))?;
    }
    target::check_tags(&edge_tags, &place)?;
    let when = match &raw.when {
        None => None,
        Some(when) => {
            let condition = Condition::compile(when.get_ref())
                .map_err(|reason| ConfigError::at(lines.of(when), in_rule(reason)))?;
            Some((condition, lines.of(when)))
        }
    };
    let on = match raw.on {
        None => vec![Op::Insert, Op::Update, Op::Delete],
        Some(on) if on.get_ref().is_empty() => {
            return Err(ConfigError::at(
                lines.of(&on),
                in_rule("`on` is empty".to_owned()),
            ));
        }
        Some(on) => on
            .into_inner()
            .into_iter()
            .map(|op| match op {
                raw::RawOp::Insert => Op::Insert,
                raw::RawOp::Update => Op::Update,
                raw::RawOp::Delete => Op::Delete,
            })
            .collect(),
    };
    let column = |name: &Spanned<String>| ColumnRef {
        name: name.get_ref().clone(),
        line: lines.of(name),
    };
    let wide = raw.table_wide.unwrap_or_default();
    let generation = wide
        .generation
        .map(|key| match key.get_ref().as_str() {
            "" => Err(ConfigError::at(
                lines.of(&key),
                in_rule("table_wide: `generation` is empty".to_owned()),
            )),
            text => Ok(format!("{key_prefix}{text}").into_bytes()),
        })
        .transpose()?;
    let default = if generation.is_some() {
        // It stands for all that the rule has in Redis.
        TableWide::from_templates(key_prefix.as_bytes(), &[], &paths)
    } else {
        let hashes = hash_fields.iter().map(|hash| &hash.key);
        // Key templates before they are expanded, so that variables are `*`
        // too: each glob visits the whole keyspace.
        let all: Vec<Template> = key_templates.iter().chain(hashes).cloned().collect();
        TableWide {
            tag_sets: structures::default_wide_tag_sets(&tag_sets, key_prefix),
            ..TableWide::from_templates(key_prefix.as_bytes(), &all, &paths)
        }
    };
    let table_wide = TableWide {
        generation,
        keys: match &wide.keys {
            Some(keys) => collect(keys, lines, |text, _| wide_key(text, key_prefix), in_rule)?,
            None => default.keys,
        },
        tag_sets: match &wide.tag_sets {
            Some(sets) => structures::wide_tag_sets(sets, key_prefix, &place)?,
            None => default.tag_sets,
        },
        edge_tags: match (&wide.edge_tags, &wide.paths) {
            (Some(tags), _) => collect(tags, lines, |text, _| target::wide_tag(text), in_rule)?,
            // Paths stand for tags too.
            (None, Some(paths)) if !paths.is_empty() => Vec::new(),
            (None, _) => target::tags_of_all_rows(&edge_tags, &place)?,
        },
        paths: match &wide.paths {
            Some(paths) => collect(paths, lines, |text, _| wide_path(text), in_rule)?,
            None => default.paths,
        },
        ..default
    };
    let mut cascade_keys = Vec::new();
    let mut cascade_from = Vec::new();
    for cascade in &raw.cascade_from {
        let line = lines.of(&cascade.table);
        let table = TableGlob::parse(cascade.table.get_ref(), line)
            .map_err(|reason| ConfigError::at(line, in_rule(reason)))?;
        let templates = collect(&cascade.keys, lines, Template::parse, in_rule)?;
        let keys = target::variants(&expand, &templates, &place)?;
        cascade_from.push(CascadeFrom { table, keys });
        cascade_keys.extend(templates);
    }
    let templates = [
        &key_templates,
        &path_templates,
        &tag_templates,
        &cascade_keys,
    ];
    target::all_used(&expand, templates.into_iter().flatten(), &place)?;
    Ok(Rule {
        cascade_from,
        changed: raw.changed.iter().map(column).collect(),
        version: raw.version.as_ref().map(column),
        name: name.as_str().into(),
        line,
        tables,
        on,
        when,
        keys,
        tag_sets,
        hash_fields,
        guard,
        channel,
        paths,
        edge_tags,
        tenant,
        distributions,
        expand,
        table_wide,
    })
}

/// Parses each text of a list; an error has the line of its text.
fn collect<T>(
    texts: &[Spanned<String>],
    lines: &Lines<'_>,
    parse: impl Fn(&str, usize) -> Result<T, String>,
    in_rule: impl Fn(String) -> String,
) -> Result<Vec<T>, ConfigError> {
    texts
        .iter()
        .map(|text| {
            let line = lines.of(text);
            parse(text.get_ref(), line).map_err(|reason| ConfigError::at(line, in_rule(reason)))
        })
        .collect()
}

fn wide_key(text: &str, key_prefix: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Err("table_wide: a key glob is empty".to_owned());
    }
    let mut glob = escape_glob(key_prefix.as_bytes());
    glob.extend_from_slice(text.as_bytes());
    Ok(glob)
}

fn wide_path(text: &str) -> Result<String, String> {
    let mut out = String::new();
    if !text.starts_with('/') {
        return Err(format!("table_wide: path \"{text}\" must begin with `/`"));
    }
    path::encode(text.as_bytes(), true, &mut out)
        .map(|()| out)
        .map_err(|reason| format!("table_wide: path \"{text}\": {reason}"))
}
