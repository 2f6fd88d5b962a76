//! `longshore token create`: makes a static token, of which the server keeps only the hash.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use crate::terminal::console::Console;
use crate::terminal::error::CliError;
use crate::terminal::values;
use longshore_config::{StaticToken, TokenFile};

pub(crate) const EXAMPLES: &str = "\
Examples:
  longshore token create ci --group builders --file tokens.toml
      prints the token, and adds its hash to tokens.toml
  longshore token create alice --expires 90d
      prints the token on stdout, and on stderr what belongs into the file

The server reads the file that authentication.token_file names, and again when it changes.
The token is shown once: it is kept nowhere.";

/// Verbs about static tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token
    #[command(after_help = EXAMPLES)]
    Create(CreateArgs),
}

/// Arguments of `longshore token create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// User that the token stands for
    user: String,
    /// Group that the user is in; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// For how long it is good, such as 90d or 12h [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = values::local_duration, allow_hyphen_values = true)]
    expires: Option<Duration>,
    /// File that its hash is added to; made if it is missing
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) async fn token(command: &TokenCommand, console: &Console) -> Result<u8, CliError> {
    let TokenCommand::Create(CreateArgs { user, groups, expires, file }) = command;
    if user.is_empty() {
        return Err(CliError::usage("a token needs a user"));
    }
    if let Some(path) = file {
        check(path).map_err(|why| {
            CliError::usage(format!("--file {}: {why}; it is left as it was, and no token was made", path.display()))
        })?;
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
    let (token, section) = StaticToken::generate(user.clone(), groups.clone(), expire_time)
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

/// Whether an entry may be added to what is at `path`: nothing yet, or a file of tokens.
fn check(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err("it is not a regular file".to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    }
    let text = std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let text = String::from_utf8(text).map_err(|_| "it is not a token file, as it is not UTF-8".to_owned())?;
    TokenFile::parse(&text).map(drop).map_err(|why| format!("it is not a token file: {why}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_added_to_a_file_of_tokens_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        assert_eq!(check(&path), Ok(()));
        let (_, section) = StaticToken::generate("ci".to_owned(), Vec::new(), None).unwrap();
        let entry = section.to_toml().unwrap();
        for text in ["", "# mine\n", &entry] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(check(&path), Ok(()), "{text}");
        }
        for (text, why) in [
            (&b"FROM alpine\n"[..], "it is not a token file: line 1: "),
            (b"listen = \"127.0.0.1:1\"\n", "it is not a token file: line 1: "),
            (b"[[tokens]]\nuser = \"a\"\nsha256 = \"12\"\n", "it is not a token file: tokens[0].sha256"),
            (b"\xff", "it is not a token file, as it is not UTF-8"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(check(&path).unwrap_err().starts_with(why), "{:?}", check(&path));
        }
        assert_eq!(check(dir.path()), Err("it is not a regular file".to_owned()));
    }
}
