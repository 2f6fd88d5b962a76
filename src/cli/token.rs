//! `longshore token create`: makes a static token, of which the server keeps only the hash.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use super::console::Console;
use super::error::CliError;
use super::values;
use crate::config::TokenSection;

pub(super) const EXAMPLES: &str = "\
Examples:
  longshore token create ci --group builders --file tokens.toml
      prints the token, and adds its hash to tokens.toml
  longshore token create alice --expires 90d
      prints the token on stdout, and on stderr what belongs into the file

The server reads the file that authentication.token_file names, and again when it changes.
The token is shown once: it is kept nowhere.";

/// Verbs about static tokens.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token
    #[command(after_help = EXAMPLES)]
    Create(CreateArgs),
}

/// Arguments of `longshore token create`.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// User that the token stands for
    user: String,
    /// Group that the user is in; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// For how long it is good, such as 90d or 12h [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = values::local_duration)]
    expires: Option<Duration>,
    /// File that its hash is added to; made if it is missing
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) async fn token(command: &TokenCommand, console: &Console) -> Result<u8, CliError> {
    let TokenCommand::Create(CreateArgs { user, groups, expires, file }) = command;
    if user.is_empty() {
        return Err(CliError::usage("a token needs a user"));
    }
    let expire_time = match expires {
        None => None,
        Some(lifetime) if lifetime.as_secs() == 0 => {
            return Err(CliError::usage("--expires: the token would never be good; expected at least 1s"));
        }
        Some(lifetime) => {
            let end = Timestamp::now().checked_add(*lifetime);
            // Whole seconds, as everywhere.
            Some(
                end.and_then(|end| Timestamp::from_second(end.as_second()))
                    .map_err(|_| CliError::usage("--expires: too far in the future"))?,
            )
        }
    };
    let (token, section) = TokenSection::generate(user.clone(), groups.clone(), expire_time)
        .context("this machine gives no random numbers")?;
    let entry = section.to_toml().context("the entry cannot be written as TOML")?;
    match file {
        Some(path) => {
            append(path, &entry).with_context(|| format!("cannot add the token to {}", path.display()))?;
            console.note(&format!("its hash was added to {}; the token is shown this once:", path.display()));
        }
        None => console.note(&format!(
            "for the file that authentication.token_file names:\n\n{entry}\nthe token is shown this once:"
        )),
    }
    console.out(format!("{token}\n").as_bytes()).await?;
    Ok(0)
}

/// Adds to the end, in one write, so that a server that reads meanwhile sees all of it or nothing.
fn append(path: &Path, entry: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(format!("\n{entry}").as_bytes())?;
    file.sync_all()
}
