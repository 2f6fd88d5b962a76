//! The connection to the server, and its calls with their retries.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use tokio::time::{Instant, sleep};
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::address::ServerAddress;
use super::credentials::{Bearer, CredentialArgs, Shown};
use super::error::CliError;
use super::retry::{Backoff, CALL_PATIENCE, is_transient, told_delay};
use super::unreached::Unreached;
use super::{flags, names, text, values};
use longshore_api::v1 as pb;
use longshore_api::v1::run_service_client::RunServiceClient;
use longshore_api::v1::server_service_client::ServerServiceClient;

const DEFAULT_SERVER: &str = "http://127.0.0.1:7420";
const DEFAULT_NAMESPACE: &str = "default";

/// How long one call may take, if nothing else is said.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries to reach a server for the first time.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// How long WaitRun is asked to wait, and what it may take on top of that.
const WAIT_STEP: Duration = Duration::from_secs(30);
const WAIT_SLACK: Duration = Duration::from_secs(15);

/// What answers may be compressed by.
const GZIP: CompressionEncoding = CompressionEncoding::Gzip;

/// Which server, and where on it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ConnectArgs {
    /// Address of the server: a URL, or HOST[:PORT]; without a port 7420, behind https:// 443
    #[arg(long, env = "LONGSHORE_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub(super) server: String,
    /// Namespace, unless a run is given by its whole name
    #[arg(short, long, env = "LONGSHORE_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(super) namespace: String,
    /// How long to keep trying while the server cannot be reached at first, such as 30s
    /// [default: not at all]
    #[arg(long, env = "LONGSHORE_CONNECT_TIMEOUT", value_name = "DURATION", value_parser = values::local_duration, allow_hyphen_values = true)]
    connect_timeout: Option<Duration>,
    #[command(flatten)]
    credentials: CredentialArgs,
}

impl ConnectArgs {
    /// A client for that server. It connects with the first call.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        let address = ServerAddress::parse(&self.server).map_err(CliError::Usage)?;
        if !address.is_tls {
            self.credentials.check_plaintext(address.is_loopback)?;
        }
        let client = Client::at(address, &self.credentials)?;
        let connect_by = Instant::now().checked_add(self.connect_timeout.unwrap_or_default());
        Ok(Client { connect_by, ..client })
    }

    /// The resource name of the run that was typed.
    pub(super) fn run_name(&self, text: &str) -> Result<String, CliError> {
        names::run_name(&self.namespace, text)
    }

    pub(super) fn parent(&self) -> String {
        names::parent(&self.namespace)
    }
}

/// A connection whose calls show who makes them.
type Proven = InterceptedService<Channel, Bearer>;

/// The server, seen from here.
#[derive(Clone, Debug)]
pub(super) struct Client {
    runs: RunServiceClient<Proven>,
    /// For output: not compressed on this machine, where that costs more than it saves.
    logs: RunServiceClient<Proven>,
    servers: ServerServiceClient<Proven>,
    address: Arc<str>,
    /// Whether it was ever reached: from then on a refused connection may be a restart.
    reached: Arc<AtomicBool>,
    /// Whether it was told that it does not answer any more.
    outage_told: Arc<AtomicBool>,
    /// Until when a server that was never reached is tried again.
    connect_by: Option<Instant>,
    /// What calls show of who makes them.
    shown: Shown,
}

impl Client {
    /// A client for the server at `address`: a URL, or `host:port`.
    pub(super) fn new(address: &str, credentials: &CredentialArgs) -> Result<Self, CliError> {
        Self::at(ServerAddress::parse(address).map_err(CliError::Usage)?, credentials)
    }

    fn at(address: ServerAddress, credentials: &CredentialArgs) -> Result<Self, CliError> {
        let ServerAddress { url, is_tls, is_loopback } = address;
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|_| CliError::usage(format!("`{url}` is not a server address")))?
            .connect_timeout(Duration::from_secs(5))
            // A follow may be silent for long: dead connections must be noticed, and balancers kept awake.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        if is_tls {
            endpoint = endpoint.tls_config(credentials.tls()?).map_err(|error| {
                let error = anyhow::Error::from(error);
                match error
                    .chain()
                    .any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InconsistentKeys(_))))
                {
                    true => CliError::usage(credentials.unfit()),
                    false => CliError::usage(format!("TLS cannot be set up: {}", text::clean(&format!("{error:#}")))),
                }
            })?;
        }
        let (channel, bearer) = (endpoint.connect_lazy(), credentials.bearer());
        let runs = RunServiceClient::with_interceptor(channel.clone(), bearer.clone());
        Ok(Self {
            logs: if is_loopback { runs.clone() } else { runs.clone().accept_compressed(GZIP) },
            runs: runs.accept_compressed(GZIP),
            servers: ServerServiceClient::with_interceptor(channel, bearer).accept_compressed(GZIP),
            address: url.into(),
            reached: Arc::default(),
            outage_told: Arc::default(),
            connect_by: None,
            shown: credentials.shown(),
        })
    }

    pub(super) async fn submit(&self, request: pb::SubmitRunRequest) -> Result<pb::SubmitRunResponse, CliError> {
        self.call(CALL_LIMIT, request, |mut client, request| async move { client.runs.submit_run(request).await }).await
    }

    /// The run with all that is known of it.
    pub(super) async fn get(&self, name: &str) -> Result<pb::Run, CliError> {
        self.get_in(name, pb::RunView::Full).await
    }

    /// The run in this view.
    pub(super) async fn get_in(&self, name: &str, view: pb::RunView) -> Result<pb::Run, CliError> {
        let request = pb::GetRunRequest { name: name.to_owned(), view: view.into() };
        let answer = self
            .call(CALL_LIMIT, request, |mut client, request| async move { client.runs.get_run(request).await })
            .await?;
        the_run(answer.run)
    }

    pub(super) async fn list(&self, request: pb::ListRunsRequest) -> Result<pb::ListRunsResponse, CliError> {
        self.call(CALL_LIMIT, request, |mut client, request| async move { client.runs.list_runs(request).await }).await
    }

    /// One WaitRun of at most `limit` and some tens of seconds, tried once.
    pub(super) async fn wait_once(&self, name: &str, limit: Option<Duration>) -> Result<pb::Run, Status> {
        let step = limit.unwrap_or(WAIT_STEP).min(WAIT_STEP);
        let message = pb::WaitRunRequest {
            name: name.to_owned(),
            timeout: prost_types::Duration::try_from(step).ok(),
            view: pb::RunView::Full.into(),
        };
        let mut request = Request::new(message);
        request.set_timeout(step + WAIT_SLACK);
        let answer = self.noting(Box::pin(self.runs.clone().wait_run(request)).await)?;
        answer.into_inner().run.ok_or_else(|| Status::data_loss("the server's answer has no run"))
    }

    pub(super) async fn cancel(&self, name: &str, reason: &str) -> Result<pb::Run, CliError> {
        let request = pb::CancelRunRequest { name: name.to_owned(), reason: reason.to_owned(), etag: String::new() };
        let answer = self
            .call(CALL_LIMIT, request, |mut client, request| async move { client.runs.cancel_run(request).await })
            .await?;
        the_run(answer.run)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), CliError> {
        let request = pb::DeleteRunRequest { name: name.to_owned(), ..Default::default() };
        self.call(CALL_LIMIT, request, |mut client, request| async move { client.runs.delete_run(request).await })
            .await
            .map(|_| ())
    }

    pub(super) async fn server_info(&self) -> Result<pb::GetServerInfoResponse, CliError> {
        let request = pb::GetServerInfoRequest {};
        self.call(
            CALL_LIMIT,
            request,
            |mut client, request| async move { client.servers.get_server_info(request).await },
        )
        .await
    }

    pub(super) async fn profiles(&self, parent: String) -> Result<pb::ListRunnerProfilesResponse, CliError> {
        let request = pb::ListRunnerProfilesRequest { parent };
        self.call(CALL_LIMIT, request, |mut client, request| async move {
            client.servers.list_runner_profiles(request).await
        })
        .await
    }

    /// Opens a log stream, once: whoever reads it knows best how to go on.
    pub(super) async fn stream_logs(
        &self,
        request: pb::StreamLogsRequest,
    ) -> Result<Streaming<pb::StreamLogsResponse>, Status> {
        self.noting(self.logs.clone().stream_logs(request).await).map(Response::into_inner)
    }

    /// Opens a watch, once.
    pub(super) async fn watch_runs(
        &self,
        request: pb::WatchRunsRequest,
    ) -> Result<Streaming<pb::WatchRunsResponse>, Status> {
        self.noting(self.runs.clone().watch_runs(request).await).map(Response::into_inner)
    }

    /// Opens the stream of a result, once.
    pub(super) async fn read_result(
        &self,
        request: pb::ReadResultRequest,
    ) -> Result<Streaming<pb::ReadResultResponse>, Status> {
        self.noting(self.runs.clone().read_result(request).await).map(Response::into_inner)
    }

    /// Whether to call again after `status`, and when. The error if not.
    pub(super) fn again(&self, status: Status, backoff: &mut Backoff) -> Result<Duration, CliError> {
        let unreached = Unreached::of(&status);
        let was_there = self.reached.load(Ordering::Relaxed) || unreached.is_none();
        let may_come = unreached.is_none_or(|unreached| !unreached.is_final(&self.shown));
        if !was_there && may_come && self.connect_by.is_some_and(|by| Instant::now() < by) {
            return Ok(CONNECT_AGAIN);
        }
        let delay = if is_transient(&status) && was_there {
            backoff.after_failure(Instant::now(), told_delay(&status))
        } else {
            None
        };
        delay.ok_or_else(|| self.error(status))
    }

    /// `status` as an error of this server.
    fn error(&self, status: Status) -> CliError {
        match Unreached::of(&status) {
            Some(unreached) if matches!(unreached, Unreached::Io(_)) || !self.reached.load(Ordering::Relaxed) => {
                unreached.into_error(&self.address, &self.shown)
            }
            _ if status.code() == Code::Unauthenticated => {
                CliError::Unauthenticated { status: Box::new(status), hint: self.shown.hint() }
            }
            _ => CliError::from(status).in_flags(flags::of_simple_verbs, &[]),
        }
    }

    /// What to tell, once, of calls that have failed for so long that somebody wonders.
    pub(super) fn outage(&self, backoff: &Backoff) -> Option<String> {
        let patience = backoff.lasts(Instant::now())?;
        let told = self.outage_told.swap(true, Ordering::Relaxed);
        (!told).then(|| {
            format!("{} does not answer; it is tried again for {} s. Runs go on", self.address, patience.as_secs())
        })
    }

    /// A unary call, repeated with the same message while that may help: every call made so is idempotent.
    async fn call<M, T, F, Fut>(&self, limit: Duration, message: M, call: F) -> Result<T, CliError>
    where
        M: Clone,
        F: Fn(Self, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let mut backoff = Backoff::new(CALL_PATIENCE);
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(limit);
            match self.noting(Box::pin(call(self.clone(), request)).await) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => sleep(self.again(status, &mut backoff)?).await,
            }
        }
    }

    fn noting<T>(&self, answer: Result<T, Status>) -> Result<T, Status> {
        let reached = match &answer {
            Ok(_) => true,
            Err(status) => Unreached::of(status).is_none(),
        };
        if reached {
            self.reached.store(true, Ordering::Relaxed);
            self.outage_told.store(false, Ordering::Relaxed);
        }
        answer
    }
}

fn the_run(run: Option<pb::Run>) -> Result<pb::Run, CliError> {
    run.ok_or_else(|| CliError::BadAnswer("it has no run".to_owned()))
}
