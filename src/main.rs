//! The binary: hands the command line what only the composition root can do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use longshore::app;
use longshore::cli::{self, CanaryArgs, Daemon, DemoOptions, DemoServer};
use longshore::config::{DoctorArgs, ReleaseArgs, ServeArgs};
use longshore::runner::{self, RunnerEnv};
use longshore::runtime::finding::{Finding, Progress};
use tokio_util::sync::CancellationToken;

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
        Ok(Box::new(RunningDemo(app::Demo::start(state_dir, listen).await?)))
    }

    async fn release(&self, args: ReleaseArgs) -> anyhow::Result<ExitCode> {
        app::release(args).await
    }

    async fn doctor(&self, args: DoctorArgs, stop: CancellationToken, progress: Progress<'_>) -> Vec<Finding> {
        app::doctor(args, stop, progress).await
    }

    async fn canary(&self, canary: CanaryArgs) -> ExitCode {
        match canary {
            CanaryArgs::Listen { port } => runner::canary::listen(port).await,
            CanaryArgs::Connect { address, seconds } => {
                runner::canary::connect(address, Duration::from_secs(seconds)).await
            }
        }
    }

    async fn runner_sql(&self) -> ExitCode {
        runner::run_sql(&RunnerEnv::from_env()).await
    }

    fn enter(&self, program: Vec<OsString>) -> ExitCode {
        runner::enter::enter(&program)
    }

    fn shim(&self, directory: PathBuf) -> ExitCode {
        runner::shim::shim(&directory)
    }
}

struct RunningDemo(app::Demo);

#[async_trait]
impl DemoServer for RunningDemo {
    fn address(&self) -> String {
        format!("http://{}", self.0.address())
    }

    async fn shutdown(self: Box<Self>) -> anyhow::Result<()> {
        self.0.stop().await.map(|_| ())
    }
}
