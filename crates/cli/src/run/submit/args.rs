//! Arguments of `longshore run`, as they are typed.

use clap::{ArgGroup, ValueEnum};

use crate::client::connect::ConnectArgs;
use crate::exit;
use crate::terminal::output::OutputFormat;
use crate::terminal::values;
use crate::terminal::values::ClockArg;
use longshore_api::v1::FailureReason;

const EXAMPLES: &str = "\
Examples:
  longshore run --runner sql --input '{\"dataset\":\"demo/shop\",\"sql\":\"select count(*) from orders\"}'
  longshore run --runner sql --input @query.json --result -o table
  longshore run --image registry.example.com/report:1.4 --memory 256Mi --timeout 10m
  longshore run --image registry.example.com/tools:2 --file fix.sh -e LEVEL=3 \\
    -- sh -c '$LONGSHORE_FILES/fix.sh'
  longshore run --image registry.example.com/fetch:3 --retries 3 --retry-on 75 --infra-retries 2 \
    --total-timeout 2h
  run=$(longshore run -d --runner sql --input @query.json); longshore wait \"$run\"
  longshore run --count 20 --id nightly --runner shard      nightly-0 to nightly-19

The program's output goes to stdout and stderr as it is, everything else to stderr. Lines that \
carry the result behind its marker are left out: --result prints the result, `longshore logs \
--results` those lines. The first Ctrl-C (or SIGTERM) cancels the run and waits for its end; the \
second leaves it and prints how to follow it.";

/// Arguments of `longshore run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = examples_and_exit_codes())]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
    #[command(flatten)]
    pub(super) retries: RetryArgs,
    #[command(flatten)]
    pub(super) identity: IdentityArgs,
    /// Run it so many times at once, 1 to 500, each with its $LONGSHORE_INDEX from 0 and $LONGSHORE_COUNT. --id is then
    /// what the ids begin with. Output is not shown (see longshore logs); the exit code is that of the worst
    #[arg(long, value_name = "N", help_heading = "Identity", conflicts_with_all = ["request_id", "result", "verbose"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(super) count: Option<u32>,
    /// Submit only, and print the run's name
    #[arg(short, long, help_heading = "Following", conflicts_with_all = ["result", "dry_run"])]
    pub(super) detach: bool,
    /// Only check: print what would be made, and what the cluster says to it
    #[arg(long, help_heading = "Following", conflicts_with = "result")]
    pub(super) dry_run: bool,
    /// Print only the result object on stdout (with -o table: its columns and rows). For an image, the
    /// last object that it prints counts, unless --result-rule or --result-scan says otherwise
    #[arg(long, help_heading = "Following")]
    pub(super) result: bool,
    /// json: print the final run on stdout, and the program's output on stderr
    #[arg(short, long, value_enum, value_name = "FORMAT", help_heading = "Following")]
    pub(super) output: Option<OutputFormat>,
    /// Say nothing but errors
    #[arg(short, long, help_heading = "Following", conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more: where the result was found; with --result the program's output too, on stderr
    #[arg(short, long, help_heading = "Following")]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

fn examples_and_exit_codes() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

/// What is executed, and with what.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Workload")]
#[command(group = ArgGroup::new("program").args(["runner", "image"]).required(true))]
#[group(skip)]
pub(crate) struct WorkloadArgs {
    /// Runner profile (see `longshore profiles`)
    #[arg(long, value_name = "PROFILE")]
    pub(super) runner: Option<String>,
    /// Container image (Kubernetes only)
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// Command to execute in the image, with its arguments [default: the image's own]
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "runner")]
    pub(crate) command: Vec<String>,
    /// What follows `--` are arguments of the image's own entrypoint
    #[arg(long, requires = "image", conflicts_with = "runner")]
    pub(super) keep_entrypoint: bool,
    /// Working directory
    #[arg(long, value_name = "DIR", requires = "image", conflicts_with = "runner")]
    pub(super) workdir: Option<String>,
    /// Input as JSON: the text itself, @FILE, or - for stdin
    #[arg(long, value_name = "JSON", conflicts_with = "input_raw")]
    pub(super) input: Option<String>,
    /// Input as any bytes: the text itself, @FILE, or - for stdin
    #[arg(long, value_name = "DATA")]
    pub(super) input_raw: Option<String>,
    /// Environment variable; without =VALUE as it is set here. Repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Environment variable from a key of a Secret that allows it. Repeatable
    #[arg(long, value_name = "NAME=SECRET/KEY")]
    pub(super) env_secret: Vec<String>,
    /// File to lay below $LONGSHORE_FILES. Repeatable
    #[arg(long, value_name = "PATH[:TARGET]")]
    pub(super) file: Vec<String>,
    /// Volume that the operator configured. Repeatable
    #[arg(long, value_name = "VOLUME:PATH[:ro]")]
    pub(super) volume: Vec<String>,
    /// What is expected as a result [default: the profile's, else none]
    #[arg(long, value_enum, value_name = "RULE")]
    pub(super) result_rule: Option<ResultRuleArg>,
    /// What of the output counts as a result that is given neither by file nor by marker [default:
    /// the profile's; for an image off, or last-object with --result]
    #[arg(long, value_enum, value_name = "SCAN")]
    pub(super) result_scan: Option<ResultScanArg>,
    /// How a result has to be written [default: the profile's, else either way]
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub(super) result_dialect: Option<ResultDialectArg>,
}

/// Resources, clocks and rights.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Most CPU it may use, such as 500m
    #[arg(long, value_name = "QUANTITY")]
    pub(super) cpu: Option<String>,
    /// Most memory it may use, such as 256Mi
    #[arg(long, value_name = "QUANTITY")]
    pub(super) memory: Option<String>,
    /// Most ephemeral storage it may use, such as 1Gi
    #[arg(long, value_name = "QUANTITY")]
    pub(super) storage: Option<String>,
    /// Any other limit, such as example.com/gpu=1. Repeatable, each resource once
    #[arg(long, value_name = "RESOURCE=QUANTITY", value_parser = values::pair)]
    pub(super) limit: Vec<(String, String)>,
    /// What the scheduler reserves, such as cpu=100m. Repeatable
    #[arg(long, value_name = "RESOURCE=QUANTITY", value_parser = values::pair)]
    pub(super) request: Vec<(String, String)>,
    /// Size of the writable /tmp; 0 for none
    #[arg(long, value_name = "QUANTITY")]
    pub(super) tmp_size: Option<String>,
    /// How long the program may run, such as 10m
    #[arg(long, visible_alias = "run-timeout", value_name = "DURATION", value_parser = ClockArg::parse, allow_hyphen_values = true)]
    pub(super) timeout: Option<ClockArg>,
    /// The queue that it waits in, of those that the server has
    #[arg(long, value_name = "NAME")]
    pub(super) queue: Option<String>,
    /// How long it may wait in its queue
    #[arg(long, value_name = "DURATION", value_parser = ClockArg::parse, allow_hyphen_values = true)]
    pub(super) queue_timeout: Option<ClockArg>,
    /// How long it may take until the program has started
    #[arg(long, value_name = "DURATION", value_parser = ClockArg::parse, allow_hyphen_values = true)]
    pub(super) start_timeout: Option<ClockArg>,
    /// Time between SIGTERM and SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = ClockArg::parse, allow_hyphen_values = true)]
    pub(super) grace: Option<ClockArg>,
    /// How long the run is kept once it is over
    #[arg(long, value_name = "DURATION", value_parser = ClockArg::parse, allow_hyphen_values = true)]
    pub(super) retention: Option<ClockArg>,
    /// Numeric user, not 0
    #[arg(long, value_name = "UID", value_parser = values::numeric_id, allow_negative_numbers = true)]
    pub(super) user: Option<i64>,
    /// Numeric group, not 0
    #[arg(long, value_name = "GID", value_parser = values::numeric_id, allow_negative_numbers = true)]
    pub(super) group: Option<i64>,
    /// What it may reach [default: the profile's, else none]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) network: Option<Network>,
}

/// Further attempts.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Retries")]
pub(super) struct RetryArgs {
    /// How often the program is tried again after a failure of its own [default: the profile's, else 0]
    #[arg(long, visible_alias = "max-retries", value_name = "N", value_parser = values::count)]
    pub(super) retries: Option<u32>,
    /// How often it is tried again after a failure of the infrastructure. Above 0: it may be executed more than once
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub(super) infra_retries: Option<u32>,
    /// What --retries is for: an exit code, or a reason such as oom-killed. Repeatable [default: the profile's, else
    /// nonzero-exit and signalled]
    #[arg(long, value_name = "CODE|REASON", value_parser = RetryOnArg::parse)]
    pub(super) retry_on: Vec<RetryOnArg>,
    /// How long the run may take with all attempts and its queue, such as 2h
    #[arg(long, value_name = "DURATION", value_parser = ClockArg::parse, allow_hyphen_values = true)]
    pub(super) total_timeout: Option<ClockArg>,
}

/// One thing that a program is tried again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryOnArg {
    Code(i32),
    Reason(FailureReason),
}

impl RetryOnArg {
    /// `75`, `oom-killed`, `OOM_KILLED`. Which reasons may be listed the server says.
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return text.parse().map(Self::Code).map_err(|_| "expected an exit code, 1 to 255".to_owned());
        }
        let name = format!("FAILURE_REASON_{}", text.to_ascii_uppercase().replace('-', "_"));
        let reason = FailureReason::from_str_name(&name).filter(|reason| *reason != FailureReason::Unspecified);
        reason.map(Self::Reason).ok_or_else(|| {
            "expected an exit code, or a reason of a failure such as nonzero-exit, signalled, oom-killed, run-deadline, \
             ephemeral-storage, runner-reported, result-missing, result-invalid or result-unavailable"
                .to_owned()
        })
    }
}

/// Names.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Identity")]
pub(super) struct IdentityArgs {
    /// Id of the run. Submitting the same again is the same run
    #[arg(long, value_name = "ID", conflicts_with = "request_id", value_parser = values::not_empty)]
    pub(super) id: Option<String>,
    /// Key of this request, from which the id follows. Without --id and --request-id the id is generated
    #[arg(long, value_name = "KEY", value_parser = values::not_empty)]
    pub(super) request_id: Option<String>,
    /// Label. Repeatable, each key once
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(super) label: Vec<(String, String)>,
    /// Annotation. Repeatable, each key once
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    pub(super) annotation: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultRuleArg {
    /// None is looked for
    None,
    /// It is looked for; without one the run may succeed all the same
    Optional,
    /// Without a usable one the run fails
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultDialectArg {
    /// As JSON, NaN and Infinity included
    Json,
    /// As a Python literal, as print(dict) writes it
    Python,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultScanArg {
    /// Nothing: only the result file and marked lines count
    Off,
    /// The last complete JSON object or Python dict that the program prints
    LastObject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Network {
    /// Nothing
    None,
    /// DNS and public addresses
    Egress,
    /// These, and Pods and Services of the cluster
    Cluster,
}

impl WorkloadArgs {
    /// Whether no result is looked for, since that was said.
    pub(super) fn looks_for_no_result(&self) -> bool {
        self.result_rule == Some(ResultRuleArg::None)
    }
}
