//! The command line: its help, its completions, its manual pages, and that the documentation's commands exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, Parser};
use evictd::cli::Cli;

use crate::support::scratch;

const EVICTD: &str = env!("CARGO_BIN_EXE_evictd");

/// Splits a line into words as a shell does, as far as the examples need it. Comments are left out, and so is what
/// follows a pipe, a redirection or a wide gap.
pub fn words(line: &str) -> Vec<String> {
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

/// The lines of `text` that run evictd, without their indentation. Where some lines have a prompt, the others are output.
fn commands(text: &str) -> Vec<&str> {
    let lines = || text.lines().map(str::trim);
    let prompted: Vec<&str> = lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let typed = if prompted.is_empty() {
        lines().collect()
    } else {
        prompted
    };
    let is_ours = |line: &&str| line.starts_with("evictd ");
    typed.into_iter().filter(is_ours).collect()
}

/// Every command in the code blocks of the documentation and in the examples of the help, once.
pub fn documented() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for directory in ["docs", "ecs"] {
        let Ok(listed) = fs::read_dir(root.join(directory)) else {
            continue;
        };
        pages.extend(listed.map(|entry| entry.unwrap().path()));
    }
    let mut documented = BTreeSet::new();
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|end| end == "md"))
    {
        let text = fs::read_to_string(page).unwrap();
        let in_fences = text.split("```").skip(1).step_by(2);
        for line in in_fences.flat_map(|fence| commands(fence)) {
            documented.insert(line.to_owned());
        }
    }
    for command in Cli::command().get_subcommands() {
        documented.extend(examples(command));
    }
    documented
}

fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    commands(&help).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_command_in_the_documentation_and_in_the_help_exists() {
    let cli = Cli::command();
    cli.clone().debug_assert();
    for command in cli.get_subcommands() {
        assert!(!examples(command).is_empty(), "{}", command.get_name());
    }
    let lines = documented();
    assert!(lines.len() >= 30, "{lines:#?}");
    for line in lines {
        if let Err(error) = Cli::try_parse_from(words(&line)) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn a_wrong_command_is_refused_with_a_suggestion_and_without_a_trace() {
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
fn a_reader_that_closes_the_output_early_is_not_a_failure() {
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
