//! `longshore demo`: the main job in one command, against a server in this process.

use std::net::SocketAddr;

use crate::client::connect::Connection;
use crate::client::credentials::CredentialArgs;
use crate::run::logs::Show;
use crate::run::result;
use crate::run::status::outcome_in_short;
use crate::run::submit::{AnsweredSubmit, Followed, Following, follow, submit};
use crate::terminal::console::{Console, Paint};
use crate::terminal::error::CliError;
use crate::terminal::interrupt::Interrupts;
use crate::terminal::json::{Layout, to_json};
use crate::terminal::names;
use crate::terminal::table::{TableFrame, render};
use crate::terminal::text::{class_name, clean, reason_name};
use crate::{Daemon, DemoOptions, DemoServer, exit};
use longshore_api::v1 as pb;
use longshore_config::socket_address;

const EXAMPLES: &str = "\
Examples:
  longshore demo               everything happens in a temporary directory, and is gone afterwards
  longshore demo --keep        leaves the server up, with commands to paste";

/// What a table of the demo shows.
const GOOD_SQL: &str = "\
select p.category, count(*) as orders, round(sum(o.quantity * o.unit_price), 2) as revenue \
from orders o join products p on p.product_id = o.product_id \
where o.status = 'delivered' group by p.category order by revenue desc limit 5";

/// A typo, as it happens to people.
const BAD_SQL: &str = "select categroy, count(*) from products group by categroy";

/// Arguments of `longshore demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Leave the server up until Ctrl-C, and print commands to paste
    #[arg(long)]
    keep: bool,
    /// Where the server listens; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = socket_address)]
    listen: SocketAddr,
}

pub(crate) async fn demo(args: DemoArgs, daemon: &dyn Daemon, console: &Console) -> Result<u8, CliError> {
    let mut interrupts = Interrupts::listen().map_err(anyhow::Error::from)?;
    let directory = tempfile::Builder::new().prefix("longshore-demo-").tempdir().map_err(anyhow::Error::from)?;
    let options = DemoOptions { state_dir: directory.path().to_owned(), listen: args.listen };
    let server = daemon.start_demo(options).await?;
    let address = server.address();
    let shown = DemoSession { client: Connection::new(&address, &CredentialArgs::default())?, console };
    let outcome = shown.show(&mut interrupts, &address, args.keep).await;
    stop(server, directory, console).await;
    outcome
}

/// The state's directory goes after the server: a run that still ends writes there.
async fn stop(server: Box<dyn DemoServer>, directory: tempfile::TempDir, console: &Console) {
    if let Err(error) = server.shutdown().await {
        console.error(&format!("the server did not stop in order: {error:#}"));
    }
    let path = directory.path().to_owned();
    if let Err(error) = directory.close() {
        console.error(&format!("`{}` is left behind: {error}", path.display()));
    }
}

struct DemoSession<'a> {
    client: Connection,
    console: &'a Console,
}

impl DemoSession<'_> {
    async fn show(&self, interrupts: &mut Interrupts, address: &str, keep: bool) -> Result<u8, CliError> {
        self.title(&format!("A Longshore server runs at {address}, on this machine alone: no cluster is needed."))
            .await?;

        self.title("\n1. Submit a run over gRPC: SQL over example data, by the runner profile `sql`.").await?;
        let shown = Some(Show::OnlyStderr);
        let Some(good) = self.run("demo-revenue", GOOD_SQL, shown, interrupts).await? else {
            return Ok(exit::CANCELLED);
        };
        let as_expected = self.report_success(&good).await?;

        self.title("\n2. Submit one that must fail, and see who has to act on it.").await?;
        // Its output would say what the failure says.
        let Some(bad) = self.run("demo-typo", BAD_SQL, None, interrupts).await? else { return Ok(exit::CANCELLED) };
        let as_expected = self.report_failure(&bad).await? && as_expected;

        if keep {
            self.title("\n3. The server stays up. Paste these into another terminal; Ctrl-C here ends it.").await?;
            self.console.out(commands(address).as_bytes()).await?;
            interrupts.next().await;
        }
        if as_expected {
            return Ok(0);
        }
        Err(CliError::Other(anyhow::anyhow!("the demo did not go as it should: see above")))
    }

    /// Submits, follows and returns the terminal run; nothing if it was left by a second Ctrl-C.
    async fn run(
        &self,
        id: &str,
        sql: &str,
        show: Option<Show>,
        interrupts: &mut Interrupts,
    ) -> Result<Option<pb::Run>, CliError> {
        let request = request(id, sql);
        let text = to_json(&request, "SubmitRunRequest", Layout::Pretty)?;
        self.console.out(format!("longshore.v1.RunService/SubmitRun {text}").as_bytes()).await?;
        let submitted = submit(self.client.submit(request), interrupts, self.console).await?;
        let AnsweredSubmit::Yes { answer, interrupted } = submitted else { return Ok(None) };
        let run = answer.run.ok_or_else(|| CliError::BadAnswer("it has no run".to_owned()))?;
        let following = Following { show, quiet: false, interrupted, server_stays: false };
        match follow(&self.client, &run, &following, interrupts, self.console).await? {
            Followed::Over(run) => {
                self.console.note(&outcome_in_short(&run, self.console));
                Ok(Some(*run))
            }
            Followed::Left(_) => Ok(None),
        }
    }

    /// Whether it succeeded with a table.
    async fn report_success(&self, run: &pb::Run) -> Result<bool, CliError> {
        let json = result::read(&self.client, run).await?;
        let table = json.as_deref().and_then(result::as_table);
        if let Some(table) = &table {
            self.say("The object that the program printed is the run's result:").await?;
            self.console.out(render(table, TableFrame::Boxed, self.console.out_width()).as_bytes()).await?;
        }
        Ok(run.state() == pb::RunState::Succeeded && table.is_some_and(|table| !table.rows.is_empty()))
    }

    /// Whether it failed as the user's fault, with the runner's own words.
    async fn report_failure(&self, run: &pb::Run) -> Result<bool, CliError> {
        let Some(failure) = &run.failure else { return Ok(false) };
        self.say(&format!("Who has to act: {}", class_name(failure.failure_class))).await?;
        self.say(&format!("What happened:  {}", reason_name(failure.reason))).await?;
        self.say(&format!("In a sentence:  {}", clean(&failure.message))).await?;
        let reported = result::read(&self.client, run).await?.as_deref().and_then(result::reported_error);
        let is_users = failure.failure_class() == pb::FailureClass::User;
        Ok(run.state() == pb::RunState::Failed && is_users && reported.is_some())
    }

    async fn title(&self, line: &str) -> Result<(), CliError> {
        self.say(&self.console.paint_out(line, Paint::Bold)).await
    }

    async fn say(&self, line: &str) -> Result<(), CliError> {
        self.console.out(format!("{line}\n").as_bytes()).await
    }
}

fn request(id: &str, sql: &str) -> pb::SubmitRunRequest {
    let input = serde_json::json!({ "dataset": "demo/shop", "sql": sql }).to_string();
    let workload = pb::run_spec::Workload::Runner(pb::RunnerWorkload { profile: "sql".to_owned() });
    let spec = pb::RunSpec {
        workload: Some(workload),
        input: Some(pb::Input { content: Some(pb::input::Content::Json(input)) }),
        ..Default::default()
    };
    pb::SubmitRunRequest {
        parent: names::parent("default"),
        run_id: id.to_owned(),
        spec: Some(spec),
        ..Default::default()
    }
}

/// The same server from grpcurl, from this command and from Python.
fn commands(address: &str) -> String {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
    format!(
        "
  grpcurl -plaintext -d '{{\"parent\":\"namespaces/default\"}}' {authority} longshore.v1.RunService/ListRuns

  longshore run --server {address} --runner sql --result -o table \\
    --input '{{\"dataset\":\"demo/shop\",\"sql\":\"select country, count(*) as customers from customers group by country\"}}'

  longshore proto --out proto && pip install grpcio-tools &&
  python3 -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \\
    proto/longshore/v1/*.proto proto/google/api/*.proto &&
  python3 -c 'import grpc
from longshore.v1 import run_service_pb2 as pb, run_service_pb2_grpc as api
runs = api.RunServiceStub(grpc.insecure_channel(\"{authority}\"))
print(runs.ListRuns(pb.ListRunsRequest(parent=\"namespaces/default\")))'

"
    )
}
