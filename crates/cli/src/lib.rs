//! The command line: one file a verb, nearly all of them clients of the gRPC API.
//!
//! May name proto, config and runtime; `result` the domain's reader of results too, and `run` and `names` its ids. What only the composition root can do (serve, demo, doctor, release, the runners) comes
//! in as a [`Daemon`]. The program's output goes to stdout, what Longshore says to stderr.

mod client;
mod completion;
mod exit;
mod internal;
mod run;
mod server;
mod terminal;
mod usage;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use clap::{FromArgMatches, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

pub use self::internal::CanaryArgs;
use self::internal::{Internal, Runner};
use self::terminal::console::Console;
use self::terminal::error::CliError;
use longshore_config::{DoctorArgs, ReleaseArgs, SAMPLE, ServeArgs};
use longshore_runtime::finding::{Finding, Progress};

/// What the command line can't do as a client. Implemented by the binary over the composition root.
#[async_trait]
pub trait Daemon: Send + Sync {
    /// Serves until asked to stop. The exit code is the process's.
    async fn serve(&self, args: ServeArgs) -> anyhow::Result<ExitCode>;

    /// Starts a daemon in this process, on the local backend, and returns once it serves.
    async fn start_demo(&self, options: DemoOptions) -> anyhow::Result<Box<dyn DemoServer>>;

    /// Releases the Jobs of an installation, without the daemon.
    async fn release(&self, args: ReleaseArgs) -> anyhow::Result<ExitCode>;

    /// Looks for what would keep runs from working. Once `stop` is cancelled, it only tidies up.
    async fn doctor(&self, args: DoctorArgs, stop: CancellationToken, progress: Progress<'_>) -> Vec<Finding>;

    /// Is one of the Pods by which the doctor tries the network.
    async fn canary(&self, canary: CanaryArgs) -> ExitCode;

    /// Answers the request in this process's environment. The process should exit at once afterwards.
    async fn runner_sql(&self) -> ExitCode;

    /// Starts and reaps the process of the local run in `directory`. Called without a tokio runtime.
    fn shim(&self, directory: PathBuf) -> ExitCode;
    /// Becomes this program, with the environment that an inherited file has.
    fn enter(&self, program: Vec<OsString>) -> ExitCode;
}

/// How the demo's daemon is to be started.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// An empty directory for its state. The caller deletes it, after [`DemoServer::shutdown`].
    pub state_dir: PathBuf,
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
}

/// A daemon in this process.
#[async_trait]
pub trait DemoServer: Send + Sync {
    /// Its URL, such as `http://127.0.0.1:41234`.
    fn address(&self) -> String;

    /// Stops it, and returns once nothing of it runs any more.
    async fn shutdown(self: Box<Self>) -> anyhow::Result<()>;
}

const ABOUT: &str = "Turns run requests into Kubernetes Jobs and reports their true state.";

const EXAMPLES: &str = "\
Examples:
  longshore demo                          try it out in one command, without a cluster
  longshore serve                         start a server on this machine
  longshore run --runner sql --input '{\"dataset\":\"demo/shop\",\"sql\":\"select count(*) from orders\"}'
  longshore run --image registry.example.com/report:1.4 -- report --month 7
  longshore ls --watch                    runs as they change
  longshore logs -f RUN                   follow a run's output
  longshore result RUN|FILE               the JSON object that a run gave, or in what a program printed
  longshore doctor                        what would keep runs from working, and what to do about it

The server is named by --server URL, before or after the command, or by LONGSHORE_SERVER; the \
namespace by --namespace or LONGSHORE_NAMESPACE. Exit codes: `longshore help run`.";

#[derive(Debug, Parser)]
#[command(name = "longshore", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    // Accepted before the verb too. Those that talk to a server have these as options of their own, which are what
    // `--help` shows and what they read.
    /// Address of the server
    #[arg(long, value_name = "URL", global = true, hide = true)]
    server: Option<String>,
    /// Namespace
    #[arg(short, long, value_name = "NAMESPACE", global = true, hide = true)]
    namespace: Option<String>,
    /// Write control characters to a terminal as they are, which acts upon them: window titles, the clipboard. To files
    /// and pipes they always go so
    #[arg(long, global = true, display_order = 900)]
    raw: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server
    Serve(ServeArgs),
    /// Submit a run, follow it, and exit as its program did
    #[command(visible_aliases = ["submit"])]
    Run(Box<run::submit::RunArgs>),
    /// Print a run's output
    Logs(run::logs::LogsArgs),
    /// List runs
    #[command(visible_aliases = ["ps", "list"])]
    Ls(run::ls::LsArgs),
    /// Describe a run
    #[command(visible_aliases = ["describe", "status"])]
    Get(run::get::GetArgs),
    /// Wait until runs are over, and exit as `run` would
    Wait(run::wait::WaitArgs),
    /// Stop runs
    #[command(visible_aliases = ["stop"])]
    Cancel(run::cancel::CancelArgs),
    /// Print a run's result, or that of any text, read as the server does
    Result(run::result::ResultArgs),
    /// Delete finished runs with their logs and records
    #[command(visible_aliases = ["delete"])]
    Rm(run::rm::RmArgs),
    /// List the runner profiles that may be used
    Profiles(run::profiles::ProfilesArgs),
    /// Show the version, backend, isolation and limits of the server
    Info(server::info::InfoArgs),
    /// Try Longshore out: start a server, run something, see another run fail, and why
    Demo(server::demo::DemoArgs),
    /// Check for what would keep runs from working, with a fix for each finding
    Doctor(server::doctor::DoctorVerb),
    /// Release the Jobs of an installation without its daemon, before it is uninstalled
    Release(ReleaseArgs),
    /// Make static tokens for a server
    #[command(subcommand, after_help = server::token::EXAMPLES)]
    Token(server::token::TokenCommand),
    /// Write the API's proto files
    Proto(server::proto::ProtoArgs),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Print the version of this command
    Version(server::version::VersionArgs),
}

impl Command {
    /// Whether it is more than a client.
    fn is_served_here(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Demo(_) | Self::Doctor(_) | Self::Release(_))
    }
}

/// What the arguments of this process ask for.
enum Invocation {
    Verb { command: Box<Command>, raw: bool },
    Internal(Internal),
}

/// Does what the arguments of this process ask for.
pub fn main(daemon: &dyn Daemon) -> ExitCode {
    let asked = match parse(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(Invocation::Internal(Internal::Shim { directory })) => return daemon.shim(directory),
        Ok(Invocation::Internal(Internal::Enter { program })) => return daemon.enter(program),
        Ok(asked) => asked,
        Err(error) => return usage::explain(error),
    };
    let console = Console::of_process(matches!(asked, Invocation::Verb { raw: true, .. }));
    let runtime = match runtime(&asked) {
        Ok(runtime) => runtime,
        Err(error) => return finish(&console, Err(CliError::Other(error.into()))),
    };
    let outcome = runtime.block_on(async {
        let outcome = match asked {
            Invocation::Verb { command, .. } => dispatch(*command, daemon, &console).await,
            Invocation::Internal(Internal::Shim { directory }) => Ok(daemon.shim(directory)),
            Invocation::Internal(Internal::Enter { program }) => Ok(daemon.enter(program)),
            Invocation::Internal(Internal::Runner(Runner::Sql)) => Ok(daemon.runner_sql().await),
            Invocation::Internal(Internal::Runner(Runner::Canary(canary))) => Ok(daemon.canary(canary).await),
        };
        console.finish().await;
        outcome
    });
    let code = finish(&console, outcome);
    // Not awaited: a write to a stdout that nobody reads must not hold the process.
    runtime.shutdown_background();
    code
}

/// What `arguments`, the program's name first, ask for.
fn parse(arguments: &[OsString]) -> Result<Invocation, clap::Error> {
    if let Some(internal) = internal::parse(arguments)? {
        return Ok(Invocation::Internal(internal));
    }
    let mut command = usage::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok(Invocation::Verb { command: Box::new(cli.command), raw: cli.raw })
}

fn runtime(asked: &Invocation) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match asked {
        Invocation::Verb { command, .. } if !command.is_served_here() => tokio::runtime::Builder::new_current_thread(),
        Invocation::Verb { .. } | Invocation::Internal(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn dispatch(command: Command, daemon: &dyn Daemon, console: &Console) -> Result<ExitCode, CliError> {
    let code = match command {
        Command::Serve(args) if args.print_config => {
            console.out(SAMPLE.as_bytes()).await?;
            0
        }
        Command::Serve(args) => return Ok(daemon.serve(args).await?),
        Command::Release(args) => return Ok(daemon.release(args).await?),
        Command::Doctor(verb) => Box::pin(server::doctor::doctor(verb, daemon, console)).await?,
        Command::Token(command) => server::token::token(&command, console).await?,
        Command::Run(args) => Box::pin(run::submit::run(*args, console)).await?,
        Command::Logs(args) => run::logs::logs(args, console).await?,
        Command::Ls(args) => run::ls::ls(args, console).await?,
        Command::Get(args) => run::get::get(args, console).await?,
        Command::Wait(args) => Box::pin(run::wait::wait(args, console)).await?,
        Command::Cancel(args) => run::cancel::cancel(args, console).await?,
        Command::Result(args) => run::result::result(&args, console).await?,
        Command::Rm(args) => run::rm::rm(args, console).await?,
        Command::Profiles(args) => run::profiles::profiles(args, console).await?,
        Command::Info(args) => server::info::info(args, console).await?,
        Command::Demo(args) => Box::pin(server::demo::demo(args, daemon, console)).await?,
        Command::Proto(args) => server::proto::proto(&args, console).await?,
        Command::Completion(args) => completion::completion(&args, console).await?,
        Command::Version(args) => server::version::version(&args, console).await?,
    };
    Ok(ExitCode::from(code))
}

fn finish(console: &Console, outcome: Result<ExitCode, CliError>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        if let Some(text) = error.explain() {
            console.error(&text);
        }
        ExitCode::from(error.exit_code())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_two_dashes_is_the_programs() {
        let cli = Cli::try_parse_from(["longshore", "run", "--image", "i", "--", "ls", "-o", "json"]).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run") };
        assert_eq!(args.workload.command, ["ls", "-o", "json"]);
    }

    #[test]
    fn the_server_may_be_named_before_the_verb() {
        let server = |args: &[&str]| {
            let cli = Cli::try_parse_from(args).unwrap();
            let Command::Info(args) = cli.command else { panic!("not info") };
            args.connect.server
        };
        assert_eq!(server(&["longshore", "--server", "a:1", "info"]), "a:1");
        assert_eq!(server(&["longshore", "info", "--server", "b:1"]), "b:1");
        assert_eq!(server(&["longshore", "--server", "a:1", "info", "--server", "b:1"]), "b:1");
    }

    #[test]
    fn a_run_without_a_workload_is_refused_with_both_kinds() {
        let error = Cli::try_parse_from(["longshore", "run"]).unwrap_err().to_string();
        assert!(error.contains("--runner") && error.contains("--image"), "{error}");
    }

    #[test]
    fn a_run_names_exactly_one_workload() {
        for wrong in [&["longshore", "run"][..], &["longshore", "run", "--image", "i", "--runner", "sql"]] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
