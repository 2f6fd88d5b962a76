//! Verbs that Longshore calls itself: what runs inside a run or a Pod of the doctor, and the local backend's shim.
//! They are not part of the command line that people see, so neither help nor tips nor completion name them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "longshore", version)]
struct InternalCli {
    #[command(subcommand)]
    command: Internal,
}

/// A verb for Longshore itself.
#[derive(Debug, Subcommand)]
pub(super) enum Internal {
    /// Longshore's own runners, for use inside a run
    #[command(subcommand)]
    Runner(Runner),
    /// Execute a program with the environment that a file has
    Enter {
        /// Program and arguments
        #[arg(required = true, last = true)]
        program: Vec<OsString>,
    },
    /// Start and reap the process of a local run
    Shim {
        /// Directory of the run
        directory: PathBuf,
    },
}

/// A runner.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Runner {
    /// SQL over CSV files
    Sql,
    /// One of the Pods of `doctor --canary`
    #[command(subcommand)]
    Canary(CanaryArgs),
}

/// What a Pod of `longshore doctor --canary` does.
#[derive(Clone, Debug, Subcommand)]
pub enum CanaryArgs {
    /// Greet every client that connects
    Listen {
        /// Port
        #[arg(long)]
        port: u16,
    },
    /// Call a listener; exit 0 if the last call got through, 1 if not
    Connect {
        /// Its address
        address: SocketAddr,
        /// How long to call
        #[arg(long, default_value = "10")]
        seconds: u64,
    },
}

/// The internal verb that `arguments` (the program's name first) ask for; `None` if they ask for no such verb.
pub(super) fn parse(arguments: &[OsString]) -> Result<Option<Internal>, clap::Error> {
    match arguments.get(1).and_then(|verb| verb.to_str()) {
        Some("enter" | "runner" | "shim") => InternalCli::try_parse_from(arguments).map(|cli| Some(cli.command)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        InternalCli::command().debug_assert();
    }

    #[test]
    fn only_internal_verbs_are_taken() {
        let parsed = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            parse(&words)
        };
        assert!(matches!(parsed(&["longshore", "runner", "sql"]), Ok(Some(Internal::Runner(Runner::Sql)))));
        assert!(matches!(parsed(&["longshore", "shim", "/d"]), Ok(Some(Internal::Shim { .. }))));
        assert!(parsed(&["longshore", "runner", "nothing"]).is_err());
        for other in [&["longshore"][..], &["longshore", "run"], &["longshore", "--server", "shim"]] {
            assert!(parsed(other).unwrap().is_none(), "{other:?}");
        }
    }
}
