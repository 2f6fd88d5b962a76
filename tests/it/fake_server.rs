//! A server that plays a script, for tests of the client: it answers as it is set up and remembers what it was
//! asked.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use longshore::proto::v1 as pb;
use longshore::proto::v1::run_service_server::{RunService, RunServiceServer};
use longshore::proto::v1::stream_logs_response::Event;
use tokio::sync::{oneshot, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const NAME: &str = "namespaces/default/runs/demo";

/// What the server was asked.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) submits: Vec<pb::SubmitRunRequest>,
    pub(crate) logs: Vec<pb::StreamLogsRequest>,
    pub(crate) cancels: Vec<pb::CancelRunRequest>,
    pub(crate) deletes: Vec<pb::DeleteRunRequest>,
    pub(crate) lists: Vec<pb::ListRunsRequest>,
    /// How each list may be compressed.
    pub(crate) encodings: Vec<String>,
    pub(crate) results: Vec<pb::ReadResultRequest>,
}

/// How one log stream goes.
#[derive(Debug, Default)]
pub(crate) struct LogScript {
    pub(crate) events: Vec<Event>,
    pub(crate) then: Then,
}

/// How a stream closes.
#[derive(Debug, Default)]
pub(crate) enum Then {
    /// With OK.
    #[default]
    Close,
    /// With an error.
    Fail(Status),
    /// When the run is terminal, with these events before OK.
    AtEnd(Vec<Event>),
}

/// What the server answers.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Taken one by one before submits succeed.
    pub(crate) submit_failures: VecDeque<Status>,
    pub(crate) submit: Option<pb::SubmitRunResponse>,
    /// Taken one by one; afterwards streams end at once.
    pub(crate) logs: VecDeque<LogScript>,
    /// What the run becomes when it is cancelled; unset: nothing happens.
    pub(crate) cancelled: Option<pb::Run>,
    pub(crate) pages: VecDeque<pb::ListRunsResponse>,
    /// Streams of the result, each the pieces and an error at its end.
    pub(crate) results: VecDeque<(Vec<pb::ReadResultResponse>, Option<Status>)>,
    pub(crate) delete_failure: Option<Status>,
    /// Names of runs that GetRun does not find.
    pub(crate) missing: Vec<String>,
}

pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    seen: Mutex<Seen>,
    changed: Condvar,
    run: watch::Sender<pb::Run>,
}

impl FakeServer {
    /// Serves from a thread of its own, until it is dropped.
    pub(crate) fn start(run: pb::Run, script: Script) -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            seen: Mutex::default(),
            changed: Condvar::new(),
            run: watch::Sender::new(run),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = RunServiceServer::new(Service(Arc::clone(&shared)));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
                let serve = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
                tokio::select! {
                    served = serve => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// What the run is from now on.
    pub(crate) fn set_run(&self, run: pb::Run) {
        self.shared.run.send_replace(run);
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap()
    }

    /// Waits until the server was asked what `condition` wants.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let (_seen, timeout) =
            self.shared.changed.wait_timeout_while(self.seen(), PATIENCE, |seen| !condition(seen)).unwrap();
        assert!(!timeout.timed_out(), "never seen: {what}");
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Service(Arc<Shared>);

impl Service {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.0.seen.lock().unwrap());
        self.0.changed.notify_all();
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    fn run(&self) -> pb::Run {
        self.0.run.borrow().clone()
    }
}

async fn until_terminal(mut run: watch::Receiver<pb::Run>) -> pb::Run {
    run.wait_for(|run| run.state().is_terminal()).await.unwrap().clone()
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl RunService for Service {
    type WatchRunsStream = Answers<pb::WatchRunsResponse>;
    type StreamLogsStream = Answers<pb::StreamLogsResponse>;
    type ReadResultStream = Answers<pb::ReadResultResponse>;

    async fn submit_run(
        &self,
        request: Request<pb::SubmitRunRequest>,
    ) -> Result<Response<pb::SubmitRunResponse>, Status> {
        self.note(|seen| seen.submits.push(request.into_inner()));
        if let Some(failure) = self.script().submit_failures.pop_front() {
            return Err(failure);
        }
        let answer = self.script().submit.clone();
        let plain = || pb::SubmitRunResponse { run: Some(self.run()), ..Default::default() };
        Ok(Response::new(answer.unwrap_or_else(plain)))
    }

    // What takes many runs is tested with a daemon.
    async fn batch_submit_runs(
        &self,
        _: Request<pb::BatchSubmitRunsRequest>,
    ) -> Result<Response<pb::BatchSubmitRunsResponse>, Status> {
        Err(Status::unimplemented("BatchSubmitRuns"))
    }

    async fn cancel_runs(&self, _: Request<pb::CancelRunsRequest>) -> Result<Response<pb::CancelRunsResponse>, Status> {
        Err(Status::unimplemented("CancelRuns"))
    }

    async fn delete_runs(&self, _: Request<pb::DeleteRunsRequest>) -> Result<Response<pb::DeleteRunsResponse>, Status> {
        Err(Status::unimplemented("DeleteRuns"))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Result<Response<pb::GetRunResponse>, Status> {
        let name = request.into_inner().name;
        if self.script().missing.contains(&name) {
            let mut details = ErrorDetails::with_error_info("RESOURCE_NOT_FOUND", "longshore.dev", HashMap::new());
            details.set_resource_info("longshore.dev/Run", name, "", "");
            return Err(Status::with_error_details(Code::NotFound, "there is no such run", details));
        }
        Ok(Response::new(pb::GetRunResponse { run: Some(self.run()) }))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Result<Response<pb::ListRunsResponse>, Status> {
        let encodings = request.metadata().get("grpc-accept-encoding").and_then(|value| value.to_str().ok());
        let encodings = encodings.unwrap_or_default().to_owned();
        self.note(|seen| {
            seen.encodings.push(encodings);
            seen.lists.push(request.into_inner());
        });
        Ok(Response::new(self.script().pages.pop_front().unwrap_or_default()))
    }

    async fn watch_runs(&self, _: Request<pb::WatchRunsRequest>) -> Result<Response<Self::WatchRunsStream>, Status> {
        use pb::watch_runs_response::Event;
        let first = [Event::Run(self.run()), Event::Synced(pb::WatchSynced {})];
        let events = first.map(|event| Ok(pb::WatchRunsResponse { event: Some(event) }));
        Ok(Response::new(stream::iter(events).chain(stream::pending()).boxed()))
    }

    async fn wait_run(&self, request: Request<pb::WaitRunRequest>) -> Result<Response<pb::WaitRunResponse>, Status> {
        let timeout = request.into_inner().timeout.map_or(30, |timeout| timeout.seconds.max(0).unsigned_abs());
        let over = until_terminal(self.0.run.subscribe());
        let run = tokio::time::timeout(Duration::from_secs(timeout), over).await.unwrap_or_else(|_| self.run());
        Ok(Response::new(pb::WaitRunResponse { run: Some(run) }))
    }

    async fn stream_logs(
        &self,
        request: Request<pb::StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        self.note(|seen| seen.logs.push(request.into_inner()));
        let script = self
            .script()
            .logs
            .pop_front()
            .unwrap_or_else(|| LogScript { events: Vec::new(), then: Then::AtEnd(vec![end()]) });
        let answer = |event| Ok(pb::StreamLogsResponse { event: Some(event) });
        let events = stream::iter(script.events.into_iter().map(answer));
        let run = self.0.run.subscribe();
        Ok(Response::new(match script.then {
            Then::Close => events.boxed(),
            Then::Fail(status) => events.chain(stream::iter([Err(status)])).boxed(),
            Then::AtEnd(last) => {
                let last = async move {
                    until_terminal(run).await;
                    stream::iter(last.into_iter().map(answer))
                };
                events.chain(stream::once(last).flatten()).boxed()
            }
        }))
    }

    async fn read_result(
        &self,
        request: Request<pb::ReadResultRequest>,
    ) -> Result<Response<Self::ReadResultStream>, Status> {
        self.note(|seen| seen.results.push(request.into_inner()));
        let (pieces, failure) = self.script().results.pop_front().unwrap_or_default();
        let pieces = pieces.into_iter().map(Ok).chain(failure.map(Err));
        Ok(Response::new(stream::iter(pieces.collect::<Vec<_>>()).boxed()))
    }

    async fn cancel_run(
        &self,
        request: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::CancelRunResponse>, Status> {
        self.note(|seen| seen.cancels.push(request.into_inner()));
        if let Some(run) = self.script().cancelled.take() {
            self.0.run.send_replace(run);
        }
        Ok(Response::new(pb::CancelRunResponse { run: Some(self.run()) }))
    }

    async fn delete_run(
        &self,
        request: Request<pb::DeleteRunRequest>,
    ) -> Result<Response<pb::DeleteRunResponse>, Status> {
        self.note(|seen| seen.deletes.push(request.into_inner()));
        match self.script().delete_failure.take() {
            Some(status) => Err(status),
            None => Ok(Response::new(pb::DeleteRunResponse::default())),
        }
    }
}

/// A run in a state.
pub(crate) fn run(state: pb::RunState) -> pb::Run {
    pb::Run {
        name: NAME.to_owned(),
        state: state.into(),
        timeline: Some(pb::Timeline {
            create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A run that failed.
pub(crate) fn failed(class: pb::FailureClass, reason: pb::FailureReason, exit_code: i32, message: &str) -> pb::Run {
    let failure = pb::Failure {
        failure_class: class.into(),
        reason: reason.into(),
        message: message.to_owned(),
        exit_code: Some(exit_code),
        ..Default::default()
    };
    pb::Run { failure: Some(failure), exit_code: Some(exit_code), ..run(pb::RunState::Failed) }
}

/// A run that succeeded with a result.
pub(crate) fn succeeded_with(json: &str) -> pb::Run {
    let result = pb::Result {
        state: pb::ResultState::Found.into(),
        json: json.to_owned(),
        size_bytes: i64::try_from(json.len()).unwrap(),
        ..Default::default()
    };
    pb::Run { result: Some(result), ..run(pb::RunState::Succeeded) }
}

/// Output on one stream.
pub(crate) fn output(stream: pb::LogStream, data: &[u8], cursor: &str) -> Event {
    let entry = pb::LogEntry {
        attempt: 1,
        container: "run".to_owned(),
        stream: stream.into(),
        data: data.to_vec().into(),
        ..Default::default()
    };
    Event::Entries(pb::LogEntries { entries: vec![entry], cursor: cursor.to_owned() })
}

/// The end of a finished run's output.
pub(crate) fn end() -> Event {
    Event::Ended(pb::LogEnded { cursor: "end".to_owned(), reason: pb::LogEndReason::RunFinished.into() })
}

/// The server ends the stream in order.
pub(crate) fn reconnect(cursor: &str) -> Event {
    let reason = pb::ReconnectReason::Draining.into();
    Event::Reconnect(pb::LogReconnect { cursor: cursor.to_owned(), reason })
}
