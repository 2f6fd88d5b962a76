//! `longshore completion`: completion scripts.

use clap_complete::Shell;

use super::usage;
use crate::terminal::console::Console;
use crate::terminal::error::CliError;

const EXAMPLES: &str = "\
Examples:
  source <(longshore completion bash)
  longshore completion zsh > \"${fpath[1]}/_longshore\"
  longshore completion fish > ~/.config/fish/completions/longshore.fish";

/// Arguments of `longshore completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

pub(super) async fn completion(args: &CompletionArgs, console: &Console) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut usage::command(), "longshore", &mut script);
    console.out(&script).await?;
    Ok(0)
}
