//! Rust as words and punctuation.

/// A word or a single character of punctuation, with its line.
pub type Token = (usize, String);

/// Splits Rust into words and punctuation. Comments, strings and characters
/// are left out, so that a link in a comment is not an import.
pub fn tokens(source: &str) -> Vec<Token> {
    scan(source).0
}

/// The string literals, as they are written between their quotes.
pub fn literals(source: &str) -> Vec<Token> {
    scan(source).1
}

/// The words and punctuation, and the string literals.
fn scan(source: &str) -> (Vec<Token>, Vec<Token>) {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let mut out: Vec<Token> = Vec::new();
    let mut literals: Vec<Token> = Vec::new();
    let (mut index, mut line) = (0, 1);
    while index < text.len() {
        let start = index;
        match (at(index), at(index + 1)) {
            ('/', '/') => {
                while index < text.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= text.len() {
                        break;
                    }
                }
            }
            ('"', _) => {
                index = end_of_string(&text, index);
                let end = (index - 1).min(text.len());
                literals.push((line, text[start + 1..end].iter().collect()));
            }
            ('r', '"' | '#') if raw_string(&text, index).is_some() => {
                index = raw_string(&text, index).unwrap();
                literals.push((line, text[start..index].iter().collect()));
            }
            ('\'', '\\') => {
                index += 3;
                while at(index - 1) != '\'' && index <= text.len() {
                    index += 1;
                }
            }
            ('\'', _) if at(index + 2) == '\'' => index += 3,
            (c, _) if c.is_alphanumeric() || c == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                out.push((line, text[start..index].iter().collect()));
            }
            (c, _) => {
                index += 1;
                if !c.is_whitespace() {
                    out.push((line, c.to_string()));
                }
            }
        }
        let end = index.min(text.len());
        line += text[start..end].iter().filter(|c| **c == '\n').count();
    }
    (out, literals)
}

fn end_of_string(text: &[char], open: usize) -> usize {
    let mut index = open + 1;
    while index < text.len() && text[index] != '"' {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// The end of `r"…"` or `r#"…"#`, if one begins here.
fn raw_string(text: &[char], start: usize) -> Option<usize> {
    let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let close = |index: &usize| {
        text[*index] == '"'
            && text.len() > index + hashes
            && text[index + 1..=index + hashes].iter().all(|c| *c == '#')
    };
    Some((open + 1..text.len()).find(close)? + hashes + 1)
}

/// The part of a file that is not a test: what stands before its first
/// `#[cfg(test)]` on a module with a body.
pub fn code(source: &str) -> &str {
    let end = source.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
        let line = source[*at..].lines().nth(1).unwrap_or_default();
        line.ends_with('{')
    });
    end.map_or(source, |(at, _)| &source[..at])
}
