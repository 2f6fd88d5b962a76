//! `longshore version`: which version this command is.

use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::output::OutputArgs;

const EXAMPLES: &str = "\
Examples:
  longshore version
  longshore info              the server's version too

No server is asked.";

/// Arguments of `longshore version`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn version(args: &VersionArgs, console: &Console) -> Result<u8, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let text = if args.output.is_json() {
        format!("{}\n", serde_json::json!({ "version": version }))
    } else {
        format!("longshore {version}\n")
    };
    console.out(text.as_bytes()).await?;
    Ok(0)
}
