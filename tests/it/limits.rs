//! What a caller, and the daemon itself, may have of things that are few: live runs, open files.

use longshore::proto::v1::{ErrorReason, SubmitRunRequest};
use tonic::Code;

use crate::fixture::{Local, script};
use crate::support::client::{DEFAULT, submit_request};
use crate::support::errors::assert_error;

/// So few that nothing more can be opened. What is open stays so.
const NONE: Option<u64> = Some(3);

#[tokio::test]
async fn a_caller_has_so_many_live_runs_and_no_more() {
    let mut local = Local::start().await;
    local.daemon.kill().await;
    local.configure("[limits]\nmax_live_runs_per_caller = 2");
    local.daemon.revive().await;
    let client = local.client().await;
    let first = client.submit_as("first", script("gate first")).await.unwrap().run.unwrap();
    client.submit_as("second", script("gate second")).await.unwrap();
    let refused = client.submit_as("third", script("exit 0")).await.expect_err("one too many");
    let details = assert_error(&refused, Code::ResourceExhausted, ErrorReason::QuotaExceeded);
    let violation = &details.quota_failure().expect("a QuotaFailure").violations[0];
    assert!(violation.subject.contains("live runs") && violation.description.contains('2'), "{violation:?}");

    // What makes no run is not refused.
    let again = client.submit_as("first", script("gate first")).await.expect("a replay");
    assert!(again.replayed && again.run.unwrap().name == first.name);
    let check = SubmitRunRequest { validate_only: true, ..submit_request(script("exit 0")) };
    client.try_submit(check).await.expect("a check");

    // It counts what is live, also what an earlier process began.
    local.daemon.kill().await;
    local.daemon.revive().await;
    let client = local.client().await;
    client.submit_as("third", script("exit 0")).await.expect_err("still one too many");
    local.open("first");
    client.wait_terminal(&first.name).await;
    client.submit_as("third", script("exit 0")).await.expect("one has ended");
    local.open("second");
    local.finish().await;
}

#[tokio::test]
async fn without_a_file_to_open_a_submit_is_refused_and_can_be_repeated() {
    let local = Local::start().await;
    let client = local.client().await;
    // The connection is there.
    client.run(script("exit 0")).await;
    let limit = local.daemon.limit_files(NONE);
    let refused = client.submit_as("later", script("echo once")).await.expect_err("no files");
    local.daemon.limit_files(limit);
    let details = assert_error(&refused, Code::Unavailable, ErrorReason::BackendUnavailable);
    assert!(details.retry_info().is_some());
    let state = local.state();
    assert!(!refused.message().contains(state.to_str().unwrap()), "a path of the host: {refused:?}");
    let run = client.submit_as("later", script("echo once")).await.expect("there are files again").run.unwrap();
    client.wait_terminal(&run.name).await;
    assert_eq!(client.logs(&run.name).await.text(), "once\n");
    let request = longshore::proto::v1::ListRunsRequest { parent: DEFAULT.to_owned(), ..Default::default() };
    assert_eq!(client.runs.clone().list_runs(request).await.unwrap().into_inner().runs.len(), 2, "made once");
}

#[tokio::test]
async fn the_daemon_may_open_as_many_files_as_it_can_and_a_run_as_many_as_were_given() {
    let local = Local::start_with_soft_files(300).await;
    let limits = local.daemon.file_limits();
    assert_eq!(limits.0, limits.1, "soft and hard");
    assert!(limits.0 > 300, "raised: {limits:?}");
    let client = local.client().await;
    let run = client.run(script("ulimit -Sn")).await;
    assert_eq!(client.logs(&run.name).await.text(), "300\n");
    local.finish().await;
}
