//! The connection to the server: its flags, and its errors in their words. The client itself is
//! [`longshore_client`].

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tonic::{Code, Status, Streaming};

use super::credentials::{CredentialArgs, ShownCredentials};
use crate::client::unreached;
use crate::terminal::error::CliError;
use crate::terminal::{flags, names, values};
use longshore_api::v1 as pb;
use longshore_client::{RetryBackoff, Unreached};

const DEFAULT_SERVER: &str = "http://127.0.0.1:7420";
const DEFAULT_NAMESPACE: &str = "default";

/// Which server, and where on it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ConnectArgs {
    /// Address of the server: a URL, or HOST[:PORT]; without a port 7420, behind https:// 443
    #[arg(long, env = "LONGSHORE_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub(crate) server: String,
    /// Namespace, unless a run is given by its whole name
    #[arg(short, long, env = "LONGSHORE_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) namespace: String,
    /// How long to keep trying while the server cannot be reached at first, such as 30s
    /// [default: not at all]
    #[arg(long, env = "LONGSHORE_CONNECT_TIMEOUT", value_name = "DURATION", value_parser = values::local_duration, allow_hyphen_values = true)]
    connect_timeout: Option<Duration>,
    #[command(flatten)]
    credentials: CredentialArgs,
}

impl ConnectArgs {
    /// A client for that server. It connects with the first call.
    pub(crate) fn client(&self) -> Result<Connection, CliError> {
        let client = Connection::new(&self.server, &self.credentials)?;
        let timeout = self.connect_timeout.unwrap_or_default();
        Ok(Connection { inner: client.inner.connecting_for(timeout), ..client })
    }

    /// The resource name of the run that was typed.
    pub(crate) fn run_name(&self, text: &str) -> Result<String, CliError> {
        names::run_name(&self.namespace, text)
    }

    pub(crate) fn parent(&self) -> String {
        names::parent(&self.namespace)
    }
}

/// The server, seen from here.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    inner: longshore_client::Client,
    /// What calls show of who makes them.
    shown: ShownCredentials,
}

impl Connection {
    /// A client for the server at `address`: a URL, or `host:port`.
    pub(crate) fn new(address: &str, credentials: &CredentialArgs) -> Result<Self, CliError> {
        let inner = longshore_client::Client::new(address, &credentials.read()?);
        Ok(Self { inner: inner.map_err(|error| credentials.error(error))?, shown: credentials.shown() })
    }

    pub(crate) async fn submit(&self, request: pb::SubmitRunRequest) -> Result<pb::SubmitRunResponse, CliError> {
        self.answer(self.inner.submit_run(request).await)
    }

    pub(crate) async fn batch_submit(
        &self,
        request: pb::BatchSubmitRunsRequest,
    ) -> Result<pb::BatchSubmitRunsResponse, CliError> {
        self.answer(self.inner.batch_submit_runs(request).await)
    }

    /// The run with all that is known of it.
    pub(crate) async fn get(&self, name: &str) -> Result<pb::Run, CliError> {
        self.get_in(name, pb::RunView::Full).await
    }

    /// The run in this view.
    pub(crate) async fn get_in(&self, name: &str, view: pb::RunView) -> Result<pb::Run, CliError> {
        self.answer(self.inner.get(name, view).await)
    }

    pub(crate) async fn list(&self, request: pb::ListRunsRequest) -> Result<pb::ListRunsResponse, CliError> {
        self.answer(self.inner.list(request).await)
    }

    /// One WaitRun of at most `limit` and some tens of seconds, tried once.
    pub(crate) async fn wait_once(&self, name: &str, limit: Option<Duration>) -> Result<pb::Run, Status> {
        self.inner.wait_once(name, limit).await
    }

    pub(crate) async fn cancel(&self, name: &str, reason: &str) -> Result<pb::Run, CliError> {
        self.answer(self.inner.cancel(name, reason).await)
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), CliError> {
        self.answer(self.inner.delete(name).await)
    }

    pub(crate) async fn cancel_runs(&self, request: pb::CancelRunsRequest) -> Result<pb::CancelRunsResponse, CliError> {
        self.answer(self.inner.cancel_runs(request).await)
    }

    pub(crate) async fn delete_runs(&self, request: pb::DeleteRunsRequest) -> Result<pb::DeleteRunsResponse, CliError> {
        self.answer(self.inner.delete_runs(request).await)
    }

    pub(crate) async fn server_info(&self) -> Result<pb::GetServerInfoResponse, CliError> {
        self.answer(self.inner.server_info().await)
    }

    pub(crate) async fn profiles(&self, parent: String) -> Result<pb::ListRunnerProfilesResponse, CliError> {
        self.answer(self.inner.profiles(&parent).await)
    }

    /// Opens a log stream, once: its reader knows best how to go on.
    pub(crate) async fn stream_logs(
        &self,
        request: pb::StreamLogsRequest,
    ) -> Result<Streaming<pb::StreamLogsResponse>, Status> {
        self.inner.stream_logs(request).await
    }

    /// Opens a watch, once.
    pub(crate) async fn watch_runs(
        &self,
        request: pb::WatchRunsRequest,
    ) -> Result<Streaming<pb::WatchRunsResponse>, Status> {
        self.inner.watch_runs(request).await
    }

    /// Opens the stream of a result, once.
    pub(crate) async fn read_result(
        &self,
        request: pb::ReadResultRequest,
    ) -> Result<Streaming<pb::ReadResultResponse>, Status> {
        self.inner.read_result(request).await
    }

    /// Whether to call again after `status`, and when. The error if not.
    pub(crate) fn again(&self, status: Status, backoff: &mut RetryBackoff) -> Result<Duration, CliError> {
        self.answer(self.inner.again(status, backoff))
    }

    /// What to report, once, of calls that have failed for so long that somebody wonders.
    pub(crate) fn outage(&self, backoff: &RetryBackoff) -> Option<String> {
        let patience = self.inner.outage(backoff)?.as_secs();
        let address = self.inner.address();
        Some(format!("{address} does not answer; it is tried again for {patience} s. Runs go on"))
    }

    /// A status as an error of this server.
    fn answer<T>(&self, answer: Result<T, Status>) -> Result<T, CliError> {
        answer.map_err(|status| match Unreached::of(&status) {
            Some(cause) if matches!(cause, Unreached::Io(_)) || !self.inner.was_reached() => {
                unreached::error(&cause, self.inner.address(), &self.shown)
            }
            _ if status.code() == Code::Unauthenticated => {
                CliError::Unauthenticated { status: Box::new(status), hint: self.shown.hint() }
            }
            _ => CliError::from(status).in_flags(flags::of_simple_verbs, &[]),
        })
    }
}
