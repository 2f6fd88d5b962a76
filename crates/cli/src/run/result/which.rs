//! Whether the argument of `longshore result` names a run or a file.
//!
//! What can be a run's id or name is a run, whatever files there are: what a script prints must not depend on where it
//! was started. What can be no run, such as `build.log` or `./x`, is a file.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::terminal::error::CliError;
use crate::terminal::text::clean;

/// What is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// A file, or stdin: `-`.
    Text(PathBuf),
    /// A run: its id or whole name.
    Run(String),
}

/// What the flags say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forced {
    Run,
    File,
}

impl Which {
    pub(super) fn of(argument: &OsStr, forced: Option<Forced>) -> Result<Self, CliError> {
        let text = || Self::Text(argument.into());
        let run = || argument.to_str().map(|run| Self::Run(run.to_owned()));
        match forced {
            Some(Forced::File) => Ok(text()),
            Some(Forced::Run) => run().ok_or_else(|| {
                let shown = OsString::from(argument).to_string_lossy().into_owned();
                CliError::usage(format!("--run: `{}` is not a run: give its id or whole name", clean(&shown)))
            }),
            None => {
                let name = argument.to_str().unwrap_or_default();
                let whole = name.starts_with("namespaces/") && name.contains("/runs/");
                Ok(run().filter(|_| whole || may_be_id(name)).unwrap_or_else(text))
            }
        }
    }
}

/// Whether a run may have this id, or one that begins or ends with it.
fn may_be_id(text: &str) -> bool {
    !text.is_empty()
        && text != "-"
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_run_is_one() {
        let of = |text: &str, forced| match Which::of(OsStr::new(text), forced).unwrap() {
            Which::Text(path) => format!("file {}", path.display()),
            Which::Run(run) => format!("run {run}"),
        };
        for (text, expected) in [
            ("-", "file -"),
            ("nightly-7", "run nightly-7"),
            ("./nightly-7", "file ./nightly-7"),
            ("logs/nightly-7", "file logs/nightly-7"),
            ("build.log", "file build.log"),
            ("Nightly", "file Nightly"),
            ("", "file "),
            ("namespaces/team/runs/x", "run namespaces/team/runs/x"),
            ("./namespaces/team/runs/x", "file ./namespaces/team/runs/x"),
        ] {
            assert_eq!(of(text, None), expected);
        }
        assert_eq!(of("build.log", Some(Forced::Run)), "run build.log");
        assert_eq!(of("nightly-7", Some(Forced::File)), "file nightly-7");
    }
}
