//! Columns: types, and the values that are drawn for them.

use super::draw::Draw;

/// Of texts: what means something in a path, a key, a glob, a template or SQL.
const PIECES: [&str; 14] = [
    "ada", "x y", "a/b", "it''s", "größe", "a*", "[a]", "?b", "~", "%41", "a:b", "{x}", "#?",
    "&c=~",
];

/// A column's type. To draw another one, add it here, to [`Type::WEIGHTS`] and to the two functions below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int,
    BigUnsigned,
    TinyUnsigned,
    Decimal,
    Varchar,
    Latin1,
    Cyrillic,
    Char,
    Text,
    Date,
    Time,
    Datetime,
    DatetimeMicros,
    Timestamp,
    TimestampMicros,
    Year,
    Bit,
    Enum,
    Set,
    Json,
    Binary,
    Varbinary,
}

impl Type {
    /// How often each is drawn.
    pub const WEIGHTS: [(usize, Type); 22] = [
        (3, Type::Int),
        (2, Type::BigUnsigned),
        (1, Type::TinyUnsigned),
        (1, Type::Decimal),
        (6, Type::Varchar),
        (1, Type::Latin1),
        (1, Type::Cyrillic),
        (1, Type::Char),
        (3, Type::Text),
        (1, Type::Date),
        (1, Type::Time),
        (1, Type::Datetime),
        (1, Type::DatetimeMicros),
        (2, Type::Timestamp),
        (1, Type::TimestampMicros),
        (1, Type::Year),
        (2, Type::Bit),
        (2, Type::Enum),
        (1, Type::Set),
        (1, Type::Json),
        (1, Type::Binary),
        (1, Type::Varbinary),
    ];

    pub fn sql(self) -> &'static str {
        match self {
            Type::Int => "INT",
            Type::BigUnsigned => "BIGINT UNSIGNED",
            Type::TinyUnsigned => "TINYINT UNSIGNED",
            Type::Decimal => "DECIMAL(12,3)",
            Type::Varchar => "VARCHAR(40)",
            Type::Latin1 => "VARCHAR(300) CHARACTER SET latin1",
            Type::Cyrillic => "VARCHAR(40) CHARACTER SET cp1251",
            Type::Char => "CHAR(8)",
            Type::Text => "TEXT",
            Type::Date => "DATE",
            Type::Time => "TIME(3)",
            Type::Datetime => "DATETIME",
            Type::DatetimeMicros => "DATETIME(6)",
            Type::Timestamp => "TIMESTAMP NULL",
            Type::TimestampMicros => "TIMESTAMP(6) NULL",
            Type::Year => "YEAR",
            Type::Bit => "BIT(9)",
            Type::Enum => "ENUM('new', 'in stock', 'gone', 'größe')",
            Type::Set => "SET('a', 'b', 'c')",
            Type::Json => "JSON",
            Type::Binary => "BINARY(4)",
            Type::Varbinary => "VARBINARY(300)",
        }
    }

    /// Literals. Texts have neither backslashes nor double quotes, which a SQL mode gives another meaning.
    fn values(self) -> &'static [&'static str] {
        match self {
            Type::Int => &["0", "1", "2", "3", "-7", "2147483647", "-2147483648"],
            Type::BigUnsigned => &["0", "1", "2", "18446744073709551615", "9007199254740993"],
            Type::TinyUnsigned => &["0", "1", "2", "128", "255"],
            Type::Decimal => &["0", "1.5", "-0.050", "123456789.999", "-7"],
            Type::Varchar | Type::Text => &["'ada'", "'Ada'", "''"],
            Type::Latin1 => &["'ada'", "'Zoë'", "'größe'", "''", "REPEAT('x', 280)"],
            Type::Cyrillic => &["'ada'", "''", "'x y'", "_utf8mb4 0xd0bcd0b8d180"],
            Type::Char => &["'ada'", "'b  '", "''", "'É'"],
            Type::Date => &["'2026-03-04'", "'1999-12-31'", "'9999-12-31'"],
            Type::Time => &["'12:34:56.789'", "'-01:00:00'", "'838:59:59'"],
            Type::Datetime => &["'2026-03-04 05:06:07'", "'1000-01-01 00:00:00'"],
            Type::DatetimeMicros => &[
                "'2026-03-04 05:06:07.890000'",
                "'2026-03-04 05:06:07'",
                "'2026-03-04 05:06:07.000001'",
            ],
            Type::Timestamp => &["'2026-03-04 05:06:07'", "'2026-10-25 02:30:00'"],
            Type::TimestampMicros => &["'2026-03-04 05:06:07.890000'", "'2001-09-09 01:46:40'"],
            Type::Year => &["2026", "1901", "2155"],
            Type::Bit => &["b'101010101'", "b'0'", "b'1'", "b'11111111'"],
            Type::Enum => &["'new'", "'in stock'", "'gone'", "'größe'"],
            Type::Set => &["''", "'a'", "'a,c'", "'a,b,c'"],
            Type::Json => &[
                "'{\"a\": 1}'",
                "'[1, \"two\", null]'",
                "'{\"b\": {\"c\": [true]}, \"a\": 1.5}'",
                "'null'",
            ],
            Type::Binary => &["x'00ff4100'", "x'41'", "x'00000000'", "x'41424344'"],
            Type::Varbinary => &["x'00ff41'", "x''", "x'61'", "x'7b7d2a'"],
        }
    }

    pub fn value(self, draw: &mut Draw) -> String {
        if matches!(self, Type::Varchar | Type::Text) && draw.percent(80) {
            return format!("'{}'", draw.some(&PIECES, 3).concat());
        }
        (*draw.pick(self.values())).to_owned()
    }

    /// Whether paths and templates of one segment can be made of it without effort.
    pub fn is_integer(self) -> bool {
        matches!(self, Type::Int | Type::BigUnsigned | Type::TinyUnsigned)
    }
}

/// A column besides a table's key and version.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub of: Type,
    pub not_null: bool,
    pub invisible: bool,
    /// Computed by this expression, and whether it is stored.
    pub generated: Option<(String, bool)>,
}

impl Column {
    pub fn sql(&self) -> String {
        let mut sql = format!("{} {}", quoted(&self.name), self.of.sql());
        if let Some((expression, stored)) = &self.generated {
            let kind = if *stored { "STORED" } else { "VIRTUAL" };
            sql += &format!(" GENERATED ALWAYS AS ({expression}) {kind}");
        }
        if self.not_null {
            sql += " NOT NULL";
        }
        if self.invisible {
            sql += " INVISIBLE";
        }
        sql
    }

    /// What a statement may set it to.
    pub fn value(&self, draw: &mut Draw) -> String {
        if !self.not_null && draw.percent(15) {
            return "NULL".to_owned();
        }
        self.of.value(draw)
    }
}

/// A name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
