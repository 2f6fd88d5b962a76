//! The binary: hands the command line what only the composition root can do.

use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use longshore::app;
use longshore::cli::{self, Daemon, DemoOptions, DemoServer};
use longshore::config::{ReleaseArgs, ServeArgs};
use longshore::runner::{self, RunnerEnv};

fn main() -> ExitCode {
    cli::main(&Longshore)
}

struct Longshore;

#[async_trait]
impl Daemon for Longshore {
    async fn serve(&self, args: ServeArgs) -> anyhow::Result<ExitCode> {
        app::serve(args).await
    }

    async fn start_demo(&self, options: DemoOptions) -> anyhow::Result<Box<dyn DemoServer>> {
        let DemoOptions { state_dir, listen } = options;
        Ok(Box::new(Demo(app::Demo::start(state_dir, listen).await?)))
    }

    async fn release(&self, args: ReleaseArgs) -> anyhow::Result<ExitCode> {
        app::release(args).await
    }

    async fn runner_sql(&self) -> ExitCode {
        runner::run_sql(&RunnerEnv::from_env()).await
    }

    fn shim(&self, directory: PathBuf) -> ExitCode {
        runner::shim::shim(&directory)
    }
}

struct Demo(app::Demo);

#[async_trait]
impl DemoServer for Demo {
    fn address(&self) -> String {
        format!("http://{}", self.0.address())
    }

    async fn shutdown(self: Box<Self>) -> anyhow::Result<()> {
        self.0.stop().await.map(|_| ())
    }
}
