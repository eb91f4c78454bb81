//! Columns of every type and the values that try them.

/// A column and the SQL literals to fill it with.
pub struct Sample {
    pub column_type: &'static str,
    pub values: Vec<String>,
}

/// A small generator of pseudo-random numbers, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// One sample for each type. Every column is nullable and holds NULL too.
pub fn samples() -> Vec<Sample> {
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    let mut samples = Vec::new();
    integers(&mut samples, &mut random);
    decimals(&mut samples, &mut random);
    floats(&mut samples, &mut random);
    temporals(&mut samples, &mut random);
    texts(&mut samples);
    bytes(&mut samples, &mut random);
    labels(&mut samples);
    documents(&mut samples);
    for sample in &mut samples {
        sample.values.push("NULL".to_owned());
    }
    samples
}

fn sample(column_type: &'static str, values: impl IntoIterator<Item = impl ToString>) -> Sample {
    Sample {
        column_type,
        values: values.into_iter().map(|value| value.to_string()).collect(),
    }
}

fn integers(samples: &mut Vec<Sample>, random: &mut Random) {
    for (signed, unsigned, bits) in [
        ("TINYINT", "TINYINT UNSIGNED", 8),
        ("SMALLINT", "SMALLINT UNSIGNED", 16),
        ("MEDIUMINT", "MEDIUMINT UNSIGNED", 24),
        ("INT", "INT UNSIGNED", 32),
        ("BIGINT", "BIGINT UNSIGNED", 64),
    ] {
        let most = u64::MAX >> (64 - bits);
        let half = i128::from(most >> 1);
        let mut values: Vec<i128> = vec![0, 1, -1, half, -half - 1, half - 1];
        values.extend((0..10).map(|_| i128::from(random.next() & most) - half - 1));
        samples.push(sample(signed, values));
        let mut values = vec![0, 1, most, most - 1, most >> 1, (most >> 1) + 1];
        values.extend((0..10).map(|_| random.next() & most));
        samples.push(sample(unsigned, values));
    }
    samples.push(sample(
        "INT(5) ZEROFILL",
        [0, 7, 12345, 123_456, 4_294_967_295_u64],
    ));
    samples.push(sample("BIGINT ZEROFILL", [0, 7, u64::MAX]));
    samples.push(sample("YEAR", [0, 1901, 1970, 2024, 2155]));
    samples.push(sample("BOOL", [0, 1]));
    for column_type in ["BIT(1)", "BIT(7)", "BIT(8)", "BIT(9)", "BIT(64)"] {
        let bits: u32 = column_type[4..column_type.len() - 1].parse().unwrap();
        let most = u64::MAX >> (64 - bits);
        let mut values = vec![0, 1, most];
        values.extend((0..5).map(|_| random.next() & most));
        samples.push(sample(column_type, values));
    }
}

fn decimals(samples: &mut Vec<Sample>, random: &mut Random) {
    for (column_type, precision, scale) in [
        ("DECIMAL(1,0)", 1, 0),
        ("DECIMAL(4,2)", 4, 2),
        ("DECIMAL(2,2)", 2, 2),
        ("DECIMAL(9,0)", 9, 0),
        ("DECIMAL(10,0)", 10, 0),
        ("DECIMAL(18,9)", 18, 9),
        ("DECIMAL(19,1)", 19, 1),
        ("DECIMAL(20,10) UNSIGNED", 20, 10),
        ("DECIMAL(30,30)", 30, 30),
        ("DECIMAL(65,30)", 65, 30),
        ("DECIMAL(65,0)", 65, 0),
        ("DECIMAL(6,2) ZEROFILL", 6, 2),
    ] {
        let positive = column_type.contains("ZEROFILL") || column_type.contains("UNSIGNED");
        let mut values = vec!["0".to_owned()];
        let nines = "9".repeat(precision - scale) + "." + &"9".repeat(scale) + "0";
        let least = "0.".to_owned() + &"0".repeat(scale.max(1) - 1) + "1";
        for value in [nines, least] {
            if !positive {
                values.push(format!("-{value}"));
            }
            values.push(value);
        }
        for _ in 0..12 {
            let digits: String = (0..precision)
                .map(|_| char::from(b'0' + random.bytes(1)[0] % 10))
                .collect();
            let kept = random.below(precision as u64 - scale as u64 + 1) as usize;
            let (whole, fraction) = digits.split_at(kept);
            let fraction = &fraction[..fraction.len().min(scale)];
            let sign = if positive || random.below(2) == 0 {
                ""
            } else {
                "-"
            };
            values.push(format!("{sign}0{whole}.{fraction}0"));
        }
        samples.push(sample(column_type, values));
    }
}

fn floats(samples: &mut Vec<Sample>, random: &mut Random) {
    let mut values: Vec<String> = [
        "0",
        "-0e0",
        "1",
        "0.1",
        "-1.5",
        "1e15",
        "1e14",
        "999999999999999",
        "1234567890123456",
        "1e16",
        "1e-14",
        "1e-15",
        "1e-16",
        "1.5e-15",
        "16777216",
        "16777217",
        "1000005",
        "1000015",
        "999999.5",
        "123456.75",
        "0.3",
        "1e20",
        "2e-5",
        "33554434",
        "8388608.5",
    ]
    .map(str::to_owned)
    .to_vec();
    for _ in 0..400 {
        let number = f32::from_bits(random.next() as u32);
        if number.is_finite() {
            values.push(format!("{:e}", f64::from(number)));
        }
    }
    values.extend((0..400).map(|_| {
        let whole = random.below(1 << 40) as f64;
        format!("{:e}", whole / 2_f64.powi(random.below(40) as i32))
    }));
    values.push("3.402823466e38".to_owned());
    values.push("1.17549435e-38".to_owned());
    values.push("1e-45".to_owned());
    samples.push(sample("FLOAT", values.clone()));
    for _ in 0..600 {
        let number = f64::from_bits(random.next());
        if number.is_finite() {
            values.push(format!("{number:e}"));
        }
    }
    values.push("1.7976931348623157e308".to_owned());
    values.push("2.2250738585072014e-308".to_owned());
    values.push("5e-324".to_owned());
    samples.push(sample("DOUBLE", values));
    let few = [
        "0", "-0e0", "1.5", "0.125", "2.675", "12345.67", "99999.99", "0.004", "0.006",
    ];
    samples.push(sample("FLOAT(7,2)", few));
    samples.push(sample("DOUBLE(10,3)", few));
    samples.push(sample("FLOAT(7,2) ZEROFILL", few));
    samples.push(sample("FLOAT ZEROFILL", few));
    samples.push(sample("DOUBLE ZEROFILL", few));
}

fn temporals(samples: &mut Vec<Sample>, random: &mut Random) {
    samples.push(sample(
        "DATE",
        [
            "'0000-00-00'",
            "'1000-01-01'",
            "'9999-12-31'",
            "'2024-02-29'",
            "'2024-00-00'",
            "'0001-01-01'",
        ],
    ));
    for decimals in 0..=6 {
        let fraction = |micros: u64| format!(".{micros:06}");
        let mut times = vec!["'00:00:00'".to_owned(), "'838:59:59'".to_owned()];
        times.push("'-838:59:59'".to_owned());
        times.push("'-00:00:01'".to_owned());
        times.push("'-00:00:00.5'".to_owned());
        times.push("'-00:00:00.000001'".to_owned());
        let mut moments = vec!["'0000-00-00 00:00:00'".to_owned()];
        moments.push("'1000-01-01 00:00:00'".to_owned());
        moments.push("'9999-12-31 23:59:59'".to_owned());
        moments.push("'2024-00-00 10:00:00'".to_owned());
        let mut stamps = vec!["'0000-00-00 00:00:00'".to_owned()];
        stamps.push("'1970-01-01 00:00:01'".to_owned());
        stamps.push("'2038-01-19 03:14:07'".to_owned());
        stamps.push("'2000-02-29 23:59:59.5'".to_owned());
        for _ in 0..12 {
            let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
            let micros = fraction(random.below(1_000_000));
            let sign = if random.below(2) == 0 { "" } else { "-" };
            let hours = random.below(838);
            times.push(format!("'{sign}{hours}:{minute:02}:{second:02}{micros}'"));
            let (month, day) = (1 + random.below(12), 1 + random.below(28));
            let clock = format!("{hour:02}:{minute:02}:{second:02}{micros}");
            let year = 1 + random.below(9998);
            moments.push(format!("'{year:04}-{month:02}-{day:02} {clock}'"));
            let year = 1970 + random.below(68);
            stamps.push(format!("'{year:04}-{month:02}-{day:02} {clock}'"));
        }
        let name = |kind: &str| -> &'static str { format!("{kind}({decimals})").leak() };
        samples.push(sample(name("TIME"), times));
        samples.push(sample(name("DATETIME"), moments));
        samples.push(Sample {
            column_type: format!("TIMESTAMP({decimals}) NULL").leak(),
            values: stamps,
        });
    }
}

fn texts(samples: &mut Vec<Sample>) {
    let latin = [
        "''",
        "'a'",
        "'  padded  '",
        "'trailing   '",
        "'it''s'",
        "'é ü ß'",
        "'a\\0b'",
    ];
    let wide = [
        "''",
        "'日本語'",
        "'emoji 😀'",
        "'ascii only'",
        "'mixed é 日 ß'",
    ];
    for column_type in [
        "CHAR(10)",
        "VARCHAR(20)",
        "VARCHAR(255)",
        "VARCHAR(300)",
        "TINYTEXT",
        "TEXT",
        "MEDIUMTEXT",
        "LONGTEXT",
        "CHAR(255)",
        "CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "VARCHAR(20) COLLATE utf8mb4_ja_0900_as_cs",
        "VARCHAR(20) COLLATE utf8mb4_mn_cyrl_0900_as_cs",
        "VARCHAR(20) CHARACTER SET utf16",
        "VARCHAR(20) CHARACTER SET utf16le",
        "VARCHAR(20) CHARACTER SET utf32",
        "CHAR(20) CHARACTER SET utf16",
        "CHAR(20) CHARACTER SET utf32",
    ] {
        samples.push(sample(column_type, latin.iter().chain(&wide)));
    }
    for column_type in [
        "VARCHAR(20) CHARACTER SET utf8mb3",
        "CHAR(20) CHARACTER SET ucs2",
        "TEXT CHARACTER SET gb18030",
    ] {
        samples.push(sample(column_type, latin.iter().chain(&wide[3..])));
    }
    for column_type in [
        "CHAR(10) CHARACTER SET latin1",
        "VARCHAR(20) CHARACTER SET latin1",
        "TEXT CHARACTER SET latin1 COLLATE latin1_bin",
        "CHAR(10) CHARACTER SET latin5",
        "CHAR(10) CHARACTER SET macroman",
        "VARCHAR(300) CHARACTER SET latin1",
    ] {
        samples.push(sample(column_type, latin));
    }
    samples.push(sample(
        "VARCHAR(20) CHARACTER SET ascii",
        ["''", "'a'", "'~ z'"],
    ));
    samples.push(sample(
        "VARCHAR(20) CHARACTER SET sjis",
        ["''", "'日本'", "'a～b'"],
    ));
    samples.push(sample(
        "VARCHAR(20) CHARACTER SET gbk",
        ["''", "'中文'", "'a'"],
    ));
    samples.push(sample(
        "VARCHAR(20) CHARACTER SET euckr",
        ["''", "'한국'", "'a'"],
    ));
    samples.push(sample(
        "VARCHAR(20) CHARACTER SET cp1251",
        ["''", "'Привет'", "'a'"],
    ));
    samples.push(sample("VARCHAR(16000)", ["''", "REPEAT('xé', 8000)"]));
    samples.push(sample(
        "LONGTEXT COLLATE utf8mb4_general_ci",
        ["''", "REPEAT('xé', 100000)"],
    ));
}

fn bytes(samples: &mut Vec<Sample>, random: &mut Random) {
    let mut values: Vec<String> = ["''", "x'00'", "x'0000'", "x'610000'", "x'00ff00'", "'abc'"]
        .map(str::to_owned)
        .to_vec();
    for length in 1..=6 {
        let text: String = random
            .bytes(length)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        values.push(format!("x'{text}'"));
    }
    for column_type in [
        "BINARY(6)",
        "BINARY(255)",
        "VARBINARY(6)",
        "VARBINARY(300)",
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
        "CHAR(6) CHARACTER SET binary",
    ] {
        samples.push(sample(column_type, &values));
    }
    samples.push(sample("BINARY(1)", ["''", "x'00'", "x'ff'"]));
    samples.push(sample(
        "GEOMETRY",
        [
            "ST_GeomFromText('POINT(1 2)')",
            "ST_GeomFromText('POINT(1 2)', 4326)",
            "ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)')",
        ],
    ));
    samples.push(sample("POINT", ["ST_GeomFromText('POINT(-1.5 2)')"]));
    samples.push(sample(
        "VECTOR(3)",
        [
            "STRING_TO_VECTOR('[1,2,3]')",
            "STRING_TO_VECTOR('[-0.5,1e10,0]')",
        ],
    ));
}

fn labels(samples: &mut Vec<Sample>) {
    let many: String = (0..300).map(|n| format!("'label {n}',")).collect();
    let many = many.trim_end_matches(',');
    samples.push(sample(
        "ENUM('a','b','it''s','','c,d','back\\\\slash','é')",
        [1, 2, 3, 4, 5, 6, 7, 0],
    ));
    samples.push(sample("ENUM('x','é') CHARACTER SET latin1", [1, 2]));
    samples.push(sample("ENUM('x','日') CHARACTER SET utf16", [1, 2]));
    samples.push(sample(
        format!("ENUM({many})").leak(),
        [0, 1, 255, 256, 300],
    ));
    samples.push(sample("SET('a','b','c')", [0, 1, 2, 3, 5, 7]));
    samples.push(sample("SET('x','é') CHARACTER SET latin1", [0, 1, 2, 3]));
    for count in [8, 9, 16, 17, 24, 25, 32, 33, 64] {
        let some: String = (0..count).map(|n| format!("'s{n}',")).collect();
        let some = format!("SET({})", some.trim_end_matches(',')).leak();
        let most = u64::MAX >> (64 - count);
        samples.push(sample(
            some,
            [0, 1, most, most >> 1, 0x5555_5555_5555_5555 & most],
        ));
    }
}

fn documents(samples: &mut Vec<Sample>) {
    let deep = "REPLACE(CONCAT(REPEAT('[', 99), REPEAT(']', 99)), 'x', '')";
    samples.push(sample(
        "JSON",
        [
            "'null'", "'true'", "'false'", "'1'", "'-1'", "'\"\"'", "'\"x\"'", "'[]'", "'{}'", "'1.0'",
            "'-0.0'", "'1e2'", "'1e20'", "'0.1e-5'", "'1e-20'", "'1.7976931348623157e308'",
            "'32767'", "'32768'", "'-32768'", "'-32769'", "'65535'", "'65536'", "'2147483647'",
            "'2147483648'", "'-2147483648'", "'-2147483649'", "'4294967295'", "'4294967296'",
            "'9223372036854775807'", "'-9223372036854775808'", "'18446744073709551615'",
            "'12345678901234567890123'",
            "'{\"a\": 1, \"b\": [1, 2.0, \"x\"], \"c\": {\"d\": null, \"e\": true}}'",
            "'{\"bb\": 1, \"a\": 2, \"\": 3, \"é\": \"日\"}'",
            "JSON_OBJECT('k', 'tab\\t nl\\n cr\\r bs\\b q\\\" s\\\\ z\\0 u\\Z / \u{7f}')",
            "JSON_OBJECT('d', CAST(1.50 AS DECIMAL(10,2)), 'e', CAST(-0.05 AS DECIMAL(65,30)))",
            "JSON_ARRAY(CAST('2024-01-01' AS DATE), CAST('2024-01-01 10:00:00.5' AS DATETIME(1)))",
            "JSON_ARRAY(CAST('-10:00:00' AS TIME), CAST('838:59:59.123456' AS TIME(6)), CAST('-00:00:00.5' AS TIME(6)))",
            "JSON_ARRAY(CAST('0000-00-00 00:00:00' AS DATETIME), CAST('2024-00-00' AS DATE))",
            "JSON_ARRAY(x'00ff', b'101', CAST(REPEAT('x', 57) AS BINARY), CAST(REPEAT('y', 58) AS BINARY), CAST('' AS BINARY))",
            "JSON_ARRAY(CAST(REPEAT('z', 300) AS BINARY), ST_GeomFromText('POINT(1 2)'), CAST(2024 AS YEAR), TIMESTAMP '2024-05-05 05:05:05')",
            "JSON_ARRAY(REPEAT('long ', 30), REPEAT('longer ', 5000))",
            "JSON_OBJECT('big', REPEAT('x', 70000), 'i', 70000, 'u', 3000000000, 'n', null, 'a', JSON_ARRAY(1, 70000, -70000))",
            "JSON_ARRAY(JSON_ARRAY(JSON_ARRAY(JSON_OBJECT('x', JSON_ARRAY()))), 0.1e0, 1e15, 1e16, 123456789012345678e0)",
            deep,
        ],
    ));
}
