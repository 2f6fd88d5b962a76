//! The binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Serve(longshore::config::ServeArgs),
    Release(longshore::config::ReleaseArgs),
    Runner { name: String },
    Shim { dir: PathBuf },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Verb::Shim { dir } = &cli.verb {
        return Ok(longshore::runner::shim::shim(dir));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match cli.verb {
            Verb::Serve(args) => longshore::app::serve(args).await,
            Verb::Release(args) => longshore::app::release(args).await,
            Verb::Runner { .. } => Ok(longshore::runner::run_sql(&longshore::runner::RunnerEnv::from_env()).await),
            Verb::Shim { .. } => Ok(ExitCode::FAILURE),
        }
    })
}
