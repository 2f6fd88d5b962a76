//! The id is the key.

use longshore::proto::v1::{ErrorReason, RunSpec, RunState};
use tonic::Code;

use super::Subject;
use crate::support::errors::assert_error;
use crate::support::spec::{json_input, seconds};

pub(crate) async fn a_replay_is_the_same_run(subject: &Subject) {
    let client = &subject.client;
    let spec = RunSpec { input: Some(json_input("{}")), ..subject.script("cat \"$LONGSHORE_INPUT\"; sleep 0.2") };
    let first = client.submit_as("replay", spec.clone()).await.expect("SubmitRun");
    let replay = client.submit_as("replay", spec.clone()).await.expect("SubmitRun");
    assert_eq!((first.replayed, replay.replayed), (false, true));
    let (first, replay) = (first.run.expect("the run"), replay.run.expect("the run"));
    assert!(first.name.starts_with("namespaces/default/runs/q-"), "{}", first.name);
    assert_eq!((&replay.name, &replay.uid), (&first.name, &first.uid));
    let done = client.wait_terminal(&first.name).await;
    assert_eq!(done.state(), RunState::Succeeded, "{done:?}");
    // As long as the record exists, so after the end too.
    let replay = client.submit_as("replay", spec).await.expect("SubmitRun");
    assert!(replay.replayed);
    assert_eq!(replay.run.map(|run| (run.uid, run.state)), Some((done.uid, done.state)));
    assert_eq!(client.logs(&first.name).await.text(), "{}", "it ran once");
}

pub(crate) async fn another_payload_under_the_same_key_is_refused(subject: &Subject) {
    let client = &subject.client;
    let first = client.submit_as("mismatch", subject.script("exit 0")).await.expect("SubmitRun");
    let first = first.run.expect("the run");
    let other = RunSpec { run_timeout: seconds(77), ..subject.script("exit 0") };
    let refused = client.submit_as("mismatch", other).await.expect_err("another payload");
    let details = assert_error(&refused, Code::AlreadyExists, ErrorReason::PayloadMismatch);
    let said = &details.error_info().expect("an ErrorInfo").metadata;
    assert_eq!(said.get("stored_sha256"), Some(&first.payload_digest), "{said:?}");
    assert_eq!(said.get("sent_sha256").map(String::len), Some(64), "{said:?}");
    assert_ne!(said.get("sent_sha256"), said.get("stored_sha256"));
    assert_eq!(said.get("differing_fields").map(String::as_str), Some("run_timeout"), "{said:?}");
    client.wait_terminal(&first.name).await;
}

pub(crate) async fn replays_at_once_make_one_run(subject: &Subject) {
    let spec = subject.script("echo once; sleep 0.2");
    let submits = (0..100).map(|_| subject.client.submit_as("at once", spec.clone()));
    let answers = futures::future::join_all(submits).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("SubmitRun")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    let mut uids: Vec<_> = answers.iter().filter_map(|answer| answer.run.as_ref()).map(|run| &run.uid).collect();
    uids.dedup();
    assert_eq!(uids.len(), 1, "{uids:?}");
    let name = answers.first().and_then(|answer| answer.run.as_ref()).map(|run| run.name.clone()).expect("the run");
    assert_eq!(subject.client.wait_terminal(&name).await.state(), RunState::Succeeded);
    assert_eq!(subject.client.logs(&name).await.text(), "once\n");
}
