//! The client for programs in Rust, against a daemon. What surrounds it (restarts, wrong servers, credentials) is tested
//! through the command line, which is built on it.

use longshore::client::{Client, Credentials};
use longshore::proto::v1::watch_runs_response::Event;
use longshore::proto::v1::{ErrorReason, ListRunsRequest, RunState, RunView, StreamLogsRequest, WatchRunsRequest};
use tonic::Code;

use crate::fixture::{Local, script};
use crate::support::client::DEFAULT;
use crate::support::errors::assert_error;
use crate::support::spec::sql;
use crate::support::wait::within;

fn client(local: &Local) -> Client {
    let address = format!("http://{}", local.daemon.address());
    Client::new(&address, &Credentials::default()).expect("a client")
}

#[tokio::test]
async fn a_program_submits_waits_and_reads() {
    let local = Local::start().await;
    let client = client(&local);
    let run = client.submit(DEFAULT, "ticket-4711", sql("select 1 as one")).await.expect("submit");
    let again = client.submit(DEFAULT, "ticket-4711", sql("select 1 as one")).await.expect("submit again");
    assert_eq!((&run.name, &run.uid), (&again.name, &again.uid), "one run however often it is submitted");
    let refused = client.submit(DEFAULT, "ticket-4711", sql("select 2 as two")).await.expect_err("another payload");
    assert_error(&refused, Code::AlreadyExists, ErrorReason::PayloadMismatch);

    let ended = within("the end", client.wait(&run.name)).await.expect("wait");
    assert_eq!(ended.state(), RunState::Succeeded);
    assert!(ended.result.expect("a result").json.contains("\"one\""));
    assert_eq!(client.get(&run.name, RunView::Basic).await.expect("get").uid, run.uid);
    let page = client.list(ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() }).await;
    assert_eq!(page.expect("list").runs.len(), 1);
    assert!(client.was_reached());
    assert_eq!(client.server_info().await.expect("server info").namespaces, [DEFAULT]);
    let profiles = client.profiles(DEFAULT).await.expect("profiles").profiles;
    assert!(profiles.iter().any(|profile| profile.name == "sql"));
    local.finish().await;
}

#[tokio::test]
async fn a_program_watches_cancels_and_deletes() {
    let local = Local::start().await;
    let client = client(&local);
    let run = client.submit(DEFAULT, "one", script("echo out; gate never")).await.expect("submit");
    let request =
        WatchRunsRequest { parent: DEFAULT.to_owned(), name: run.name.clone(), ..WatchRunsRequest::default() };
    let mut events = client.watch_runs(request).await.expect("watch");
    loop {
        match within("the run to run", events.message()).await.expect("watch").and_then(|answer| answer.event) {
            Some(Event::Run(seen)) if seen.state() == RunState::Running => break,
            Some(_) => {}
            None => panic!("the watch has ended"),
        }
    }
    let unfinished = client.wait_once(&run.name, Some(std::time::Duration::ZERO)).await.expect("wait once");
    assert_eq!(unfinished.state(), RunState::Running);
    client.cancel(&run.name, "no longer needed").await.expect("cancel");
    let ended = within("the end", client.wait(&run.name)).await.expect("wait");
    assert_eq!((ended.state(), ended.stop.expect("a stop").reason.as_str()), (RunState::Cancelled, "no longer needed"));
    let request = StreamLogsRequest { name: run.name.clone(), ..StreamLogsRequest::default() };
    let mut logs = client.stream_logs(request).await.expect("logs");
    assert!(within("the log", logs.message()).await.expect("logs").is_some());
    local.client().await.wait_settled(&run.name).await;
    client.delete(&run.name).await.expect("delete");
    let gone = client.wait(&run.name).await.expect_err("it is gone");
    assert_error(&gone, Code::NotFound, ErrorReason::ResourceNotFound);
    local.finish().await;
}
