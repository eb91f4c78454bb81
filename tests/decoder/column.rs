//! A column as the other decoders' values are read by, from what the catalog says
//! of it.

use evictd::binlog::decode::layout::CatalogColumn;

use super::others::{Column, Kind};

pub fn column(of: &CatalogColumn) -> Column {
    let column_type = of.column_type.as_str();
    let end = column_type
        .find(|letter: char| !letter.is_ascii_alphanumeric())
        .unwrap_or(column_type.len());
    let (name, rest) = column_type.split_at(end);
    let arguments = rest
        .strip_prefix('(')
        .and_then(|rest| rest.rsplit_once(')'));
    let numbers: Vec<usize> = arguments
        .into_iter()
        .flat_map(|(numbers, _)| numbers.split(','))
        .filter_map(|number| number.parse().ok())
        .collect();
    let number = |index: usize| numbers.get(index).copied();
    let is = |word: &str| rest.split(' ').any(|other| other == word);
    let int = |bytes: u32| Kind::Int {
        bytes,
        unsigned: is("unsigned"),
    };
    let labels = || labels(arguments.unwrap().0);
    let decimals = number(0).unwrap_or(0);
    let (kind, width) = match name {
        "tinyint" => (int(1), number(0)),
        "smallint" => (int(2), number(0)),
        "mediumint" => (int(3), number(0)),
        "int" => (int(4), number(0)),
        "bigint" => (int(8), number(0)),
        // Without a width they have the server's own.
        "float" => (float(number(1)), number(0).or(Some(12))),
        "double" => (float(number(1)), number(0).or(Some(22))),
        "decimal" => {
            let point = usize::from(number(1) > Some(0));
            (Kind::Decimal, number(0).map(|digits| digits + point))
        }
        "year" => (Kind::Year, None),
        "bit" => (Kind::Bit, None),
        "date" => (Kind::Date, None),
        "time" => (Kind::Time { decimals }, None),
        "datetime" => (Kind::DateTime { decimals }, None),
        "timestamp" => (Kind::Timestamp { decimals }, None),
        "char" | "varchar" => (Kind::Text, None),
        "tinytext" | "text" | "mediumtext" | "longtext" => (Kind::LongText, None),
        "binary" => {
            let padded = number(0).unwrap();
            (Kind::Binary { padded }, None)
        }
        "varbinary" => (Kind::Binary { padded: 0 }, None),
        "tinyblob" | "blob" | "mediumblob" | "longblob" => (Kind::Blob, None),
        "geometry" | "point" => (Kind::Blob, None),
        "enum" => (Kind::Enum(labels()), None),
        "set" => (Kind::Set(labels()), None),
        "json" => (Kind::Json, None),
        "vector" => (Kind::Vector, None),
        _ => panic!("no kind for {column_type}"),
    };
    Column {
        label: format!("{} {column_type} {:?}", of.name, of.charset),
        kind,
        charset: of.charset.clone().unwrap_or_default(),
        zerofill: width.filter(|_| is("zerofill")).unwrap_or(0),
    }
}

fn float(decimals: Option<usize>) -> Kind {
    Kind::Float { decimals }
}

/// Labels as COLUMN_TYPE quotes them, a quote doubled and a backslash before
/// another.
fn labels(quoted: &str) -> Vec<String> {
    let mut rest = quoted
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .unwrap();
    let mut labels = vec![String::new()];
    while let Some(letter) = rest.chars().next() {
        let (width, text) = if rest.starts_with("','") {
            labels.push(String::new());
            (3, "")
        } else if rest.starts_with("''") || rest.starts_with("\\\\") {
            (2, &rest[..1])
        } else {
            (letter.len_utf8(), &rest[..letter.len_utf8()])
        };
        labels.last_mut().unwrap().push_str(text);
        rest = &rest[width..];
    }
    labels
}
