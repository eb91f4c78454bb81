//! Who may import whom, which vendor's crate stays where, and what is free of I/O.

use super::tokens::{Token, tokens};
use super::{sources, text};

/// Every top-level module with the modules that it may import. `main` and
/// `lib` are not among them: they name everything and hold nothing.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("model", &[]),
    ("telemetry", &[]),
    ("durable", &[]),
    ("credentials", &["telemetry"]),
    ("redis", &["model", "telemetry", "credentials"]),
    ("rules", &["model"]),
    ("binlog", &["model", "telemetry", "credentials"]),
    ("cache", &["model", "telemetry", "redis"]),
    ("checkpoint", &["model", "telemetry", "durable", "redis"]),
    ("buffer", &["model", "telemetry", "durable"]),
    ("edge", &["model", "telemetry", "durable"]),
    ("ledger", &["model", "telemetry", "durable"]),
    ("config", &["model", "rules"]),
    (
        "progress",
        &["model", "telemetry", "rules", "binlog", "edge", "ledger"],
    ),
    (
        "evict",
        &[
            "model",
            "telemetry",
            "rules",
            "binlog",
            "cache",
            "buffer",
            "checkpoint",
            "ledger",
            "progress",
        ],
    ),
    (
        "drain",
        &[
            "model",
            "telemetry",
            "rules",
            "buffer",
            "edge",
            "edge",
            "ledger",
            "progress",
        ],
    ),
    (
        "plans",
        &[
            "model",
            "telemetry",
            "rules",
            "binlog",
            "edge",
            "progress",
            "evict",
        ],
    ),
    ("cli", &["model", "plans", "telemetry"]),
];

/// May import everything, and is imported by `main` alone.
const WIRING: &str = "command";

/// Crates of a vendor or a format, with the only modules that may name them.
const STAYS_IN: [(&str, &[&str]); 26] = [
    ("mysql_async", &["binlog"]),
    ("mysql_common", &["binlog"]),
    ("rustls", &["binlog"]),
    ("tokio_rustls", &["binlog"]),
    ("webpki_roots", &["binlog"]),
    ("zstd", &["binlog"]),
    ("redis", &["redis", "cache", "checkpoint"]),
    ("aws_config", &["credentials", "buffer", "edge", "command"]),
    ("aws_credential_types", &["credentials"]),
    ("aws_sigv4", &["credentials"]),
    ("aws_sdk_sqs", &["buffer"]),
    ("aws_sdk_cloudfront", &["edge"]),
    ("redb", &["buffer"]),
    ("cel", &["rules"]),
    ("toml", &["config"]),
    ("clap", &["cli", "main", "command"]),
    ("clap_complete", &["cli", "command"]),
    ("clap_mangen", &["command"]),
    ("indicatif", &["command"]),
    ("anyhow", &["command"]),
    ("tracing_subscriber", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry", "command"]),
    ("hyper", &["telemetry"]),
    ("hyper_util", &["telemetry"]),
    ("http_body_util", &["telemetry"]),
    ("sd_notify", &["telemetry"]),
];

/// Values in, values out.
const PURE: [&str; 2] = ["model", "rules"];

/// What a pure module must not name: I/O, clocks, async.
const IMPURE: [&str; 10] = [
    "tokio",
    "async",
    "await",
    "fs",
    "net",
    "process",
    "thread",
    "Instant",
    "SystemTime",
    "rand",
];

/// The first words of the paths after `from`: one, or those of a `{…}` group.
fn heads(tokens: &[Token], from: usize) -> Vec<Token> {
    if tokens.get(from).is_none_or(|(_, word)| word != "{") {
        return tokens.get(from).cloned().into_iter().collect();
    }
    let (mut depth, mut expected, mut out) = (0, false, Vec::new());
    for token in &tokens[from..] {
        match token.1.as_str() {
            "{" => {
                depth += 1;
                expected = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => expected = depth == 1,
            _ if expected => {
                out.push(token.clone());
                expected = false;
            }
            _ => {}
        }
    }
    out
}

/// What is wrong with the file at `path`, which is relative to `src`.
fn violations(path: &str, source: &str) -> Vec<String> {
    let segments: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    let module = segments[0];
    // How many `super::` lead to the crate's root.
    let depth = segments.iter().filter(|segment| **segment != "mod").count();
    let allowed = MAY_IMPORT
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, allowed)| *allowed);
    let known = |name: &str| name == WIRING || MAY_IMPORT.iter().any(|(module, _)| *module == name);
    let tokens = tokens(source);
    let word = |index: usize| tokens.get(index).map_or("", |(_, word)| word.as_str());
    let colons = |index: usize| word(index) == ":" && word(index + 1) == ":";
    let mut out = Vec::new();
    if !known(module) && !matches!(module, "main" | "lib") {
        out.push(format!(
            "src/{path}:1: no rule says what module `{module}` may import"
        ));
    }
    for (index, (line, text)) in tokens.iter().enumerate() {
        let after_path = index >= 2 && colons(index - 2);
        let mut imported = Vec::new();
        if text == "crate" && colons(index + 1) {
            imported = heads(&tokens, index + 3);
        } else if text == "super" && !after_path {
            let mut end = index;
            let mut supers = 0;
            while word(end) == "super" && colons(end + 1) {
                (end, supers) = (end + 3, supers + 1);
            }
            if supers >= depth {
                imported = heads(&tokens, end);
            }
        }
        for (line, name) in imported {
            let is_free = matches!(module, "main" | "lib" | WIRING) || name == module;
            if known(&name) && !is_free && !allowed.is_some_and(|list| list.contains(&&*name)) {
                out.push(format!(
                    "src/{path}:{line}: `{module}` must not know `{name}`"
                ));
            }
        }
        let names_crate = !after_path && colons(index + 1);
        if let Some((_, homes)) = STAYS_IN
            .iter()
            .find(|(name, _)| names_crate && name == text)
            && !homes.contains(&module)
        {
            out.push(format!(
                "src/{path}:{line}: crate `{text}` belongs to {} and not to `{module}`",
                homes.join(", ")
            ));
        }
        if PURE.contains(&module) && IMPURE.contains(&text.as_str()) {
            out.push(format!(
                "src/{path}:{line}: `{module}` is pure and must not name `{text}`"
            ));
        }
    }
    out
}

#[test]
fn no_module_imports_one_that_it_must_not_know() {
    let mut found = Vec::new();
    for path in sources() {
        found.extend(violations(&path, &text(&path)));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn forbidden_imports_are_found_however_they_are_written() {
    let cases = [
        (
            "model/keys.rs",
            "use crate::rules::Rules;",
            "src/model/keys.rs:1: `model` must not know `rules`",
        ),
        (
            "rules/mod.rs",
            "\n\nfn f(c: crate::config::Config) {}",
            "src/rules/mod.rs:3: `rules` must not know `config`",
        ),
        (
            "edge/mod.rs",
            "use crate::{\n    model::Op,\n    cache::{Cache, buffer},\n};",
            "src/edge/mod.rs:3: `edge` must not know `cache`",
        ),
        (
            "binlog/row.rs",
            "use super::super::evict::tail;",
            "src/binlog/row.rs:1: `binlog` must not know `evict`",
        ),
        (
            "binlog/mod.rs",
            "use super::evict::tail;",
            "src/binlog/mod.rs:1: `binlog` must not know `evict`",
        ),
        (
            "cli.rs",
            "use super::command;",
            "src/cli.rs:1: `cli` must not know `command`",
        ),
        (
            "evict/tail.rs",
            "let c = '\"'; use crate::config::Config;",
            "src/evict/tail.rs:1: `evict` must not know `config`",
        ),
        (
            "evict/tail.rs",
            "use redis::Client;",
            "src/evict/tail.rs:1: crate `redis` belongs to redis, cache, checkpoint and not to `evict`",
        ),
        (
            "model/path.rs",
            "use std::fs::File;",
            "src/model/path.rs:1: `model` is pure and must not name `fs`",
        ),
        (
            "rules/rule.rs",
            "async fn f() {}",
            "src/rules/rule.rs:1: `rules` is pure and must not name `async`",
        ),
        (
            "sink/mod.rs",
            "",
            "src/sink/mod.rs:1: no rule says what module `sink` may import",
        ),
    ];
    for (path, source, expected) in cases {
        assert_eq!(violations(path, source), [expected], "{path}: {source}");
    }
}

#[test]
fn links_strings_and_allowed_imports_are_no_offence() {
    let source = r##"
        //! See [`crate::rules`] and /* crate::cache */.
        /* crate::cache::Redis /* crate::edge */ crate::buffer */
        use crate::model::{Op, path};
        use crate::telemetry::cause::chain;
        pub(crate) fn f<'a>(text: &'a str) -> bool { text == "crate::rules::Rules" }
        const RAW: &str = r#"use crate::cache::Redis; " "#;
        const QUOTE: char = '\'';
        use self::redis::Redis;
        use crate::edge::Edge;
    "##;
    assert_eq!(violations("edge/cloudfront.rs", source), [""; 0]);
}

/// The library's own conversions panic at a row that is not what was asked for.
#[test]
fn answers_of_mysql_are_read_in_one_file() {
    let asking = |path: &String| {
        tokens(&text(path))
            .iter()
            .any(|(_, word)| word == "Queryable")
    };
    let files: Vec<String> = sources().into_iter().filter(asking).collect();
    assert_eq!(files, ["binlog/connection/client.rs"]);
}
