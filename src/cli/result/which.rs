//! Whether the argument of `longshore result` names a run or a file.
//!
//! A file that exists is meant, as by any other program that takes files. What is no file and can be
//! a run's id or name is a run. What can be no run, such as `build.log` or `./x`, is a file, also
//! where there is none.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::text::clean;

/// What is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// A file, or stdin: `-`.
    Text(PathBuf),
    /// A run: its id or whole name. `sure`: nothing else can have been meant.
    Run { run: String, sure: bool },
}

/// What the flags say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forced {
    Run,
    File,
}

impl Which {
    pub(super) fn of(argument: &OsStr, forced: Option<Forced>) -> Result<Self, CliError> {
        let is_file = |path: &Path| path.metadata().is_ok_and(|metadata| !metadata.is_dir());
        decide(argument, forced, is_file)
    }
}

fn decide(argument: &OsStr, forced: Option<Forced>, is_file: impl Fn(&Path) -> bool) -> Result<Which, CliError> {
    let text = || Which::Text(argument.into());
    let run = |sure| argument.to_str().map(|run| Which::Run { run: run.to_owned(), sure });
    match forced {
        Some(Forced::File) => Ok(text()),
        Some(Forced::Run) => run(true).ok_or_else(|| {
            let shown = OsString::from(argument).to_string_lossy().into_owned();
            CliError::usage(format!("--run: `{}` is not a run: give its id or whole name", clean(&shown)))
        }),
        None if argument == "-" || is_file(Path::new(argument)) => Ok(text()),
        None => {
            let name = argument.to_str().unwrap_or_default();
            let whole = name.starts_with("namespaces/") && name.contains("/runs/");
            let run = run(whole).filter(|_| whole || may_be_id(name));
            Ok(run.unwrap_or_else(text))
        }
    }
}

/// Whether a run may have this id, or one that begins or ends with it.
fn may_be_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_first_and_what_can_be_no_run_is_one() {
        let exists = |path: &Path| path == Path::new("here") || path == Path::new("namespaces/a/runs/b");
        let of = |text: &str, forced| match decide(OsStr::new(text), forced, exists).unwrap() {
            Which::Text(path) => format!("file {}", path.display()),
            Which::Run { run, sure } => format!("run {run}{}", if sure { "!" } else { "" }),
        };
        for (text, expected) in [
            ("-", "file -"),
            ("here", "file here"),
            ("nightly-7", "run nightly-7"),
            ("./nightly-7", "file ./nightly-7"),
            ("logs/nightly-7", "file logs/nightly-7"),
            ("build.log", "file build.log"),
            ("Nightly", "file Nightly"),
            ("", "file "),
            ("namespaces/team/runs/x", "run namespaces/team/runs/x!"),
            ("namespaces/a/runs/b", "file namespaces/a/runs/b"),
        ] {
            assert_eq!(of(text, None), expected);
        }
        assert_eq!(of("here", Some(Forced::Run)), "run here!");
        assert_eq!(of("nightly-7", Some(Forced::File)), "file nightly-7");
    }
}
