//! Paths: their encoding, their length and their classes.

use super::*;

#[test]
fn a_path_that_is_too_long_becomes_a_wildcard() {
    let fields = "paths = [\"/p/{slug}\", \"/q/{id}/{slug}*\"]";
    let fits = "x".repeat(4_000 - "/p/".len());
    let expected = format!("r: invalidate /p/{fits}");
    let planned = plan(&rule(fields), None, Some(&row(7, &fits, 1)));
    assert_eq!(planned[0], expected);
    check(
        fields,
        None,
        Some(row(7, &format!("{fits}x"), 1)),
        &[
            "r: widened by path-too-long",
            "r: invalidate /p/*",
            "r: widened by path-too-long",
            "r: invalidate /q/*",
        ],
    );
}

#[test]
fn values_in_paths_are_encoded_as_cloudfront_compares_them() {
    let cases = [
        ("a b", "/p/a%20b"),
        ("5*4", "/p/5%2A4"),
        ("a/b", "/p/a/b"),
        ("größe", "/p/gr%C3%B6%C3%9Fe"),
        ("100%", "/p/100%25"),
        ("a%20b", "/p/a%20b"),
        ("q?x=1&y", "/p/q%3Fx=1&y"),
        ("#top", "/p/%23top"),
        ("~me", "/p/%7Eme"),
        (
            "a;b|c^d`e[f]{g}<h>\\\"",
            "/p/a;b%7Cc%5Ed%60e%5Bf%5D%7Bg%7D%3Ch%3E%5C%22",
        ),
        ("\u{0}\r\n\u{7f}", "/p/%00%0D%0A%7F"),
        ("a//b/../c/.", "/p/a//b/../c/."),
        ("", "/p/"),
    ];
    for (slug, path) in cases {
        check(
            "paths = [\"/p/{slug}\"]",
            None,
            Some(row(7, slug, 1)),
            &[&format!("r: invalidate {path}")],
        );
    }
    let encoded = "paths = [\"/p/{slug|urlencode}\", \"/größe/{id}*\"]";
    check(
        encoded,
        None,
        Some(row(7, "a/b*ü~%3F?", 1)),
        &[
            "r: invalidate /p/a%2Fb%2A%C3%BC%7E%253F%3F",
            "r: invalidate /gr%C3%B6%C3%9Fe/7*",
        ],
    );
}

#[test]
fn a_query_string_begins_where_the_template_says() {
    check(
        "paths = [\"/~s?q={slug}\", \"/p/{slug}?page={id}\"]\nkeys = [\"p:{slug|urlencode}\"]",
        None,
        Some(row(7, "what?~", 1)),
        &[
            "r: delete p:what%3F~",
            "r: invalidate /%7Es?q=what?%7E",
            "r: invalidate /p/what%3F%7E?page=7",
        ],
    );
}

const CLASSES: &str = "[[path]]\npattern = \"/checkout/*\"\nclass = \"strong\"\n\
     [[path]]\npattern = \"/static/*\"\nclass = \"immutable\"\n\
     [[path]]\npattern = \"/stock/*\"\nclass = \"short-ttl\"\n";

#[test]
fn a_short_ttl_path_is_counted_and_not_sent() {
    let rules = rules(&format!(
        "{CLASSES}[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\n\
         keys = [\"stock:{{id}}\"]\npaths = [\"/stock/{{slug|urlencode}}\", \"/u/{{id}}\"]\n"
    ));
    assert_eq!(
        plan(&rules, None, Some(&row(7, "a", 1))),
        [
            "r: delete stock:7",
            "r: skip /stock/a (short-ttl)",
            "r: invalidate /u/7"
        ]
    );
}

#[test]
fn whether_a_path_can_be_strong_depends_on_the_columns_type() {
    let bind = |path: &str| {
        let rules = rules(&format!(
            "{CLASSES}[[rule]]\nname = \"r\"\ntables = [\"shop.users\"]\npaths = ['{path}']\n"
        ));
        rules
            .bind(&users())
            .map(drop)
            .map_err(|error| (error.line, error.message))
    };
    for path in [
        "/{id}",
        "/{id}/x",
        "/{slug|urlencode}",
        "/{raw|hex}/pay",
        "/{slug|md5}/x",
        "/{raw|uuid}/{slug}",
        "/u/{slug}",
    ] {
        assert_eq!(bind(path), Ok(()), "{path}");
    }
    for path in ["/{slug}", "/{at}", "/{slug|urlencode}/{id}"] {
        let expected = format!(
            "rule \"r\": path \"{path}\" can produce /static/, which is of class immutable and never \
             invalidated; narrow the template (`|urlencode` keeps a value inside its segment) or put a \
             more specific [[path]] before"
        );
        assert_eq!(bind(path), Err((17, expected)));
    }
}
