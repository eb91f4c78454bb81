//! `distributions`, `tenant`, `edge_tags` and `expand` of a rule.

use std::sync::Arc;

use toml::Spanned;

use super::error::ConfigError;
use super::raw;
use super::structures::RuleField;
use crate::model::edge_item::{check_tag, push_tag};
use crate::model::invalidation::Distributions;
use crate::rules::expand::Expand;
use crate::rules::suggestion;
use crate::rules::template::{Template, TemplatePart};

/// `expand`
pub(super) fn expand(raw: &raw::RawRule, place: &RuleField<'_>) -> Result<Expand, ConfigError> {
    let Some(variables) = &raw.expand else {
        return Ok(Expand::default());
    };
    Expand::new(variables.get_ref().clone(), place.lines.of(variables))
        .map_err(|reason| place.error(variables, reason))
}

/// Refuses a variable that no template has.
pub(super) fn all_used<'t>(
    expand: &Expand,
    templates: impl Iterator<Item = &'t Template> + Clone,
    place: &RuleField<'_>,
) -> Result<(), ConfigError> {
    let unused = expand.names().find(|name| {
        !templates
            .clone()
            .any(|template| Expand::reads(template, name))
    });
    match unused {
        None => Ok(()),
        Some(name) => Err(place.error_in(
            expand.line,
            format!(
                "expand: no template has a `{{{name}}}`: variables stand in `keys`, `paths`, \
                 `edge_tags` and the keys of `cascade_from`"
            ),
        )),
    }
}

/// Every variant of every template.
pub(super) fn variants(
    expand: &Expand,
    templates: &[Template],
    place: &RuleField<'_>,
) -> Result<Vec<Template>, ConfigError> {
    let mut out = Vec::with_capacity(templates.len());
    for template in templates {
        let variants = expand.variants(template);
        let variants = variants.map_err(|reason| place.error_in(template.line, reason))?;
        out.extend(variants);
    }
    Ok(out)
}

/// Refuses texts that cannot stand in a tag.
pub(super) fn check_tags(tags: &[Template], place: &RuleField<'_>) -> Result<(), ConfigError> {
    for tag in tags {
        for (index, part) in tag.parts.iter().enumerate() {
            let TemplatePart::Literal(bytes) = part else {
                continue;
            };
            let reason = match check_tag(bytes) {
                Err(reason) => reason.to_string(),
                Ok(()) if index == 0 && bytes.starts_with(b"#") => {
                    "CloudFront's `#` is put before it: leave it out".to_owned()
                }
                Ok(()) => continue,
            };
            let message = format!("edge tag \"{}\": {reason}", tag.text);
            return Err(place.error_in(tag.line, message));
        }
    }
    Ok(())
}

/// `table_wide.edge_tags`: tags, not templates.
pub(super) fn wide_tag(text: &str) -> Result<String, String> {
    let error = |reason: String| format!("table_wide: edge tag \"{text}\": {reason}");
    if text.starts_with('#') {
        return Err(error(
            "CloudFront's `#` is put before it: leave it out".to_owned(),
        ));
    }
    let mut out = String::new();
    push_tag(text.as_bytes(), &mut out)
        .map(|()| out)
        .map_err(|reason| error(reason.to_string()))
}

/// The tags that are sent for a whole table where the rule does not name any. A
/// tag that depends on the row has no wildcard, so that the rule has to name what
/// stands for it (Over, never under).
pub(super) fn tags_of_all_rows(
    tags: &[Template],
    place: &RuleField<'_>,
) -> Result<Vec<String>, ConfigError> {
    let mut out = Vec::new();
    for tag in tags {
        let mut item = String::new();
        match tag.parts.as_slice() {
            [TemplatePart::Literal(text)] => push_tag(text, &mut item).map_err(|reason| {
                place.error_in(tag.line, format!("edge tag \"{}\": {reason}", tag.text))
            })?,
            _ => {
                return Err(place.error_in(
                    tag.line,
                    format!(
                        "edge tag \"{}\" has no wildcard for all rows: say in `table_wide` what \
                         covers them, with `paths` (\"/*\" is everything) or with `edge_tags` that \
                         every such page has",
                        tag.text
                    ),
                ));
            }
        }
        out.push(item);
    }
    out.sort();
    out.dedup();
    Ok(out)
}

/// `distributions` and `tenant`. `configured` names all distributions.
pub(super) fn target(
    raw: &raw::RawRule,
    configured: &[&str],
    place: &RuleField<'_>,
) -> Result<(Option<Distributions>, Option<Template>), ConfigError> {
    let sends = !raw.paths.is_empty() || !raw.edge_tags.is_empty();
    let distributions = match &raw.distributions {
        None => None,
        Some(names) if !sends => {
            return Err(place.error(
                names,
                "`distributions` has no effect without `paths` or `edge_tags`",
            ));
        }
        Some(names) if names.get_ref().is_empty() => {
            return Err(place.error(
                names,
                "`distributions` is empty: name some, or leave it out for all of them",
            ));
        }
        Some(names) => Some(distributions(names.get_ref(), configured, place)?),
    };
    let Some(text) = &raw.tenant else {
        return Ok((distributions, None));
    };
    if !sends {
        return Err(place.error(
            text,
            "`tenant` has no effect without `paths` or `edge_tags`",
        ));
    }
    let count = distributions
        .as_ref()
        .map_or(configured.len(), |names| names.len());
    if count > 1 {
        return Err(place.error(
            text,
            "a tenant belongs to one distribution: name it, as in `distributions = [\"main\"]`",
        ));
    }
    Ok((distributions, Some(place.template(text)?)))
}

fn distributions(
    names: &[Spanned<String>],
    configured: &[&str],
    place: &RuleField<'_>,
) -> Result<Distributions, ConfigError> {
    let mut out: Vec<Arc<str>> = Vec::with_capacity(names.len());
    for name in names {
        let text = name.get_ref().as_str();
        if !configured.contains(&text) {
            let hint = suggestion(text, configured.iter().copied());
            return Err(place.error(
                name,
                format!("no [[cloudfront.distribution]] is called \"{text}\"{hint}",),
            ));
        }
        if out.iter().any(|known| **known == *text) {
            return Err(place.error(name, format!("`distributions` has \"{text}\" twice")));
        }
        out.push(text.into());
    }
    Ok(out.into())
}
