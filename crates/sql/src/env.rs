//! The environment that a run gives its runner, as a plain value, so that tests need no process environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where a runner finds its request and its files, and where its result goes. Every field may be unset.
///
/// A variable that is set to nothing counts as unset.
#[derive(Debug, Clone, Default)]
pub struct RunnerEnv {
    /// `LONGSHORE_INPUT_JSON`: the request itself. It is asked first.
    pub input_json: Option<OsString>,
    /// `LONGSHORE_INPUT`: the file that holds the request. It is asked if `input_json` is unset.
    pub input_path: Option<PathBuf>,
    /// `LONGSHORE_DATA`: a directory with one subdirectory for each data set. If set, it must be readable.
    pub data: Option<PathBuf>,
    /// `LONGSHORE_FILES`: the read-only directory with the run's files.
    pub files: Option<PathBuf>,
    /// `LONGSHORE_RESULT`: the result file. A result of at most 4,096 bytes is written there too.
    pub result_path: Option<PathBuf>,
    /// `LONGSHORE_RESULT_MARKER`: what goes before a result of at most 4,096 bytes on its line of stdout.
    pub marker: Option<String>,
}

impl RunnerEnv {
    /// Reads the variables of this process.
    ///
    /// A marker that is not UTF-8 or holds a line break can't mark a line and is left out.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        Self {
            input_json: set("LONGSHORE_INPUT_JSON"),
            input_path: set("LONGSHORE_INPUT").map(PathBuf::from),
            data: set("LONGSHORE_DATA").map(PathBuf::from),
            files: set("LONGSHORE_FILES").map(PathBuf::from),
            result_path: set("LONGSHORE_RESULT").map(PathBuf::from),
            marker: set("LONGSHORE_RESULT_MARKER")
                .and_then(|marker| marker.into_string().ok())
                .filter(|marker| !marker.contains(['\n', '\r'])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variables_count_as_unset() {
        let env = RunnerEnv::from_lookup(|name| match name {
            "LONGSHORE_INPUT_JSON" => Some(OsString::new()),
            "LONGSHORE_INPUT" => Some("/in/request.json".into()),
            "LONGSHORE_RESULT_MARKER" => Some("two\nlines".into()),
            _ => None,
        });
        assert_eq!(env.input_json, None);
        assert_eq!(env.input_path, Some(PathBuf::from("/in/request.json")));
        assert_eq!(env.marker, None);
        assert_eq!(env.data, None);
    }
}
