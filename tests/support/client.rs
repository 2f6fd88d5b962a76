//! Clients of one daemon, and waits for states through them.

use std::net::SocketAddr;

use longshore::proto::v1::run_service_client::RunServiceClient;
use longshore::proto::v1::server_service_client::ServerServiceClient;
use longshore::proto::v1::watch_runs_response::Event;
use longshore::proto::v1::{
    CancelRunRequest, DeleteRunRequest, GetRunRequest, Run, RunSpec, RunState, RunView, StreamLogsRequest,
    SubmitRunRequest, SubmitRunResponse, WaitRunRequest, WatchRunsRequest,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::logs::{Log, LogReader};
use super::spec::seconds;
use super::wait::within;

/// The namespace that always exists.
pub(crate) const DEFAULT: &str = "namespaces/default";

/// Clients of one daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// For calls that have no helper here.
    pub(crate) runs: RunServiceClient<Channel>,
    pub(crate) server: ServerServiceClient<Channel>,
    pub(crate) channel: Channel,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address is a URL");
        let channel = endpoint.connect_lazy();
        let runs = RunServiceClient::new(channel.clone());
        Self { runs, server: ServerServiceClient::new(channel.clone()), channel }
    }

    /// Waits until the health of `service` is `status`.
    pub(crate) async fn wait_health(&self, service: &str, status: ServingStatus) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut reported =
            HealthClient::new(self.channel.clone()).watch(request).await.expect("watch health").into_inner();
        within(&format!("health of {service:?} to be {status:?}"), async {
            while let Some(answer) = reported.message().await.expect("watch health") {
                if answer.status() == status {
                    return;
                }
            }
            panic!("the health watch of {service:?} ended before it was {status:?}");
        })
        .await;
    }

    /// Waits until the daemon is ready.
    pub(crate) async fn ready(self) -> Self {
        self.wait_health("", ServingStatus::Serving).await;
        self
    }

    pub(crate) async fn try_submit(&self, request: SubmitRunRequest) -> Result<SubmitRunResponse, Status> {
        let submitted = within("SubmitRun", self.runs.clone().submit_run(request)).await;
        submitted.map(tonic::Response::into_inner)
    }

    /// Submits under a request id.
    pub(crate) async fn submit_as(&self, request_id: &str, spec: RunSpec) -> Result<SubmitRunResponse, Status> {
        self.try_submit(SubmitRunRequest { request_id: request_id.to_owned(), ..submit_request(spec) }).await
    }

    /// Submits under an id of the server's making.
    pub(crate) async fn submit(&self, spec: RunSpec) -> Run {
        let submitted = self.try_submit(submit_request(spec)).await.expect("SubmitRun");
        assert!(!submitted.replayed, "an id of the server's making is new");
        submitted.run.expect("the run")
    }

    /// Submits and waits for the end.
    pub(crate) async fn run(&self, spec: RunSpec) -> Run {
        let run = self.submit(spec).await;
        self.wait_terminal(&run.name).await
    }

    pub(crate) async fn try_get(&self, name: &str) -> Result<Run, Status> {
        let request = GetRunRequest { name: name.to_owned(), ..GetRunRequest::default() };
        Ok(within("GetRun", self.runs.clone().get_run(request)).await?.into_inner().run.expect("the run"))
    }

    pub(crate) async fn get(&self, name: &str) -> Run {
        self.try_get(name).await.expect("GetRun")
    }

    /// The run once it is terminal.
    pub(crate) async fn wait_terminal(&self, name: &str) -> Run {
        within(&format!("the end of {name}"), async {
            loop {
                let request =
                    WaitRunRequest { name: name.to_owned(), timeout: seconds(30), ..WaitRunRequest::default() };
                let run =
                    self.runs.clone().wait_run(request).await.expect("WaitRun").into_inner().run.expect("the run");
                if run.state().is_terminal() {
                    return run;
                }
            }
        })
        .await
    }

    /// The run once nothing about it changes any more: when it may go is known a little after its
    /// end.
    pub(crate) async fn wait_settled(&self, name: &str) -> Run {
        self.wait_terminal(name).await;
        self.wait_until(name, "let go of", |run| run.expire_time.is_some()).await
    }

    pub(crate) async fn watch(&self, request: WatchRunsRequest) -> Streaming<longshore::proto::v1::WatchRunsResponse> {
        self.runs.clone().watch_runs(request).await.expect("WatchRuns").into_inner()
    }

    /// The run once `is_so` holds; reported by the daemon, not asked for again and again.
    ///
    /// # Panics
    /// If the run has ended for good or is gone before, or too much time passes.
    pub(crate) async fn wait_until(&self, name: &str, what: &str, is_so: impl Fn(&Run) -> bool) -> Run {
        let namespace = name.split_once("/runs/").expect("the name of a run").0;
        let mut last = String::new();
        let waited = tokio::time::timeout(super::wait::BOUND, async {
            loop {
                let request = WatchRunsRequest {
                    parent: namespace.to_owned(),
                    name: name.to_owned(),
                    view: RunView::Full.into(),
                    ..WatchRunsRequest::default()
                };
                let mut events = self.watch(request).await;
                while let Some(answer) = events.message().await.expect("WatchRuns") {
                    match answer.event {
                        Some(Event::Run(run)) => {
                            assert_eq!(run.name, name, "it alone is watched");
                            if is_so(&run) {
                                return run;
                            }
                            last = format!("{run:?}");
                            let goes_on = !run.state().is_terminal() || run.expire_time.is_none();
                            assert!(goes_on, "{name} ended before it was {what}: {last}");
                        }
                        Some(Event::Removed(_)) => panic!("{name} was removed before it was {what}: {last}"),
                        _ => {}
                    }
                }
            }
        });
        match waited.await {
            Ok(run) => run,
            Err(_) => panic!("waited in vain for {name} to be {what}; last seen: {last}"),
        }
    }

    pub(crate) async fn wait_state(&self, name: &str, state: RunState) -> Run {
        self.wait_until(name, state.as_str_name(), |run| run.state() == state).await
    }

    pub(crate) async fn try_cancel(&self, name: &str, reason: &str) -> Result<Run, Status> {
        let request =
            CancelRunRequest { name: name.to_owned(), reason: reason.to_owned(), ..CancelRunRequest::default() };
        Ok(within("CancelRun", self.runs.clone().cancel_run(request)).await?.into_inner().run.expect("the run"))
    }

    pub(crate) async fn cancel(&self, name: &str, reason: &str) -> Run {
        self.try_cancel(name, reason).await.expect("CancelRun")
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), Status> {
        let request = DeleteRunRequest { name: name.to_owned(), ..DeleteRunRequest::default() };
        within("DeleteRun", self.runs.clone().delete_run(request)).await.map(drop)
    }

    pub(crate) async fn try_open_logs(&self, request: StreamLogsRequest) -> Result<LogReader, Status> {
        let stream = within("StreamLogs", self.runs.clone().stream_logs(request)).await?;
        Ok(LogReader::new(stream.into_inner()))
    }

    pub(crate) async fn open_logs(&self, request: StreamLogsRequest) -> LogReader {
        self.try_open_logs(request).await.expect("StreamLogs")
    }

    /// A whole stream, to its orderly end.
    pub(crate) async fn read_logs(&self, request: StreamLogsRequest) -> Log {
        self.open_logs(request).await.rest().await
    }

    /// Follows to the end of the run.
    pub(crate) async fn logs(&self, name: &str) -> Log {
        self.read_logs(follow(name)).await
    }
}

/// A submit under an id of the server's making.
pub(crate) fn submit_request(spec: RunSpec) -> SubmitRunRequest {
    SubmitRunRequest { parent: DEFAULT.to_owned(), spec: Some(spec), ..SubmitRunRequest::default() }
}

/// Follows from the start to the end of the run.
pub(crate) fn follow(name: &str) -> StreamLogsRequest {
    StreamLogsRequest { name: name.to_owned(), follow: true, ..StreamLogsRequest::default() }
}
