//! Cancelling and deleting.

use longshore::proto::v1::{CancelRunRequest, DeleteRunRequest, ErrorReason, RunState, StopCause};
use tonic::Code;

use super::Subject;
use crate::support::client::follow;
use crate::support::errors::assert_error;
use crate::support::spec::UNTIL_TERM;

pub(crate) async fn a_cancel_keeps_the_first_reason_and_the_last_line(subject: &Subject) {
    let client = &subject.client;
    let name = client.submit(subject.script(UNTIL_TERM)).await.name;
    let mut log = client.open_logs(follow(&name)).await;
    log.until("ready\n").await;
    let run = client.cancel(&name, "first").await;
    assert!(matches!(run.state(), RunState::Cancelling | RunState::Cancelled), "{run:?}");
    client.cancel(&name, "second").await;
    let run = client.wait_terminal(&name).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Cancelled, Some(3)), "{run:?}");
    assert_eq!(run.failure, None, "a cancel is no failure");
    let stop = run.stop.as_ref().expect("the stop");
    assert_eq!((stop.cause(), stop.reason.as_str()), (StopCause::Cancel, "first"));
    assert_eq!(stop.actor, "", "nobody is authenticated");
    assert!(stop.request_time.is_some());
    let log = log.rest().await;
    log.assert_complete();
    assert_eq!(log.text(), "ready\nbye\n");
}

pub(crate) async fn a_cancel_of_a_finished_run_changes_nothing(subject: &Subject) {
    let client = &subject.client;
    let run = client.run(subject.script("exit 0")).await;
    let answered = client.cancel(&run.name, "too late").await;
    assert_eq!((answered.state(), answered.stop.as_ref()), (RunState::Succeeded, None));
    let run = client.get(&run.name).await;
    assert_eq!((run.state(), run.stop), (RunState::Succeeded, None));
}

pub(crate) async fn a_live_run_cannot_be_deleted(subject: &Subject) {
    let client = &subject.client;
    let name = client.submit(subject.script(UNTIL_TERM)).await.name;
    let refused = client.delete(&name).await.expect_err("it is live");
    assert_error(&refused, Code::FailedPrecondition, ErrorReason::RunNotTerminal);
    let request = CancelRunRequest { name: name.clone(), etag: "stale".to_owned(), ..CancelRunRequest::default() };
    let refused = client.runs.clone().cancel_run(request).await.expect_err("another etag");
    assert_error(&refused, Code::Aborted, ErrorReason::EtagMismatch);
    client.cancel(&name, "").await;
    let run = client.wait_terminal(&name).await;
    assert_eq!(run.state(), RunState::Cancelled, "{run:?}");
}

pub(crate) async fn deleting_a_finished_run_frees_its_key(subject: &Subject) {
    let client = &subject.client;
    let spec = subject.script("echo once; sleep 0.2");
    let first = client.submit_as("the key", spec.clone()).await.expect("SubmitRun").run.expect("the run");
    client.wait_terminal(&first.name).await;
    client.delete(&first.name).await.expect("DeleteRun");
    let gone = client.try_get(&first.name).await.expect_err("it is deleted");
    assert_error(&gone, Code::NotFound, ErrorReason::ResourceNotFound);
    let gone = client.delete(&first.name).await.expect_err("it is deleted");
    assert_error(&gone, Code::NotFound, ErrorReason::ResourceNotFound);
    let request = DeleteRunRequest { name: first.name.clone(), allow_missing: true, ..DeleteRunRequest::default() };
    client.runs.clone().delete_run(request).await.expect("it may be missing");

    let again = client.submit_as("the key", spec).await.expect("SubmitRun");
    let second = again.run.expect("the run");
    assert!(!again.replayed, "the key is free");
    assert_eq!(second.name, first.name);
    assert_ne!(second.uid, first.uid);
    let second = client.wait_terminal(&second.name).await;
    assert_eq!(second.state(), RunState::Succeeded, "{second:?}");
    assert_eq!(client.logs(&second.name).await.text(), "once\n");
}
