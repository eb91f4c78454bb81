//! A statement's words, names and punctuation, in any SQL mode.

/// A part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Dot,
    Other,
    /// The statement ends.
    End,
}

impl Token {
    /// Whether it is this word, in upper or lower case.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(have) if have.eq_ignore_ascii_case(word))
    }

    /// The name that it may be.
    pub(super) fn identifier(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            Token::Dot | Token::Other | Token::End => None,
        }
    }
}

/// The statement's tokens. A backslash escapes what comes after it or, with
/// the SQL mode NO_BACKSLASH_ESCAPES, does not: where that makes a difference,
/// both readings, one after the other.
pub(super) fn readings(sql: &str) -> Vec<Token> {
    let mut out = tokens(sql, true);
    if sql.contains('\\') {
        let literal = tokens(sql, false);
        if literal != out {
            out.extend(literal);
        }
    }
    out
}

/// Splits a statement into words, quoted identifiers and the rest. Comments
/// are skipped, but not the contents of a versioned one (`/*!80000 … */`).
pub(super) fn tokens(sql: &str, escapes: bool) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let after = |n: usize| rest.get(n..).unwrap_or_default();
        if let Some(versioned) = rest.strip_prefix("/*!") {
            rest = versioned.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if rest.starts_with("*/") {
            rest = after(2);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if c == '#' || rest.starts_with("-- ") || rest.starts_with("--\t") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if matches!(c, '`' | '\'' | '"') {
            let (text, tail) = quoted(after(1), c, escapes);
            // With ANSI_QUOTES "…" is an identifier, and counts as one always.
            out.push(if c == '\'' {
                Token::Other
            } else {
                Token::Quoted(text)
            });
            rest = tail;
        } else if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            out.push(Token::Word(rest.get(..end).unwrap_or_default().to_owned()));
            rest = after(end);
        } else {
            match c {
                '.' => out.push(Token::Dot),
                c if c.is_whitespace() => {}
                _ => out.push(Token::Other),
            }
            rest = after(c.len_utf8());
        }
    }
    out.push(Token::End);
    out
}

/// Identifiers that are not quoted may hold everything beyond ASCII, symbols
/// and blanks included (MySQL manual, "Schema Object Names").
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

/// Reads up to and over the closing quote; a doubled one stands for itself.
fn quoted(text: &str, quote: char, escapes: bool) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes && quote != '`' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
                out.push(quote);
            } else {
                return (out, text.get(at + c.len_utf8()..).unwrap_or_default());
            }
        } else {
            out.push(c);
        }
    }
    (out, "")
}
