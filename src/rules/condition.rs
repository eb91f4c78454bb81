//! `when`: a CEL expression over `before`, `after`, `op` and `table`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, Program};

use super::render::{Lookup, Side, find};
use crate::model::{RowChange, TableSchema, Value};

/// CEL's functions. Without them a context would make them anew for every
/// change, which takes many times as long as the evaluation.
static FUNCTIONS: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    text: String,
    program: Program,
    /// The names among [`VARIABLES`] that it reads.
    variables: Vec<&'static str>,
    columns: Columns,
}

/// The names that an expression can use.
const VARIABLES: [&str; 4] = ["before", "after", "op", "table"];

/// The outcome of an expression.
#[derive(Debug)]
pub enum Judgement {
    True,
    False,
    /// The result is neither true nor false.
    NoTruthValue,
    /// It cannot be evaluated: a NULL was compared, a column is missing, and the
    /// like.
    Failed(ExecutionError),
}

impl Judgement {
    /// Whether the rule applies. An expression that fails counts as true (Over,
    /// never under).
    pub fn holds(&self) -> bool {
        !matches!(self, Judgement::False)
    }

    /// The reason why it counts as true without being true.
    pub fn failure(&self) -> Option<String> {
        match self {
            Judgement::True | Judgement::False => None,
            Judgement::NoTruthValue => Some("its result is neither true nor false".to_owned()),
            Judgement::Failed(error) => Some(error.to_string()),
        }
    }
}

/// The columns that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Exactly these columns.
    Named(BTreeSet<String>),
    /// Any column: an image is used as a whole, as in `before != after`.
    All,
}

impl Condition {
    /// Compiles `text`, and refuses names other than the four variables.
    pub fn compile(text: &str) -> Result<Self, String> {
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let reason = first.map_or_else(|| errors.to_string(), |error| error.msg.clone());
            format!("when \"{text}\" is not a CEL expression: {reason}")
        })?;
        let mut columns = Columns::Named(BTreeSet::new());
        let mut scope = Vec::new();
        collect(program.expression(), &mut scope, &mut columns)
            .map_err(|reason| format!("when \"{text}\": {reason}"))?;
        let references = program.references();
        let read = |name: &&str| references.has_variable(*name);
        Ok(Self {
            text: text.to_owned(),
            variables: VARIABLES.into_iter().filter(read).collect(),
            program,
            columns,
        })
    }

    /// As it stands in the configuration.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Whether the rule applies. `slots` names the image's slots that the
    /// expression reads.
    pub fn judge(&self, change: &RowChange<'_>, slots: &[(Arc<String>, usize)]) -> Judgement {
        let mut context = Context::with_env(Arc::clone(&FUNCTIONS));
        for name in &self.variables {
            let value: cel::Value = match *name {
                "before" => image(change, Side::Before, slots),
                "after" => image(change, Side::After, slots),
                "op" => change.op.as_str().into(),
                _ => change.table.name.to_string().into(),
            };
            context.add_variable_from_value(*name, value);
        }
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(true)) => Judgement::True,
            Ok(cel::Value::Bool(false)) => Judgement::False,
            Ok(_) => Judgement::NoTruthValue,
            Err(error) => Judgement::Failed(error),
        }
    }

    /// The names and indices of the columns that it reads; as an error the name
    /// that the table does not have.
    pub fn resolve(&self, schema: &TableSchema) -> Result<Vec<(Arc<String>, usize)>, String> {
        match &self.columns {
            Columns::All => Ok(schema
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| (Arc::new(column.name.to_string()), index))
                .collect()),
            Columns::Named(names) => names
                .iter()
                .map(|name| {
                    let index = schema.column(name).ok_or_else(|| name.clone())?;
                    Ok((Arc::new(name.clone()), index))
                })
                .collect(),
        }
    }
}

/// What is known of one side of a change.
fn image(change: &RowChange<'_>, side: Side, slots: &[(Arc<String>, usize)]) -> cel::Value {
    let values = slots.iter().filter_map(|(name, slot)| {
        let Lookup::Value(value) = find(change, side, *slot) else {
            return None;
        };
        Some((Key::String(Arc::clone(name)), cel_value(value)?))
    });
    cel::Value::Map(Map {
        map: Arc::new(values.collect::<HashMap<_, _>>()),
    })
}

/// `value` in CEL. Integers that fit are CEL ints, so that they compare with
/// literals; DECIMAL, which is text here, compares as text.
fn cel_value(value: &Value<'_>) -> Option<cel::Value> {
    Some(match value {
        Value::Absent | Value::Partial | Value::Undecodable(_) => return None,
        Value::Null => cel::Value::Null,
        Value::Int(number) => cel::Value::Int(*number),
        Value::UInt(number) => match i64::try_from(*number) {
            Ok(number) => cel::Value::Int(number),
            Err(_) => cel::Value::UInt(*number),
        },
        Value::Float(number) => cel::Value::Float(f64::from(*number)),
        Value::Double(number) => cel::Value::Float(*number),
        Value::Bytes(bytes) => cel::Value::Bytes(Arc::new(bytes.to_vec())),
        Value::Text(text) => cel::Value::String(Arc::new(text.to_string())),
        Value::Date(_) | Value::Time(_) | Value::DateTime(_) => {
            let mut text = Vec::new();
            value.write_text(&mut text);
            cel::Value::String(Arc::new(String::from_utf8(text).ok()?))
        }
    })
}

/// Collects the columns that `expr` reads; `scope` holds the names that its
/// macros bind.
fn collect(expr: &IdedExpr, scope: &mut Vec<String>, out: &mut Columns) -> Result<(), String> {
    match &expr.expr {
        Expr::Select(select) if image_name(&select.operand, scope) => {
            if let Columns::Named(names) = out {
                names.insert(select.field.clone());
            }
            Ok(())
        }
        Expr::Select(select) => collect(&select.operand, scope, out),
        Expr::Call(call) => {
            if let ("_[_]", [object, index]) = (call.func_name.as_str(), call.args.as_slice())
                && image_name(object, scope)
                && let Expr::Literal(LiteralValue::String(name)) = &index.expr
            {
                if let Columns::Named(names) = out {
                    names.insert(name.inner().to_owned());
                }
                return Ok(());
            }
            call.target
                .iter()
                .map(AsRef::as_ref)
                .chain(&call.args)
                .try_for_each(|part| collect(part, scope, out))
        }
        Expr::Ident(name) if scope.contains(name) => Ok(()),
        Expr::Ident(name) => match name.as_str() {
            "before" | "after" => {
                *out = Columns::All;
                Ok(())
            }
            "op" | "table" => Ok(()),
            _ => Err(format!(
                "there is no `{name}`; write `before.{name}` or `after.{name}` for a column"
            )),
        },
        Expr::List(list) => list
            .elements
            .iter()
            .try_for_each(|part| collect(part, scope, out)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                collect(&entry.key, scope, out)?;
                collect(&entry.value, scope, out)
            }
            EntryExpr::StructField(field) => collect(&field.value, scope, out),
        }),
        Expr::Struct(record) => record
            .entries
            .iter()
            .try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => collect(&entry.value, scope, out),
                EntryExpr::StructField(field) => collect(&field.value, scope, out),
            }),
        Expr::Comprehension(comprehension) => {
            collect(&comprehension.iter_range, scope, out)?;
            collect(&comprehension.accu_init, scope, out)?;
            let outer = scope.len();
            scope.push(comprehension.iter_var.clone());
            scope.extend(comprehension.iter_var2.clone());
            scope.push(comprehension.accu_var.clone());
            let inner = [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ];
            let result = inner
                .into_iter()
                .try_for_each(|part| collect(part, scope, out));
            scope.truncate(outer);
            result
        }
        Expr::Unspecified | Expr::Literal(_) => Ok(()),
    }
}

fn image_name(expr: &IdedExpr, scope: &[String]) -> bool {
    matches!(&expr.expr, Expr::Ident(name)
        if (name == "before" || name == "after") && !scope.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Op, Shape, TableName};

    fn columns(text: &str) -> Columns {
        Condition::compile(text).unwrap().columns().clone()
    }

    fn named(names: &[&str]) -> Columns {
        Columns::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_columns_that_an_expression_reads_are_known_before_it_runs() {
        assert_eq!(columns("after.status != 'draft'"), named(&["status"]));
        assert_eq!(
            columns("op == 'delete' || before.a < after.b && has(after.c) && after['d'] == 1"),
            named(&["a", "b", "c", "d"])
        );
        assert_eq!(
            columns("[1, 2].exists(x, x == after.kind)"),
            named(&["kind"])
        );
        assert_eq!(columns("before != after"), Columns::All);
        assert_eq!(columns("table.startsWith('shop.')"), named(&[]));
    }

    #[test]
    fn unknown_names_and_broken_expressions_are_refused() {
        let error = Condition::compile("status == 1").unwrap_err();
        assert!(error.contains("`after.status`"), "{error}");
        assert!(Condition::compile("after.status ==").is_err());
        assert!(Condition::compile("").is_err());
    }

    fn holds(text: &str, before: Option<Value<'_>>, after: Option<Value<'_>>) -> bool {
        let schema = TableSchema {
            name: TableName::new("shop", "users"),
            columns: vec![Column {
                name: "c".into(),
                shape: Shape::Text,
            }],
            primary_key: vec![],
        };
        let (before, after) = (before.map(|v| [v]), after.map(|v| [v]));
        let change = RowChange {
            table: &schema,
            op: Op::Update,
            before: before.as_ref().map(|row| &row[..]),
            after: after.as_ref().map(|row| &row[..]),
        };
        let condition = Condition::compile(text).unwrap();
        let slots = condition.resolve(&schema).unwrap();
        condition.judge(&change, &slots).holds()
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_counts_as_true() {
        let draft = || Some(Value::Text("draft".into()));
        assert!(!holds("after.c != 'draft'", None, draft()));
        assert!(holds("after.c == 'draft'", None, draft()));
        assert!(holds("after.c != 'draft'", draft(), None));
        assert!(holds("after.c != 'draft'", None, Some(Value::Absent)));
        assert!(holds("after.c > 3", None, Some(Value::Null)));
        assert!(holds("after.c + 1", None, Some(Value::Int(1))));
        assert!(!holds("after.c > 3", None, Some(Value::UInt(2))));
        assert!(holds("after.c > 3", None, Some(Value::UInt(u64::MAX))));
        assert!(!holds("table == 'x'", None, None));
    }
}
