//! `guard`, `tag_sets`, `hash_fields` and `publish` of a rule.

use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::error::{ConfigError, Lines};
use super::{duration, raw};
use crate::rules::guard::Guard;
use crate::rules::structures::{HashField, TagSet, TagSetGlob};
use crate::rules::table_wide::{escape_glob, key_glob};
use crate::rules::template::{RowImage, Template};

/// Shortest `ttl`: a guard that expires during a fill refuses nothing.
const GUARD_TTL_MIN: Duration = Duration::from_secs(1);

/// Longest `ttl`: Redis adds it to its clock, which must not overflow.
const GUARD_TTL_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The rule that is being checked, for errors.
pub(super) struct RuleField<'p> {
    pub rule: &'p str,
    pub lines: &'p Lines<'p>,
}

impl RuleField<'_> {
    pub(super) fn error<T>(&self, at: &Spanned<T>, message: impl std::fmt::Display) -> ConfigError {
        self.error_in(self.lines.of(at), message)
    }

    pub(super) fn error_in(&self, line: usize, message: impl std::fmt::Display) -> ConfigError {
        ConfigError::at(line, format!("rule \"{}\": {message}", self.rule))
    }

    pub(super) fn template(&self, text: &Spanned<String>) -> Result<Template, ConfigError> {
        Template::parse(text.get_ref(), self.lines.of(text))
            .map_err(|reason| self.error(text, reason))
    }
}

pub(super) fn guard(
    raw: &raw::RawGuard,
    version: Option<&str>,
    place: &RuleField<'_>,
) -> Result<Guard, ConfigError> {
    let Some(version) = version else {
        return Err(place.error(
            &raw.key,
            "`guard` needs `version`: name the column that every update bumps",
        ));
    };
    let key = place.template(&raw.key)?;
    for placeholder in key.placeholders() {
        if placeholder.image != RowImage::Either {
            return Err(place.error(
                &raw.key,
                format!(
                    "guard \"{}\" names the row, before and after alike: write `{{{}}}`",
                    key.text, placeholder.column
                ),
            ));
        }
        if placeholder.column.eq_ignore_ascii_case(version) {
            return Err(place.error(
                &raw.key,
                format!(
                    "guard \"{}\" holds the version and cannot be named after it: leave `{{{}}}` out",
                    key.text, placeholder.column
                ),
            ));
        }
    }
    let text = raw.ttl.get_ref();
    let ttl = duration::parse(text).filter(|ttl| (GUARD_TTL_MIN..=GUARD_TTL_MAX).contains(ttl));
    let ttl = ttl.ok_or_else(|| {
        place.error(
            &raw.ttl,
            format!("guard: ttl = \"{text}\": write a duration from 1s to 366d, longer than any fill takes, such as \"1d\""),
        )
    })?;
    Ok(Guard { key, ttl })
}

pub(super) fn tag_sets(
    raw: &[Spanned<raw::RawTagSet>],
    key_prefix: &str,
    place: &RuleField<'_>,
) -> Result<Vec<TagSet>, ConfigError> {
    let set = |set: &Spanned<raw::RawTagSet>| {
        let raw = set.get_ref();
        let key = Template::parse(&raw.key, place.lines.of(set))
            .map_err(|reason| place.error(set, reason))?;
        let member_prefix = member_prefix(raw, key_prefix);
        Ok(TagSet { key, member_prefix })
    };
    raw.iter().map(set).collect()
}

fn member_prefix(raw: &raw::RawTagSet, key_prefix: &str) -> Vec<u8> {
    let own = raw.member_prefix.as_deref().unwrap_or_default();
    format!("{key_prefix}{own}").into_bytes()
}

/// `table_wide.tag_sets`: globs, not templates.
pub(super) fn wide_tag_sets(
    raw: &[Spanned<raw::RawTagSet>],
    key_prefix: &str,
    place: &RuleField<'_>,
) -> Result<Vec<TagSetGlob>, ConfigError> {
    let set = |set: &Spanned<raw::RawTagSet>| {
        let raw = set.get_ref();
        if raw.key.is_empty() {
            return Err(place.error(set, "table_wide: a glob of tag sets is empty"));
        }
        let mut glob = escape_glob(key_prefix.as_bytes());
        glob.extend_from_slice(raw.key.as_bytes());
        let member_prefix = member_prefix(raw, key_prefix);
        Ok(TagSetGlob {
            glob,
            member_prefix,
        })
    };
    raw.iter().map(set).collect()
}

/// The globs over tag sets where the rule has no `table_wide`.
pub(super) fn default_wide_tag_sets(sets: &[TagSet], key_prefix: &str) -> Vec<TagSetGlob> {
    let prefix = key_prefix.as_bytes();
    let glob = |set: &TagSet| TagSetGlob {
        glob: key_glob(prefix, &set.key),
        member_prefix: set.member_prefix.clone(),
    };
    let mut globs: Vec<_> = sets.iter().map(glob).collect();
    globs.sort();
    globs.dedup();
    globs
}

pub(super) fn hash_fields(
    raw: &[raw::RawHashField],
    place: &RuleField<'_>,
) -> Result<Vec<HashField>, ConfigError> {
    let field = |raw: &raw::RawHashField| {
        let key = place.template(&raw.key)?;
        let field = place.template(&raw.field)?;
        Ok(HashField { key, field })
    };
    raw.iter().map(field).collect()
}

pub(super) fn channel(
    raw: Option<&Spanned<String>>,
    deletes: bool,
    place: &RuleField<'_>,
) -> Result<Option<Arc<str>>, ConfigError> {
    match raw {
        None => Ok(None),
        Some(channel) if channel.get_ref().is_empty() => Err(place.error(
            channel,
            "`publish` is empty: name a channel, or leave it out",
        )),
        Some(channel) if !deletes => Err(place.error(
            channel,
            "`publish` has no effect: the rule deletes no `keys`, `tag_sets` or `hash_fields`",
        )),
        Some(channel) => Ok(Some(channel.get_ref().as_str().into())),
    }
}
