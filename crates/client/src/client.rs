//! The connection to a server, and its calls with their retries.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::address::ServerAddress;
use super::credentials::{Bearer, Credentials, Token};
use super::retry::{CALL_PATIENCE, FOLLOW_PATIENCE, RetryBackoff, is_transient, retry_delay};
use super::unreached::Unreached;
use longshore_api::v1;
use longshore_api::v1::run_service_client::RunServiceClient;
use longshore_api::v1::server_service_client::ServerServiceClient;

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How long one call about many runs may take.
const MANY_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How long the making of a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries to reach a server for the first time.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// How long WaitRun is asked to wait, and what it may take on top of that.
const WAIT_STEP: Duration = Duration::from_secs(30);
const WAIT_SLACK: Duration = Duration::from_secs(15);
/// A follow may be silent for long: dead connections must be noticed, and balancers kept awake.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What answers may be compressed by.
const GZIP: CompressionEncoding = CompressionEncoding::Gzip;

/// Why there can be no client of a server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It is not an address.
    #[error("{0}")]
    Address(String),
    /// What is configured makes no sense without TLS.
    #[error("{0} needs a server whose address begins with https://")]
    NeedsTls(TlsSetting),
    /// A token would be read by anybody on the way.
    #[error("the token would travel in clear: name the server as https://…, or allow it with `token_in_clear`")]
    TokenInClear,
    /// The key is that of another certificate.
    #[error("the client key is not the key of the client certificate")]
    KeyMismatch,
    /// What is configured for TLS can't be used.
    #[error("TLS cannot be set up")]
    Tls(#[source] tonic::transport::Error),
}

/// What only TLS can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSetting {
    /// [`Credentials::authority`].
    Authority,
    /// [`Credentials::server_name`].
    ServerName,
    /// [`Credentials::certificate`].
    Certificate,
}

impl fmt::Display for TlsSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "the authority of the server's certificate",
            Self::ServerName => "the name in the server's certificate",
            Self::Certificate => "a client certificate",
        })
    }
}

/// A connection whose calls show who makes them.
type Proven = InterceptedService<Channel, Bearer>;

/// A server, seen from here. Cheap to clone; all clones share one connection.
#[derive(Clone, Debug)]
pub struct Client {
    runs: RunServiceClient<Proven>,
    /// For output: not compressed on this machine, where that costs more than it saves.
    logs: RunServiceClient<Proven>,
    servers: ServerServiceClient<Proven>,
    address: Arc<str>,
    /// Whether it was ever reached: from then on a refused connection may be a restart.
    reached: Arc<AtomicBool>,
    /// Whether it was reported that it does not answer any more.
    outage_reported: Arc<AtomicBool>,
    /// Until when a server that was never reached is tried again.
    connect_by: Option<Instant>,
    shows_certificate: bool,
}

impl Client {
    /// A client for the server at `address`: a URL, or `host:port` ([`ServerAddress`]). It connects with the first
    /// call. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What is not an address, and credentials that cannot be used or do not fit it.
    pub fn new(address: &str, credentials: &Credentials) -> Result<Self, ConnectError> {
        let ServerAddress { url, is_tls, is_loopback } =
            ServerAddress::parse(address).map_err(ConnectError::Address)?;
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|_| ConnectError::Address(format!("`{url}` is not a server address")))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if is_tls {
            endpoint = endpoint.tls_config(credentials.tls()).map_err(|error| {
                if is_key_mismatch(&error) { ConnectError::KeyMismatch } else { ConnectError::Tls(error) }
            })?;
        } else {
            check_plaintext(credentials, is_loopback)?;
        }
        let (channel, bearer) = (endpoint.connect_lazy(), Bearer(credentials.token.clone()));
        let runs = RunServiceClient::with_interceptor(channel.clone(), bearer.clone());
        Ok(Self {
            logs: if is_loopback { runs.clone() } else { runs.clone().accept_compressed(GZIP) },
            runs: runs.accept_compressed(GZIP),
            servers: ServerServiceClient::with_interceptor(channel, bearer).accept_compressed(GZIP),
            address: url.into(),
            reached: Arc::default(),
            outage_reported: Arc::default(),
            connect_by: None,
            shows_certificate: credentials.certificate.is_some(),
        })
    }

    /// The same, which keeps trying for so long from now while the server cannot be reached at first. Without it the
    /// first call fails at once: there may be no server at that address.
    #[must_use]
    pub fn connecting_for(self, timeout: Duration) -> Self {
        Self { connect_by: Instant::now().checked_add(timeout), ..self }
    }

    /// The URL of the server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the server answered anything yet.
    #[must_use]
    pub fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Submits a run under a key of the caller's own, such as a ticket's or a message's (1 to 128 printable ASCII
    /// characters): the run that was submitted under it before is answered, and there is never a second one.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn submit(&self, parent: &str, request_id: &str, spec: v1::RunSpec) -> Result<v1::Run, Status> {
        let (parent, request_id) = (parent.to_owned(), request_id.to_owned());
        let request = v1::SubmitRunRequest { parent, request_id, spec: Some(spec), ..v1::SubmitRunRequest::default() };
        the_run(self.submit_run(request).await?.run)
    }

    /// SubmitRun. It is repeated if need be, so it should have a `run_id` or a `request_id`.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn submit_run(&self, request: v1::SubmitRunRequest) -> Result<v1::SubmitRunResponse, Status> {
        self.call(request, |mut client, request| async move { client.runs.submit_run(request).await }).await
    }

    /// BatchSubmitRuns: each run or why there is none, in order. Repeated if need be: what was made is adopted.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn batch_submit_runs(
        &self,
        request: v1::BatchSubmitRunsRequest,
    ) -> Result<v1::BatchSubmitRunsResponse, Status> {
        self.call_within(MANY_LIMIT, request, |mut client, request| async move {
            client.runs.batch_submit_runs(request).await
        })
        .await
    }

    /// The run in this view.
    ///
    /// # Errors
    /// NOT_FOUND, and what the server refuses; a server that cannot be reached.
    pub async fn get(&self, name: &str, view: v1::RunView) -> Result<v1::Run, Status> {
        let request = v1::GetRunRequest { name: name.to_owned(), view: view.into() };
        let answer = self.call(request, |mut client, request| async move { client.runs.get_run(request).await });
        the_run(answer.await?.run)
    }

    /// ListRuns: a page.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn list(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Status> {
        self.call(request, |mut client, request| async move { client.runs.list_runs(request).await }).await
    }

    /// The run once it has ended and its result is known, however long that takes. A server that restarts meanwhile
    /// is waited for.
    ///
    /// # Errors
    /// NOT_FOUND, and what the server refuses; a server that cannot be reached for [`FOLLOW_PATIENCE`].
    pub async fn wait(&self, name: &str) -> Result<v1::Run, Status> {
        let mut backoff = RetryBackoff::new(FOLLOW_PATIENCE);
        loop {
            match self.wait_once(name, None).await {
                Ok(run) if run.state().is_terminal() => return Ok(run),
                Ok(_) => backoff.reset(),
                Err(status) => sleep(self.again(status, &mut backoff)?).await,
            }
        }
    }

    /// One WaitRun of at most `limit` and 30 s, tried once: the run as it is then, ended or not.
    ///
    /// # Errors
    /// NOT_FOUND, and what the server refuses; a server that cannot be reached.
    pub async fn wait_once(&self, name: &str, limit: Option<Duration>) -> Result<v1::Run, Status> {
        let step = limit.unwrap_or(WAIT_STEP).min(WAIT_STEP);
        let message = v1::WaitRunRequest {
            name: name.to_owned(),
            timeout: prost_types::Duration::try_from(step).ok(),
            view: v1::RunView::Full.into(),
        };
        let mut request = Request::new(message);
        request.set_timeout(step + WAIT_SLACK);
        let answer = self.track_reachability(Box::pin(self.runs.clone().wait_run(request)).await)?;
        the_run(answer.into_inner().run)
    }

    /// Asks for a stop; of a run that has ended nothing changes. `reason` is for people.
    ///
    /// # Errors
    /// NOT_FOUND, and what the server refuses; a server that cannot be reached.
    pub async fn cancel(&self, name: &str, reason: &str) -> Result<v1::Run, Status> {
        let request = v1::CancelRunRequest { name: name.to_owned(), reason: reason.to_owned(), etag: String::new() };
        let answer = self.call(request, |mut client, request| async move { client.runs.cancel_run(request).await });
        the_run(answer.await?.run)
    }

    /// Deletes a run that has ended, with its record, logs and key.
    ///
    /// # Errors
    /// NOT_FOUND, and what the server refuses; a server that cannot be reached.
    pub async fn delete(&self, name: &str) -> Result<(), Status> {
        let request = v1::DeleteRunRequest { name: name.to_owned(), ..v1::DeleteRunRequest::default() };
        self.call(request, |mut client, request| async move { client.runs.delete_run(request).await }).await?;
        Ok(())
    }

    /// CancelRuns: at most 500 of the runs that match.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn cancel_runs(&self, request: v1::CancelRunsRequest) -> Result<v1::CancelRunsResponse, Status> {
        self.call_within(
            MANY_LIMIT,
            request,
            |mut client, request| async move { client.runs.cancel_runs(request).await },
        )
        .await
    }

    /// DeleteRuns: at most 500 of the finished runs that match.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn delete_runs(&self, request: v1::DeleteRunsRequest) -> Result<v1::DeleteRunsResponse, Status> {
        self.call_within(
            MANY_LIMIT,
            request,
            |mut client, request| async move { client.runs.delete_runs(request).await },
        )
        .await
    }

    /// GetServerInfo.
    ///
    /// # Errors
    /// A server that cannot be reached, or does not know who calls.
    pub async fn server_info(&self) -> Result<v1::GetServerInfoResponse, Status> {
        let request = v1::GetServerInfoRequest {};
        self.call(request, |mut client, request| async move { client.servers.get_server_info(request).await }).await
    }

    /// ListRunnerProfiles of a namespace, `namespaces/{namespace}`.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn profiles(&self, parent: &str) -> Result<v1::ListRunnerProfilesResponse, Status> {
        let request = v1::ListRunnerProfilesRequest { parent: parent.to_owned() };
        self.call(request, |mut client, request| async move { client.servers.list_runner_profiles(request).await })
            .await
    }

    /// Opens StreamLogs, once: who reads it knows best how to go on, by the last cursor.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn stream_logs(
        &self,
        request: v1::StreamLogsRequest,
    ) -> Result<Streaming<v1::StreamLogsResponse>, Status> {
        self.track_reachability(self.logs.clone().stream_logs(request).await).map(Response::into_inner)
    }

    /// Opens WatchRuns, once.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn watch_runs(&self, request: v1::WatchRunsRequest) -> Result<Streaming<v1::WatchRunsResponse>, Status> {
        self.track_reachability(self.runs.clone().watch_runs(request).await).map(Response::into_inner)
    }

    /// Opens ReadResult, once.
    ///
    /// # Errors
    /// What the server refuses; a server that cannot be reached.
    pub async fn read_result(
        &self,
        request: v1::ReadResultRequest,
    ) -> Result<Streaming<v1::ReadResultResponse>, Status> {
        self.track_reachability(self.runs.clone().read_result(request).await).map(Response::into_inner)
    }

    /// How long to wait before a call that ended in `status` is made again.
    ///
    /// # Errors
    /// The status, where that would not help or patience is over.
    pub fn again(&self, status: Status, backoff: &mut RetryBackoff) -> Result<Duration, Status> {
        let unreached = Unreached::of(&status);
        let was_there = self.was_reached() || unreached.is_none();
        let may_come = unreached.is_none_or(|unreached| !unreached.is_final(self.shows_certificate));
        if !was_there && may_come && self.connect_by.is_some_and(|by| Instant::now() < by) {
            return Ok(CONNECT_AGAIN);
        }
        let delay = if is_transient(&status) && was_there {
            backoff.after_failure(Instant::now(), retry_delay(&status))
        } else {
            None
        };
        delay.ok_or(status)
    }

    /// For how long the server is tried, of calls that have failed for so long that somebody wonders; once, until it
    /// answers again.
    #[must_use]
    pub fn outage(&self, backoff: &RetryBackoff) -> Option<Duration> {
        let patience = backoff.lasts(Instant::now())?;
        (!self.outage_reported.swap(true, Ordering::Relaxed)).then_some(patience)
    }

    /// A unary call, repeated with the same message while that may help: every call made so is idempotent.
    async fn call<M, T, F, Fut>(&self, message: M, call: F) -> Result<T, Status>
    where
        M: Clone,
        F: Fn(Self, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_within(CALL_LIMIT, message, call).await
    }

    /// The same, of which one try may take so long.
    async fn call_within<M, T, F, Fut>(&self, limit: Duration, message: M, call: F) -> Result<T, Status>
    where
        M: Clone,
        F: Fn(Self, Request<M>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let mut backoff = RetryBackoff::new(CALL_PATIENCE);
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(limit);
            match self.track_reachability(Box::pin(call(self.clone(), request)).await) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => sleep(self.again(status, &mut backoff)?).await,
            }
        }
    }

    /// Remembers that the server answered, if it did.
    fn track_reachability<T>(&self, answer: Result<T, Status>) -> Result<T, Status> {
        let reached = match &answer {
            Ok(_) => true,
            Err(status) => Unreached::of(status).is_none(),
        };
        if reached {
            self.reached.store(true, Ordering::Relaxed);
            self.outage_reported.store(false, Ordering::Relaxed);
        }
        answer
    }
}

/// Refuses what makes no sense without TLS, or would be read by anybody on the way.
fn check_plaintext(credentials: &Credentials, is_loopback: bool) -> Result<(), ConnectError> {
    let Credentials { token, authority, server_name, certificate, token_in_clear } = credentials;
    for (what, is_set) in [
        (TlsSetting::Authority, authority.is_some()),
        (TlsSetting::ServerName, server_name.is_some()),
        (TlsSetting::Certificate, certificate.is_some()),
    ] {
        if is_set {
            return Err(ConnectError::NeedsTls(what));
        }
    }
    match token {
        Token::Text(_) | Token::File(_) if !is_loopback && !token_in_clear => Err(ConnectError::TokenInClear),
        _ => Ok(()),
    }
}

fn is_key_mismatch(error: &tonic::transport::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(rustls::Error::InconsistentKeys(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn the_run(run: Option<v1::Run>) -> Result<v1::Run, Status> {
    run.ok_or_else(|| Status::data_loss("the server's answer has no run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str, credentials: &Credentials) -> String {
        Client::new(address, credentials).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_only_tls_can_do_is_refused_without_it() {
        let token = Credentials { token: Token::Text("t".to_owned()), ..Credentials::default() };
        assert!(Client::new("http://127.0.0.1:1", &token).is_ok(), "it does not leave this machine");
        assert!(refused("http://longshore.example:7420", &token).starts_with("the token would travel in clear"));
        assert!(Client::new("http://a:1", &Credentials { token_in_clear: true, ..token }).is_ok());
        let named = Credentials { server_name: Some("a".to_owned()), ..Credentials::default() };
        assert!(refused("http://127.0.0.1:1", &named).contains("needs a server whose address begins with https://"));
        assert!(refused("ftp://a", &Credentials::default()).contains("is not a server address"));
        let nothing = Credentials { authority: Some(b"nothing".to_vec()), ..Credentials::default() };
        assert!(matches!(Client::new("https://a", &nothing), Ok(_) | Err(ConnectError::Tls(_))));
    }

    #[tokio::test]
    async fn a_server_that_was_never_there_is_not_waited_for() {
        let client = Client::new("http://127.0.0.1:1", &Credentials::default()).unwrap();
        let status = client.server_info().await.unwrap_err();
        assert!(matches!(Unreached::of(&status), Some(Unreached::Io(_))), "{status:?}");
        assert!(!client.was_reached());
    }
}
