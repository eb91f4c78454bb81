//! Every text that an operator can see, in one place: a change of one shows in
//! the snapshots beside this file. `INSTA_UPDATE=always cargo test --test live
//! messages` accepts it.

use std::fmt::Write as _;

use clap::CommandFactory;
use evictd::cli::Cli;
use evictd::telemetry::metric;

use crate::architecture::tokens::{code, literals};
use crate::architecture::{is_test, sources, text};

/// A literal without what only the source's layout needs.
fn plain(literal: &str) -> String {
    let mut out = String::new();
    let mut lines = literal.split("\\\n");
    out.push_str(lines.next().unwrap_or_default());
    lines.for_each(|line| out.push_str(line.trim_start()));
    out.replace("\\\"", "\"")
}

/// Whether a literal is a text for people: three words at least.
fn is_a_text(literal: &str) -> bool {
    literal.split(' ').filter(|word| !word.is_empty()).count() > 2
        && literal.contains(|c: char| c.is_ascii_lowercase())
}

/// The texts of errors, logs and output, by file.
fn texts() -> Vec<(String, Vec<String>)> {
    let of_file = |path: String| {
        let source = text(&path);
        let found = literals(code(&source)).into_iter();
        let texts = found
            .map(|(_, literal)| plain(&literal))
            .filter(|text| is_a_text(text));
        (path, texts.collect::<Vec<String>>())
    };
    let files = sources().into_iter().filter(|path| !is_test(path));
    files
        .map(of_file)
        .filter(|(_, texts)| !texts.is_empty())
        .collect()
}

#[test]
fn errors_logs_and_output_read_as_they_did() {
    let mut all = String::new();
    for (path, texts) in texts() {
        writeln!(all, "# src/{path}").unwrap();
        texts
            .iter()
            .for_each(|text| writeln!(all, "{text}").unwrap());
        all.push('\n');
    }
    insta::assert_snapshot!("errors_logs_and_output", all);
}

#[test]
fn help_reads_as_it_did() {
    let mut all = String::new();
    let mut command = Cli::command().term_width(100);
    command.build();
    writeln!(all, "{}", command.render_long_help()).unwrap();
    for subcommand in command.get_subcommands_mut() {
        let name = subcommand.get_name().to_owned();
        writeln!(all, "\n# evictd {name}\n{}", subcommand.render_long_help()).unwrap();
    }
    let trimmed: Vec<&str> = all.lines().map(str::trim_end).collect();
    insta::assert_snapshot!("help", trimmed.join("\n"));
}

#[test]
fn metrics_are_explained_as_they_were() {
    let mut all = String::new();
    for metric in metric::ALL {
        writeln!(all, "{}: {}", metric.name, metric.help()).unwrap();
    }
    insta::assert_snapshot!("metrics", all);
}

#[test]
fn texts_say_what_something_is_not_as_a_native_speaker_would() {
    let mut found = Vec::new();
    for (path, texts) in texts() {
        for text in texts {
            let words: Vec<&str> = text.split_whitespace().collect();
            let stilted = words
                .windows(2)
                .any(|pair| matches!(pair, ["is" | "are", "no"]));
            if stilted
                && !words
                    .windows(3)
                    .any(|three| matches!(three, ["there", "is" | "are", "no"]))
            {
                found.push(format!("src/{path}: {text}"));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_text_is_read_out_of_a_literal_however_it_is_laid_out() {
    let source = "const A: &str = \"one \\\n     two three\"; // \"no four words\"\n\
        fn f() { g(\"two words\"); h(r#\"say \"x\" now\"#); }";
    let found: Vec<String> = literals(source)
        .iter()
        .map(|(_, text)| plain(text))
        .collect();
    assert_eq!(
        found,
        ["one two three", "two words", "r#\"say \"x\" now\"#"]
    );
    assert!(is_a_text(&found[0]) && !is_a_text(&found[1]));
    assert!(!is_a_text("SELECT A FROM B"));
}
