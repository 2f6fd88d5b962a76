//! The binary: hands the command line what only the composition root can do.

use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use longshore::cli::{self, Daemon, DemoOptions, DemoServer};
use longshore::config::{ReleaseArgs, ServeArgs};

fn main() -> ExitCode {
    cli::main(&Longshore)
}

struct Longshore;

// PLACEHOLDER until `app` and `runner` are here.
#[async_trait]
impl Daemon for Longshore {
    async fn serve(&self, _args: ServeArgs) -> anyhow::Result<ExitCode> {
        anyhow::bail!("`serve` is not wired yet")
    }

    async fn start_demo(&self, _options: DemoOptions) -> anyhow::Result<Box<dyn DemoServer>> {
        anyhow::bail!("`demo` is not wired yet")
    }

    async fn release(&self, _args: ReleaseArgs) -> anyhow::Result<ExitCode> {
        anyhow::bail!("`release` is not wired yet")
    }

    async fn runner_sql(&self) -> ExitCode {
        ExitCode::FAILURE
    }

    fn shim(&self, _directory: PathBuf) -> ExitCode {
        ExitCode::FAILURE
    }
}
