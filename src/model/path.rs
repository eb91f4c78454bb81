//! The form of a path that CloudFront invalidates.
//!
//! CloudFront compares an invalidation path with the request's path as the
//! viewer sent it. Encoding too little is refused, encoding too much names
//! another object, and then **nothing is invalidated without an error**. So
//! exactly the characters that RFC 3986 does not allow in a path or a query
//! are encoded, and `~`, which CloudFront refuses: it wants what RFC 1738 calls
//! unsafe to be encoded (CloudFront developer guide, "Specify the files to
//! invalidate").

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// The characters that a path encodes: all but RFC 3986's unreserved characters without `~`, sub-delims, and `:` `@`
/// `/` `?`. `#` is encoded, because a viewer never sends a fragment.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'?');

/// A value's `*` is never a wildcard.
const ENCODED_IN_QUERY: &AsciiSet = &ENCODED.add(b'*');

/// A value's `?` begins no query string.
const ENCODED_IN_VALUE: &AsciiSet = &ENCODED_IN_QUERY.add(b'?');

/// Longest path that CloudFront takes, in characters.
pub const PATH_CHARS_MAX: usize = 4_000;

/// Why a rendered path cannot be invalidated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing was rendered.
    #[error("the path is empty; write \"/\" for the root, or \"/*\" for everything")]
    Empty,
    /// Longer than CloudFront takes.
    #[error(
        "the path has {chars} characters when encoded, CloudFront takes at most {PATH_CHARS_MAX}; \
         end the template with \"*\" before the long part"
    )]
    TooLong {
        /// Length of the encoded path.
        chars: usize,
    },
    /// A `*` before the end: CloudFront knows it only as a path's last character.
    #[error(
        "\"*\" at byte {at} of the path is not a wildcard: CloudFront knows it only as the \
         template's last character; encode a literal one as %2A"
    )]
    StarInside {
        /// Offset of the `*` in the rendered path.
        at: usize,
    },
}

/// Appends `path` in CloudFront's form to `out`.
///
/// A missing leading `/` is added. `%XX` escapes stay as they are, so that
/// encoding twice changes nothing; a `%` that does not begin one becomes `%25`.
/// `wildcard` says that a final `*` is the template's own. Every other `*` is
/// an error: a value must not widen an invalidation by accident, see
/// [`encode_value`].
///
/// # Errors
///
/// See [`PathError`]; `out` is then as it was.
pub fn encode(path: &[u8], wildcard: bool, out: &mut String) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    let body = match path.strip_suffix(b"*") {
        Some(body) if wildcard => body,
        _ => path,
    };
    if let Some(at) = body.iter().position(|&byte| byte == b'*') {
        return Err(PathError::StarInside { at });
    }
    let before = out.len();
    if !path.starts_with(b"/") {
        out.push('/');
    }
    append(body, ENCODED, out);
    if body.len() < path.len() {
        out.push('*');
    }
    let chars = out.len() - before;
    if chars > PATH_CHARS_MAX {
        out.truncate(before);
        return Err(PathError::TooLong { chars });
    }
    Ok(())
}

/// Appends the text of a template without its wildcard to `out`. Encodes as
/// [`encode`] does: a `?` begins the query string.
pub fn encode_literal(text: &[u8], out: &mut String) {
    append(text, ENCODED, out);
}

/// Appends a placeholder's value to `out`. Encodes as [`encode`] does, and also
/// what would end the path: `*`, and `?` unless the value stands `in_query`, a
/// query string that the template began, where `?` is a character like others.
/// A value that is encoded stays as it is.
pub fn encode_value(value: &[u8], in_query: bool, out: &mut String) {
    let encoded = if in_query {
        ENCODED_IN_QUERY
    } else {
        ENCODED_IN_VALUE
    };
    append(value, encoded, out);
}

/// The form in which paths and patterns are compared: escapes that RFC 3986,
/// section 6.2.2, calls equal to their byte are that byte, and those of reserved
/// characters stay. So `/%7Eme` and `/~me` are one path, and `/a%2Fb` and `/a/b`
/// are two.
pub fn normalized(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match after {
            [high, low, ..] if byte == b'%' => hex_byte(*high, *low).filter(is_not_reserved),
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        if escaped.is_some() {
            rest = after.get(2..).unwrap_or_default();
        }
    }
    Cow::Owned(out)
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Not one of RFC 3986's gen-delims and sub-delims, nor `%`.
fn is_not_reserved(byte: &u8) -> bool {
    !b"%:/?#[]@!$&'()*+,;=".contains(byte)
}

fn append(path: &[u8], encoded: &'static AsciiSet, out: &mut String) {
    let mut parts = path.split(|&byte| byte == b'%');
    out.extend(percent_encode(parts.next().unwrap_or_default(), encoded));
    for part in parts {
        let is_escape = matches!(part, [high, low, ..]
            if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        out.push_str(if is_escape { "%" } else { "%25" });
        out.extend(percent_encode(part, encoded));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(path: &[u8], wildcard: bool) -> Result<String, PathError> {
        let mut out = String::new();
        encode(path, wildcard, &mut out).map(|()| out)
    }

    #[test]
    fn only_what_must_be_encoded_is() {
        for (path, expected) in [
            ("/", "/"),
            ("/users/42", "/users/42"),
            ("users/42", "/users/42"),
            ("/a b", "/a%20b"),
            ("/größe", "/gr%C3%B6%C3%9Fe"),
            ("/a%20b", "/a%20b"),
            ("/a%c3%bc", "/a%c3%bc"),
            ("/100%", "/100%25"),
            ("/100%2", "/100%252"),
            ("/100%zz", "/100%25zz"),
            ("/~me/-._", "/%7Eme/-._"),
            ("/s?q=a&b=c,d;e", "/s?q=a&b=c,d;e"),
            ("/!$&'()+,;=:@", "/!$&'()+,;=:@"),
            ("/\"<>\\^`{|}", "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
            ("/a#b[c]", "/a%23b%5Bc%5D"),
            ("/\u{0}\t\n\u{7f}", "/%00%09%0A%7F"),
            ("/dir/", "/dir/"),
        ] {
            assert_eq!(encoded(path.as_bytes(), false).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_encoded_one_by_one() {
        assert_eq!(encoded(b"/\xff\xc3(", false).as_deref(), Ok("/%FF%C3("));
    }

    #[test]
    fn a_star_is_a_wildcard_only_as_the_templates_last_character() {
        for (path, wildcard, expected) in [
            ("/users/*", true, Ok("/users/*".to_owned())),
            ("*", true, Ok("/*".to_owned())),
            ("/users/1", true, Ok("/users/1".to_owned())),
            ("/users/*", false, Err(PathError::StarInside { at: 7 })),
            ("/*/edit", true, Err(PathError::StarInside { at: 1 })),
            ("/a**", true, Err(PathError::StarInside { at: 2 })),
        ] {
            assert_eq!(encoded(path.as_bytes(), wildcard), expected, "{path}");
        }
    }

    #[test]
    fn a_star_from_a_value_never_widens_the_path() {
        let mut rendered = String::from("/search/");
        encode_value("5*4 ü".as_bytes(), false, &mut rendered);
        assert_eq!(
            encoded(rendered.as_bytes(), true).as_deref(),
            Ok("/search/5%2A4%20%C3%BC")
        );
    }

    #[test]
    fn a_values_question_mark_begins_no_query_string() {
        for (template, value, expected) in [
            ("/p/", "what?", "/p/what%3F"),
            ("/s?q=", "what?", "/s?q=what?"),
            ("/p/", "what%3F", "/p/what%3F"),
        ] {
            let mut rendered = String::from(template);
            encode_value(value.as_bytes(), template.contains('?'), &mut rendered);
            assert_eq!(rendered, expected);
        }
    }

    #[test]
    fn equal_paths_have_one_form() {
        for (path, expected) in [
            ("/~me/ö", "/~me/ö"),
            ("/%7Eme/%c3%B6", "/~me/ö"),
            ("/a%2Fb%3f%2A%25", "/a%2Fb%3f%2A%25"),
            ("/%", "/%"),
            ("/%7", "/%7"),
            ("/%%7E", "/%~"),
        ] {
            assert_eq!(&*normalized(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn an_empty_path_is_refused() {
        assert_eq!(encoded(b"", true), Err(PathError::Empty));
    }

    #[test]
    fn the_limit_counts_encoded_characters_and_leaves_no_rest_behind() {
        let longest = format!("/{}", "a".repeat(PATH_CHARS_MAX - 1));
        assert_eq!(encoded(longest.as_bytes(), false), Ok(longest.clone()));
        let mut out = String::from("kept");
        assert_eq!(
            encode(&[b' '; 1_334], false, &mut out),
            Err(PathError::TooLong { chars: 4_003 })
        );
        assert_eq!(out, "kept");
    }

    fn decoded(path: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = path.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let pair: Vec<u8> = bytes.by_ref().take(2).collect();
                out.extend(hex::decode(pair).unwrap());
            } else {
                out.push(byte);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn an_encoded_path_is_plain_ascii_and_encoding_it_again_changes_nothing(
            path in prop::collection::vec(any::<u8>().prop_filter("star", |b| *b != b'*'), 1..200)
        ) {
            let once = encoded(&path, false).unwrap();
            prop_assert!(once.starts_with('/'));
            let allowed = b"-._!$&'()*+,;=:@/?%";
            prop_assert!(once.bytes().all(|b| b.is_ascii_alphanumeric() || allowed.contains(&b)));
            prop_assert_eq!(encoded(once.as_bytes(), false), Ok(once.clone()));
        }

        #[test]
        fn decoding_gives_the_value_back_when_it_held_no_escapes(
            value in prop::collection::vec(any::<u8>().prop_filter("escape", |b| *b != b'%'), 0..200)
        ) {
            let mut out = String::new();
            encode_value(&value, false, &mut out);
            prop_assert!(!out.contains(['*', '?']));
            prop_assert_eq!(decoded(&out), value);
        }
    }
}
