//! ALTER TABLE: the clauses that leave rows as they are (MySQL manual, "ALTER
//! TABLE Statement"). A clause that is not among them may change rows, and so may
//! those of later versions.

use super::tokens::{Token, split};

/// The effect of an ALTER TABLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alteration {
    /// Neither rows nor columns change.
    Nothing,
    /// Columns of these names are added, and all else stays.
    Adds(Vec<String>),
    /// Rows may change, or be hidden.
    Rows,
}

/// Options that say how rows are stored or read, or what rows to come are like.
/// Each has a value of one word or text.
const OPTIONS: [&str; 24] = [
    "ALGORITHM",
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARSET",
    "CHECKSUM",
    "COLLATE",
    "COMMENT",
    "COMPRESSION",
    "DELAY_KEY_WRITE",
    "ENCRYPTION",
    "ENGINE_ATTRIBUTE",
    "KEY_BLOCK_SIZE",
    "LOCK",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "TABLESPACE",
];

/// Reads what stands behind ALTER TABLE.
pub(super) fn alteration(tokens: &[Token]) -> Alteration {
    let behind_the_name = match tokens {
        [_, Token::Mark('.'), _, clauses @ ..]
        | [Token::Mark('.'), _, clauses @ ..]
        | [_, clauses @ ..] => clauses,
        [] => return Alteration::Rows,
    };
    let mut added = Vec::new();
    for clause in split(behind_the_name).flat_map(single_additions) {
        let words: Vec<String> = clause.iter().map(|token| token.shape()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            // It stands last, and names of partitions may follow.
            [
                "ADD" | "ANALYZE" | "CHECK" | "COALESCE" | "OPTIMIZE" | "REBUILD",
                "PARTITION",
                ..,
            ] => break,
            // It may stand behind another clause, without a comma.
            _ if words.contains(&"PARTITION") || words.contains(&"PARTITIONING") => {
                return Alteration::Rows;
            }
            _ if leaves_rows(&words) => {}
            ["ADD", name, ..] if !NO_COLUMNS.contains(&name) => {
                added.extend(clause.get(1).and_then(|name| name.identifier()));
            }
            _ => return Alteration::Rows,
        }
    }
    if added.is_empty() {
        return Alteration::Nothing;
    }
    Alteration::Adds(added.into_iter().map(str::to_owned).collect())
}

/// Reserved words that stand behind ADD in place of a column's name, and rows
/// may change: a primary key makes NULL what it takes for zero.
const NO_COLUMNS: [&str; 3] = ["PRIMARY", "CONSTRAINT", "IF"];

/// `ADD COLUMN (a INT, b INT)` as `ADD a INT` and `ADD b INT`.
fn single_additions<'a>(clause: &'a [Token]) -> Vec<Vec<&'a Token>> {
    let (add, rest) = match clause {
        [add, column, rest @ ..] if add.is("ADD") && column.is("COLUMN") => (add, rest),
        [add, rest @ ..] if add.is("ADD") => (add, rest),
        _ => return vec![clause.iter().collect()],
    };
    let one = |definition: &'a [Token]| std::iter::once(add).chain(definition).collect();
    match rest {
        [Token::Mark('('), definitions @ .., Token::Mark(')')] => {
            split(definitions).map(one).collect()
        }
        definition => vec![one(definition)],
    }
}

/// Whether a clause changes neither rows nor columns.
fn leaves_rows(words: &[&str]) -> bool {
    match words {
        [
            "ADD",
            "INDEX" | "KEY" | "FULLTEXT" | "SPATIAL" | "UNIQUE" | "FOREIGN" | "CHECK",
            ..,
        ]
        | ["DROP", "INDEX" | "KEY" | "CHECK" | "CONSTRAINT", _]
        | ["DROP", "FOREIGN", "KEY", _]
        | ["DROP", "PRIMARY", "KEY"]
        | ["RENAME", "INDEX" | "KEY", _, "TO", _]
        | ["ALTER", "INDEX", _, "VISIBLE" | "INVISIBLE"]
        | ["ALTER", "CHECK" | "CONSTRAINT", _, .., "ENFORCED"]
        | ["ALTER", "COLUMN", _, "SET" | "DROP", "DEFAULT", ..]
        | ["ALTER", _, "SET" | "DROP", "DEFAULT", ..]
        | ["ENABLE" | "DISABLE", "KEYS"]
        | ["WITH" | "WITHOUT", "VALIDATION"]
        | ["FORCE"] => true,
        ["ADD", "CONSTRAINT", rest @ ..] => !rest.contains(&"PRIMARY"),
        options => are_options(options),
    }
}

/// Options need no comma between them.
fn are_options(words: &[&str]) -> bool {
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "=").collect();
    let mut rest = words.as_slice();
    while !rest.is_empty() {
        rest = match rest {
            ["DEFAULT", rest @ ..]
            | ["CHARACTER", "SET", _, rest @ ..]
            // A rebuild, or a move to an engine that keeps every value.
            | ["ENGINE", "INNODB", rest @ ..] => rest,
            [option, _, rest @ ..] if OPTIONS.contains(option) => rest,
            _ => return false,
        };
    }
    true
}
