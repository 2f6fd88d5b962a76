//! Failures of what is done to several runs.

use crate::terminal::console::Console;
use crate::terminal::error::CliError;

/// Failures among several runs: all but the last are reported as they come.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    last: Option<CliError>,
}

impl Failures {
    pub(crate) fn add(&mut self, error: CliError, console: &Console) {
        if let Some(before) = self.last.replace(error) {
            console.error(&before.explain().unwrap_or_default());
        }
    }

    pub(crate) fn result(self) -> Result<u8, CliError> {
        self.last.map_or(Ok(0), Err)
    }
}
