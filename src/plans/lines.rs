//! Plans as lines of text or JSON, and the dry run that prints them.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::record::{At, PlanPosition, Record, printable};
use crate::binlog::SourceError;
use crate::evict::tail::Tail;
use crate::model::edge_item::of_tenant;
use crate::model::invalidation::{Action, Plan, Widening};
use crate::model::{Op, RowChange, TableName};

/// The form in which plans are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a dry run ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// Changes are lost, and `source.on_gap` is `halt`.
    #[error(transparent)]
    Halted(#[from] SourceError),
    /// The plans cannot be written.
    #[error("plans cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Prints every plan to `out` until `shutdown` or the tail's end. Touches neither
/// cache nor buffer nor checkpoint.
pub async fn run(
    mut tail: Tail,
    out: impl Write,
    format: PlanFormat,
    shutdown: CancellationToken,
) -> Result<(), DryRunError> {
    let mut lines = PlanLines::new(out, format);
    while !shutdown.is_cancelled() && !tail.source().ended() {
        if !tail.connected() {
            tail.connect(&shutdown, &mut lines).await?;
            lines.flush()?;
            continue;
        }
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = tail.next() => next,
        };
        if let Ok(next) = next {
            let source = tail.source();
            let (file, offset) = source.reading();
            lines.place(&At {
                file,
                offset,
                gtid: source.gtid(),
                committed_at: source.committed_at(),
            });
            // A lost connection shows in `connected`.
            tail.plan(next, &mut lines, |change, lines| lines.begin(change))
                .await
                .ok();
            lines.flush()?;
        }
    }
    Ok(())
}

/// The part of one rule in the plan of one change.
#[derive(Debug, Default, Serialize)]
struct Line {
    position: PlanPosition,
    committed_at: Option<jiff::Timestamp>,
    table: Option<String>,
    op: Option<&'static str>,
    rule: String,
    cache: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guards: Vec<GuardItem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tag_sets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hash_fields: Vec<FieldItem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publish: Vec<String>,
    edge: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    distributions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A guard, and the version that it is raised to: as text, since it can exceed
/// the numbers of JSON readers.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct GuardItem {
    key: String,
    version: String,
}

/// A hash and a field of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct FieldItem {
    key: String,
    field: String,
}

impl fmt::Display for GuardItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.version)
    }
}

impl fmt::Display for FieldItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, self.field)
    }
}

/// Collects the actions of a change rule by rule, and writes a line for each
/// rule.
#[derive(Debug)]
pub struct PlanLines<W> {
    out: W,
    format: PlanFormat,
    place: PlanPosition,
    committed_at: Option<jiff::Timestamp>,
    change: Option<(TableName, Op)>,
    lines: Vec<Line>,
    failed: Option<io::Error>,
}

impl<W: Write> PlanLines<W> {
    pub fn new(out: W, format: PlanFormat) -> Self {
        Self {
            out,
            format,
            place: PlanPosition::default(),
            committed_at: None,
            change: None,
            lines: Vec::new(),
            failed: None,
        }
    }

    fn line(&mut self, rule: &Arc<str>) -> &mut Line {
        let again = self.lines.last().is_some_and(|line| *line.rule == **rule);
        if !again {
            self.lines.push(Line {
                position: self.place.clone(),
                committed_at: self.committed_at,
                table: self.change.as_ref().map(|(table, _)| table.to_string()),
                op: self.change.as_ref().map(|(_, op)| op.as_str()),
                rule: rule.to_string(),
                ..Line::default()
            });
        }
        let last = self.lines.len() - 1;
        #[expect(
            clippy::indexing_slicing,
            reason = "a line was pushed if there was none"
        )]
        &mut self.lines[last]
    }

    fn write_lines(&mut self) {
        for line in std::mem::take(&mut self.lines) {
            let written = match self.format {
                PlanFormat::Json => serde_json::to_writer(&mut self.out, &line)
                    .map_err(io::Error::from)
                    .and_then(|()| writeln!(self.out)),
                PlanFormat::Text => line.write_text(&mut self.out),
            };
            if let Err(error) = written {
                self.failed.get_or_insert(error);
            }
        }
    }

    /// The output, for what follows the plans.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Writes the lines that are collected.
    pub fn write(&mut self) -> io::Result<()> {
        self.write_lines();
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Writes the lines that are collected, and flushes the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        self.out.flush()
    }
}

impl Line {
    /// Adds a reason, unless it is there already.
    fn because(&mut self, reason: String) {
        match &mut self.reason {
            None => self.reason = Some(reason),
            Some(reasons) if reasons.split("; ").any(|known| known == reason) => {}
            Some(reasons) => {
                reasons.push_str("; ");
                reasons.push_str(&reason);
            }
        }
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let at = self
            .committed_at
            .map_or_else(|| "-".to_owned(), |at| at.to_string());
        write!(out, "{at} {}:{}", self.position.file, self.position.offset)?;
        let table = self.table.as_deref().unwrap_or("-");
        write!(
            out,
            " {table} {} rule={}",
            self.op.unwrap_or("statement"),
            self.rule
        )?;
        write!(out, " cache=[{}]", self.cache.join(" "))?;
        write_list(out, "guards", &self.guards)?;
        write_list(out, "tag_sets", &self.tag_sets)?;
        write_list(out, "hash_fields", &self.hash_fields)?;
        write_list(out, "publish", &self.publish)?;
        write!(out, " edge=[{}]", self.edge.join(" "))?;
        write_list(out, "distributions", &self.distributions)?;
        match &self.reason {
            Some(reason) => writeln!(out, " reason={reason}"),
            None => writeln!(out),
        }
    }
}

/// Writes a list, unless it is empty as for most rules.
fn write_list(out: &mut impl Write, name: &str, items: &[impl fmt::Display]) -> io::Result<()> {
    for (index, item) in items.iter().enumerate() {
        match index {
            0 => write!(out, " {name}=[{item}")?,
            _ => write!(out, " {item}")?,
        }
    }
    if items.is_empty() {
        return Ok(());
    }
    write!(out, "]")
}

/// Adds `item`, unless it is there already.
fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

impl<W: Write> Record for PlanLines<W> {
    fn place(&mut self, at: &At<'_>) {
        self.write_lines();
        self.place = PlanPosition::from(at);
        self.committed_at = at.timestamp();
        self.change = None;
    }

    fn begin(&mut self, change: &RowChange<'_>) {
        self.write_lines();
        self.change = Some((change.table.name.clone(), change.op));
    }
}

impl<W: Write> Plan for PlanLines<W> {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        let line = self.line(rule);
        match action {
            Action::Delete { key, .. } => add(&mut line.cache, printable(key)),
            Action::DeleteMatching { glob } => add(&mut line.cache, printable(glob)),
            Action::Increment { key } => add(&mut line.cache, format!("{}+1", printable(key))),
            Action::RaiseGuard { key, version, .. } => add(
                &mut line.guards,
                GuardItem {
                    key: printable(key),
                    version: version.to_string(),
                },
            ),
            Action::SkipGuard { version: b"" } => {
                line.because("version NULL raises no guard".to_owned());
            }
            Action::SkipGuard { version } => {
                line.because(format!("version {} raises no guard", printable(version)));
            }
            Action::DeleteTagSet { key, .. } => add(&mut line.tag_sets, printable(key)),
            Action::DeleteTagSetsMatching { glob, .. } => add(&mut line.tag_sets, printable(glob)),
            Action::DeleteField { key, field } => add(
                &mut line.hash_fields,
                FieldItem {
                    key: printable(key),
                    field: printable(field),
                },
            ),
            Action::Publish { channel, .. } => add(&mut line.publish, channel.to_string()),
            Action::Invalidate { path, at } => {
                add(&mut line.edge, of_tenant(at.tenant, path).into_owned());
                for name in at.distributions.into_iter().flat_map(|names| names.iter()) {
                    add(&mut line.distributions, name.to_string());
                }
            }
            Action::Skip { path, class } => {
                line.because(format!("{path} is {class} and not sent"));
            }
            Action::MissedBump { version } => {
                line.because(format!("version {} did not change", printable(version)));
            }
            Action::BackwardVersion { before, after } => {
                let (before, after) = (printable(before), printable(after));
                line.because(format!("version went back from {before} to {after}"));
            }
        }
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.line(rule).because(reason.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invalidation::{Distributions, PathClass, Published, Target};
    use crate::model::{TableSchema, Value};

    fn everywhere(path: &str) -> Action<'_> {
        let at = Target::default();
        Action::Invalidate { path, at }
    }

    /// The plan of one update, of rows that widened, and of a gap.
    fn lines(format: PlanFormat) -> String {
        let mut out = Vec::new();
        let mut lines = PlanLines::new(&mut out, format);
        lines.place = PlanPosition {
            file: "mysql-bin.000002".to_owned(),
            offset: 1_234,
            gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:7".to_owned()),
        };
        lines.committed_at = jiff::Timestamp::from_microsecond(1_700_000_000_123_456).ok();
        let schema = TableSchema {
            name: TableName::new("shop", "users"),
            columns: vec![],
            primary_key: vec![],
        };
        let row: [Value<'_>; 0] = [];
        lines.begin(&RowChange {
            table: &schema,
            op: Op::Update,
            before: Some(&row),
            after: Some(&row),
        });
        let (users, search): (Arc<str>, Arc<str>) = ("users".into(), "search".into());
        for key in [&b"user:7:v3"[..], b"user:7:v3", b"bin:\xff"] {
            lines.act(&users, Action::Delete { key, settles: true });
        }
        lines.act(&users, everywhere("/users/ada"));
        let (path, class) = ("/stock/7", PathClass::ShortTtl);
        lines.act(&search, Action::Skip { path, class });
        lines.begin(&RowChange {
            table: &schema,
            op: Op::Delete,
            before: Some(&row),
            after: None,
        });
        lines.widen(&users, Widening::MissingColumn);
        lines.act(&users, Action::DeleteMatching { glob: b"user:*" });
        lines.act(&users, Action::Increment { key: b"gen:users" });
        lines.flush().unwrap();
        lines.change = None;
        lines.widen(&users, Widening::Gap);
        lines.act(&users, everywhere("/users/*"));
        lines.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The plan of a rule with everything that most rules do not have.
    fn shapes(format: PlanFormat) -> String {
        let mut out = Vec::new();
        let mut lines = PlanLines::new(&mut out, format);
        let (users, channel): (Arc<str>, Arc<str>) = ("users".into(), "shop.changes".into());
        let (ttl, member_prefix) = (std::time::Duration::from_secs(60), b"app:".as_slice());
        for version in [5, 5, 18_446_744_073_709_551_616] {
            let key = b"user:{7}:guard";
            lines.act(&users, Action::RaiseGuard { key, version, ttl });
        }
        let (key, settles) = (b"user:7", true);
        lines.act(&users, Action::Delete { key, settles });
        let what = Published::Key { key, settles };
        let channel = &channel;
        lines.act(&users, Action::Publish { channel, what });
        let (key, glob) = (b"tag:user-7", b"tag:*");
        lines.act(&users, Action::DeleteTagSet { key, member_prefix });
        let tagged = Action::DeleteTagSetsMatching {
            glob,
            member_prefix,
        };
        lines.act(&users, tagged);
        for field in [&b"7"[..], b"8", b"7", b"\xff"] {
            let key = b"users";
            lines.act(&users, Action::DeleteField { key, field });
        }
        for (rule, action) in [
            ("null", Action::SkipGuard { version: b"" }),
            ("negative", Action::SkipGuard { version: b"-1" }),
            (
                "back",
                Action::BackwardVersion {
                    before: b"5",
                    after: b"3",
                },
            ),
        ] {
            lines.act(&rule.into(), action);
        }
        lines.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tags_tenants_and_distributions_are_told() {
        let names: Distributions = vec!["main".into(), "shop".into()].into();
        let written = |format| {
            let mut out = Vec::new();
            let mut lines = PlanLines::new(&mut out, format);
            let at = |tenant| Target {
                distributions: Some(&names),
                tenant,
            };
            for (path, tenant) in [
                ("/users/7", Some("dt_1")),
                ("#user-7", Some("dt_1")),
                ("/users/7", Some("dt_2")),
                ("/users/*", None),
            ] {
                let at = at(tenant);
                lines.act(&"users".into(), Action::Invalidate { path, at });
            }
            lines.flush().unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = written(PlanFormat::Text);
        let expected =
            " edge=[dt_1:/users/7 dt_1:#user-7 dt_2:/users/7 /users/*] distributions=[main shop]\n";
        assert!(text.ends_with(expected), "{text}");
        let json: serde_json::Value = serde_json::from_str(&written(PlanFormat::Json)).unwrap();
        let edge = ["dt_1:/users/7", "dt_1:#user-7", "dt_2:/users/7", "/users/*"];
        assert_eq!(json["edge"], serde_json::json!(edge));
        assert_eq!(json["distributions"], serde_json::json!(["main", "shop"]));
    }

    #[test]
    fn people_tell_a_guard_a_tag_set_and_a_field_from_a_key() {
        insta::assert_snapshot!(shapes(PlanFormat::Text));
    }

    #[test]
    fn programs_tell_a_guard_a_tag_set_and_a_field_from_a_key() {
        insta::assert_snapshot!(shapes(PlanFormat::Json));
    }

    #[test]
    fn people_get_a_line_for_each_change_and_rule() {
        insta::assert_snapshot!(lines(PlanFormat::Text));
    }

    #[test]
    fn programs_get_an_object_for_each_change_and_rule() {
        insta::assert_snapshot!(lines(PlanFormat::Json));
    }
}
