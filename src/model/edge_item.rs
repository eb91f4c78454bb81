//! The items of an invalidation: paths, and cache tags after a `#`.
//!
//! CloudFront compares a path as it is, or by its beginning where it ends in
//! `*`. A tag has no wildcard, and its case does not count (CloudFront developer
//! guide, "What you need to know when invalidating tags"). `/*` covers
//! everything, whatever its tags.

use std::borrow::Cow;

/// Longest tag that CloudFront takes, in characters.
pub const TAG_CHARS_MAX: usize = 256;

/// Longest name of a tenant. CloudFront's own ids have thirty characters.
pub const TENANT_CHARS_MAX: usize = 128;

/// The path that covers everything that a distribution has cached.
pub const EVERYTHING: &str = "/*";

/// Why a rendered tag cannot be invalidated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Nothing was rendered.
    #[error("the tag is empty")]
    Empty,
    /// Longer than CloudFront takes.
    #[error("the tag has {chars} characters, CloudFront takes at most {TAG_CHARS_MAX}")]
    TooLong { chars: usize },
    /// A character that the origin's header could not name in a tag.
    #[error(
        "byte {at} of the tag is not a printable ASCII character, or it is a space or a comma, \
         which no tag can have"
    )]
    Character {
        /// The byte's offset.
        at: usize,
    },
}

/// Appends `text` to `out` as the item of a tag, in lower case: tags that differ
/// only in case are one tag.
///
/// # Errors
///
/// See [`TagError`]; `out` is then as it was.
pub fn push_tag(text: &[u8], out: &mut String) -> Result<(), TagError> {
    if text.is_empty() {
        return Err(TagError::Empty);
    }
    check_tag(text)?;
    if text.len() > TAG_CHARS_MAX {
        return Err(TagError::TooLong { chars: text.len() });
    }
    out.push('#');
    out.extend(text.iter().map(u8::to_ascii_lowercase).map(char::from));
    Ok(())
}

/// Checks that a tag may contain these bytes.
///
/// # Errors
///
/// The first byte that it may not contain.
pub fn check_tag(text: &[u8]) -> Result<(), TagError> {
    let allowed = |byte: &u8| matches!(byte, b'!'..=b'~') && *byte != b',';
    match text.iter().position(|byte| !allowed(byte)) {
        Some(at) => Err(TagError::Character { at }),
        None => Ok(()),
    }
}

/// Whether an item is a tag.
pub fn is_tag(item: &str) -> bool {
    item.starts_with('#')
}

/// The beginning that a wildcard's paths share; `None` for other items. The `*`
/// of a tag is a character like others.
pub fn wildcard_prefix(item: &str) -> Option<&str> {
    if is_tag(item) {
        None
    } else {
        item.strip_suffix('*')
    }
}

/// Whether an item is a path that ends in `*`.
pub fn is_wildcard(item: &str) -> bool {
    wildcard_prefix(item).is_some()
}

/// Whether an invalidation of `sent` covers `item`. If `item` is a wildcard, all
/// of its paths must be covered.
pub fn matches(sent: &str, item: &str) -> bool {
    sent == item
        || sent == EVERYTHING
        || wildcard_prefix(sent).is_some_and(|prefix| item.starts_with(prefix))
}

/// Whether a tenant of a multi-tenant distribution can have this name.
pub fn is_tenant(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=TENANT_CHARS_MAX).contains(&name.len()) && name.iter().all(allowed)
}

/// An item after its tenant, as `dt_1:/users/7`.
pub fn of_tenant<'a>(tenant: Option<&str>, item: &'a str) -> Cow<'a, str> {
    match tenant {
        None => Cow::Borrowed(item),
        Some(tenant) => Cow::Owned(format!("{tenant}:{item}")),
    }
}

/// Takes apart what [`of_tenant`] made.
pub fn split_tenant(text: &str) -> (Option<&str>, &str) {
    if text.starts_with(['/', '#']) {
        return (None, text);
    }
    match text.split_once(':') {
        Some((tenant, item)) => (Some(tenant), item),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Result<String, TagError> {
        let mut out = String::from("kept ");
        let pushed = push_tag(text.as_bytes(), &mut out);
        let rest = out.strip_prefix("kept ").unwrap().to_owned();
        assert_eq!(pushed.is_err(), rest.is_empty());
        pushed.map(|()| rest)
    }

    #[test]
    fn a_tag_is_what_the_origins_header_can_name_and_has_no_case() {
        let longest = "x".repeat(TAG_CHARS_MAX);
        for (text, expected) in [
            ("user-7", Ok("#user-7".to_owned())),
            ("User-7:Ä", Err(TagError::Character { at: 7 })),
            ("Product:TV!~", Ok("#product:tv!~".to_owned())),
            ("#a*", Ok("##a*".to_owned())),
            ("", Err(TagError::Empty)),
            ("a b", Err(TagError::Character { at: 1 })),
            ("a,b", Err(TagError::Character { at: 1 })),
            ("a\t", Err(TagError::Character { at: 1 })),
            ("\u{7f}", Err(TagError::Character { at: 0 })),
            (&longest, Ok(format!("#{longest}"))),
            (
                &format!("{longest}x"),
                Err(TagError::TooLong { chars: 257 }),
            ),
        ] {
            assert_eq!(tag(text), expected, "{text}");
        }
    }

    #[test]
    fn a_tag_is_matched_by_itself_and_by_everything_alone() {
        for (sent, item, expected) in [
            ("/a", "/a", true),
            ("/a*", "/ab", true),
            ("/a*", "/ab*", true),
            ("/ab*", "/a*", false),
            ("#a", "#a", true),
            ("#a*", "#ab", false),
            ("#a*", "#a*", true),
            ("/a*", "#a", false),
            ("/*", "#a", true),
            ("/*", "/a", true),
            ("#a", "/a", false),
        ] {
            assert_eq!(matches(sent, item), expected, "{sent} {item}");
        }
        assert!(is_wildcard("/a*") && !is_wildcard("#a*") && !is_wildcard("/a"));
    }

    #[test]
    fn an_item_and_its_tenant_are_told_apart() {
        for (tenant, item, joined) in [
            (None, "/a:b", "/a:b"),
            (None, "#a:b", "#a:b"),
            (Some("dt_1"), "/a:b", "dt_1:/a:b"),
            (Some("shop.one-1"), "#a:b", "shop.one-1:#a:b"),
        ] {
            assert_eq!(of_tenant(tenant, item), joined);
            assert_eq!(split_tenant(joined), (tenant, item));
        }
        for (name, expected) in [
            ("dt_2wjDZi3hD1ivOXf6rpZJO1AB", true),
            ("shop-1.example", true),
            ("", false),
            ("a/b", false),
            ("a:b", false),
            ("zoë", false),
        ] {
            assert_eq!(is_tenant(name.as_bytes()), expected, "{name}");
        }
    }
}
