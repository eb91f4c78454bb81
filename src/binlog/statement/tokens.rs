//! A statement's words, names and punctuation, in every way that the server may
//! have read it.

/// A part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// In backticks or double quotes: with ANSI_QUOTES `"…"` is a name, and counts
    /// as one always.
    Quoted(String),
    /// In single quotes.
    Text,
    Mark(char),
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
            Token::Text | Token::Mark(_) => None,
        }
    }

    /// The word in upper case, or the punctuation.
    pub(super) fn shape(&self) -> String {
        match self {
            Token::Word(word) => word.to_ascii_uppercase(),
            Token::Quoted(_) => "`".to_owned(),
            Token::Text => "'".to_owned(),
            Token::Mark(mark) => mark.to_string(),
        }
    }
}

/// The meaning of text that depends on a server's settings and version.
#[derive(Clone, Copy)]
struct Syntax {
    /// A backslash escapes what comes after it: not so with the SQL mode
    /// NO_BACKSLASH_ESCAPES.
    escapes: bool,
    /// The contents of a comment such as `/*!80000 … */` are read.
    versioned: bool,
}

/// The statement's tokens, in each way that the server may have read it. A
/// reading without any token is none: nothing was run.
pub(super) fn readings(sql: &str) -> Vec<Vec<Token>> {
    let either = |possible: bool| {
        if possible {
            &[true, false][..]
        } else {
            &[true]
        }
    };
    let mut out: Vec<Vec<Token>> = Vec::new();
    for &versioned in either(sql.contains("/*!")) {
        for &escapes in either(sql.contains('\\')) {
            let tokens = tokens(sql, Syntax { escapes, versioned });
            if !tokens.is_empty() && !out.contains(&tokens) {
                out.push(tokens);
            }
        }
    }
    out
}

/// The parts between commas that stand in no parentheses.
pub(super) fn split(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    let mut depth = 0_usize;
    tokens.split(move |token| {
        match token {
            Token::Mark('(') => depth += 1,
            Token::Mark(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Mark(',')
    })
}

/// Splits a statement into words, names, texts and punctuation, without comments
/// and semicolons.
fn tokens(sql: &str, syntax: Syntax) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let after = |n: usize| rest.get(n..).unwrap_or_default();
        if let Some(contents) = rest.strip_prefix("/*!").filter(|_| syntax.versioned) {
            rest = contents.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if rest.starts_with("*/") {
            rest = after(2);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if c == '#' || rest.starts_with("-- ") || rest.starts_with("--\t") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if matches!(c, '`' | '\'' | '"') {
            let (text, tail) = quoted(after(1), c, syntax.escapes);
            out.push(if c == '\'' {
                Token::Text
            } else {
                Token::Quoted(text)
            });
            rest = tail;
        } else if is_word(c) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            out.push(Token::Word(rest.get(..end).unwrap_or_default().to_owned()));
            rest = after(end);
        } else {
            if !c.is_whitespace() && c != ';' {
                out.push(Token::Mark(c));
            }
            rest = after(c.len_utf8());
        }
    }
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
