//! `evictd completions` and `evictd man`: made from the command line's types,
//! so that they cannot fall behind.

use clap::CommandFactory;

use super::{CommandError, print};
use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// Prints completions for a shell.
pub fn completions(options: &CompletionsArgs) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "evictd", &mut script);
    print(&script)
}

/// Writes a page for evictd and one for each command.
pub fn pages(options: &ManArgs) -> Result<(), CommandError> {
    clap_mangen::generate_to(Cli::command(), &options.directory).map_err(|error| {
        CommandError::failed(anyhow::anyhow!(
            "{}: {error}; name a directory that exists and can be written",
            options.directory.display()
        ))
    })
}
