//! Rows given as JSON, turned into the planner's values.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::model::{Column, Date, DateTime, Shape, TableName, TableSchema, Value};

/// A row as it was given: a value for each column.
pub type GivenRow = Map<String, Json>;

/// Parses a row. `option` is the argument that gives it, for messages.
pub fn parse(text: &str, option: &str) -> Result<GivenRow, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(row)) => Ok(row),
        Ok(_) => Err(format!(
            "{option} is not an object: write {{\"id\": 7, \"slug\": \"ada\"}}"
        )),
        Err(error) => Err(format!("{option} is not JSON: {error}")),
    }
}

/// A table with the columns of `rows`, typed by their values, and the further
/// columns that rules name.
pub fn schema<'a>(
    name: TableName,
    rows: &[&GivenRow],
    named_by_rules: impl Iterator<Item = &'a str>,
) -> TableSchema {
    let mut schema = TableSchema {
        name,
        columns: Vec::new(),
        primary_key: Vec::new(),
    };
    for (column, value) in rows.iter().flat_map(|row| row.iter()) {
        match schema.column(column) {
            None => schema.columns.push(Column {
                name: column.as_str().into(),
                shape: shape(value),
            }),
            // If it is NULL in one row, the other one says its type.
            Some(index) => {
                if let (Some(known), false) = (schema.columns.get_mut(index), value.is_null()) {
                    known.shape = shape(value);
                }
            }
        }
    }
    for column in named_by_rules {
        if schema.column(column).is_none() {
            schema.columns.push(Column {
                name: column.into(),
                // Its type is unknown, and an integer makes no path look
                // forbidden.
                shape: Shape::Integer,
            });
        }
    }
    schema
}

fn shape(value: &Json) -> Shape {
    match value {
        Json::Null | Json::Bool(_) => Shape::Integer,
        Json::Number(number) if number.is_f64() => Shape::Number,
        Json::Number(_) => Shape::Integer,
        // A text does not say whether it is of a TIMESTAMP or of a DATETIME, and
        // what rules want of a TIMESTAMP they do not want of a DATETIME.
        Json::String(text) => match date_time(text) {
            Some(Value::DateTime(_)) => Shape::Timestamp,
            Some(_) => Shape::Temporal,
            None => Shape::Text,
        },
        Json::Array(_) | Json::Object(_) => Shape::Text,
    }
}

/// The columns of `row` that the planner reads, in its order.
pub fn project<'r>(
    schema: &TableSchema,
    projection: &[usize],
    row: &'r GivenRow,
) -> Vec<Value<'r>> {
    let of_column = |column: &Column| {
        row.iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&column.name))
            .map_or(Value::Absent, |(_, value)| typed(value, column.shape))
    };
    projection
        .iter()
        .map(|index| schema.columns.get(*index).map_or(Value::Absent, of_column))
        .collect()
}

fn typed(value: &Json, shape: Shape) -> Value<'_> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Int(i64::from(*flag)),
        Json::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_u64().map(Value::UInt))
            .or_else(|| number.as_f64().map(Value::Double))
            .unwrap_or_else(|| Value::Text(Cow::Owned(number.to_string()))),
        Json::String(text) => match shape {
            // A BIGINT UNSIGNED is often written as text.
            Shape::Integer => text
                .parse()
                .map(Value::Int)
                .or_else(|_| text.parse().map(Value::UInt))
                .unwrap_or(Value::Text(text.into())),
            Shape::Temporal | Shape::Timestamp => {
                date_time(text).unwrap_or(Value::Text(text.into()))
            }
            Shape::Bytes => Value::Bytes(text.as_bytes().into()),
            Shape::Number | Shape::Text => Value::Text(text.into()),
        },
        Json::Array(_) | Json::Object(_) => Value::Text(Cow::Owned(value.to_string())),
    }
}

/// `YYYY-MM-DD` or `YYYY-MM-DD hh:mm:ss[.ffffff]`, as SELECT prints them.
fn date_time(text: &str) -> Option<Value<'static>> {
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let mut parts = day.split('-');
    let date = Date {
        year: number(parts.next()?, 4)?,
        month: number(parts.next()?, 2)?,
        day: number(parts.next()?, 2)?,
    };
    if parts.next().is_some() || date.month > 12 || date.day > 31 {
        return None;
    }
    let Some(time) = time else {
        return Some(Value::Date(date));
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let decimals = u8::try_from(fraction.len()).ok().filter(|n| *n <= 6)?;
    let micros = match fraction {
        "" => 0,
        digits => number(&format!("{digits:0<6}"), 6)?,
    };
    let valid = parts.next().is_none() && hours < 24 && minutes < 60 && seconds < 60;
    valid.then_some(Value::DateTime(DateTime {
        date,
        hours,
        minutes,
        seconds,
        micros,
        decimals,
    }))
}

fn number<T: std::str::FromStr>(text: &str, digits: usize) -> Option<T> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_they_were_written() {
        for (json, expected) in [
            ("7", "7"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("true", "1"),
            ("1.5", "1.5"),
            ("\"ada\"", "ada"),
            ("\"2024-02-29\"", "2024-02-29"),
            ("\"2024-02-29 10:20:30.5\"", "2024-02-29 10:20:30.5"),
            ("\"2024-99-29\"", "2024-99-29"),
            ("{\"a\":1}", "{\"a\":1}"),
        ] {
            let value: Json = serde_json::from_str(json).unwrap();
            let mut text = Vec::new();
            assert!(typed(&value, shape(&value)).write_text(&mut text));
            assert_eq!(String::from_utf8(text).unwrap(), expected, "{json}");
        }
        assert_eq!(typed(&Json::Null, Shape::Text), Value::Null);
    }
}
