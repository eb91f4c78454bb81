//! What the command line says of itself, and that the documentation's commands are some.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, Parser};
use evictd::cli::Cli;

use crate::support::scratch;

const EVICTD: &str = env!("CARGO_BIN_EXE_evictd");

/// Splits as a shell does, as far as the examples need it: quotes, comments, and what comes after a pipe, a
/// redirection or a wide gap is left out.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '|' | '>' | '#') => break,
            (None, ' ') => {
                words.push(std::mem::take(&mut word));
                if letters.peek() == Some(&' ') {
                    break;
                }
            }
            (_, letter) => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The lines of `text` that run evictd, without their indentation. Where there are prompts, the lines without one are
/// what a command prints.
fn commands(text: &str) -> Vec<&str> {
    let lines = || text.lines().map(str::trim);
    let prompted: Vec<&str> = lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let typed = match prompted.is_empty() {
        true => lines().collect(),
        false => prompted,
    };
    let is_ours = |line: &&str| line.starts_with("evictd ");
    typed.into_iter().filter(is_ours).collect()
}

fn parses(line: &str, from: &str) {
    if let Err(error) = Cli::try_parse_from(words(line)) {
        panic!("{from}: {line}\n{error}");
    }
}

#[test]
fn every_command_in_the_documentation_and_in_the_help_is_one() {
    Cli::command().debug_assert();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for page in [
        "README.md",
        "docs/configuration.md",
        "docs/guarantees.md",
        "docs/operations.md",
    ] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let in_fences = text.split("```").skip(1).step_by(2);
        for line in in_fences.flat_map(|fence| commands(fence)) {
            parses(line, page);
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
    let cli = Cli::command();
    for command in cli.get_subcommands() {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let examples = commands(&help);
        assert!(
            !examples.is_empty(),
            "{} has no example",
            command.get_name()
        );
        for line in examples {
            parses(line, command.get_name());
        }
    }
}

#[test]
fn a_command_that_is_none_is_refused_with_a_suggestion_and_no_trace() {
    for (args, expected) in [
        (&["chekc"][..], "'check'"),
        (&["replay", "--form", "earliest"], "'--from'"),
        (&["replay"], "--from"),
        (&["checkpoint", "set", "nonsense"], "is not a position"),
        (&["replay", "--since", "yesterday"], "--since"),
        (&["run", "--format", "json"], "--dry-run"),
    ] {
        let refused = Command::new(EVICTD)
            .args(args)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(text.contains(expected), "{args:?}: {text}");
        assert!(
            !text.contains("panicked") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}

#[test]
fn completions_name_every_command_and_the_manual_has_a_page_for_each() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = Command::new(EVICTD)
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(made.status.success(), "{shell}");
        let script = String::from_utf8(made.stdout).unwrap();
        for command in ["replay", "explain", "checkpoint"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let dir = scratch("man");
    let made = Command::new(EVICTD)
        .arg("man")
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    for page in [
        "evictd.1",
        "evictd-run.1",
        "evictd-replay.1",
        "evictd-checkpoint-set.1",
    ] {
        let text = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(
            text.starts_with(".ie") || text.contains(".TH evictd"),
            "{page}: {text}"
        );
    }
    let refused = Command::new(EVICTD)
        .args(["man", "/nonexistent/man"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for command in [
        "completions bash",
        "check --offline --config config/evictd.toml",
    ] {
        let script = format!("set -o pipefail; (sleep 0.3; exec {EVICTD} {command}) | exec true");
        let piped = Command::new("bash")
            .args(["-c", &script])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert_eq!(piped.status.code(), Some(0), "{command}: {piped:?}");
    }
}
