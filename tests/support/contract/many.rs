//! Many runs with one call.

use longshore::proto::v1::batch_submit_item::Outcome;
use longshore::proto::v1::{
    BatchSubmitItem, BatchSubmitRunsRequest, BatchSubmitRunsResponse, CancelRunsRequest, DeleteRunsRequest,
    ErrorReason, ListRunsRequest, Run, RunFilter, RunSpec, RunState, SelectedRun, SubmitRunRequest,
};
use tonic::{Code, Status};

use super::Subject;
use crate::support::client::{Client, DEFAULT};
use crate::support::errors::{assert_error, violated_fields};
use crate::support::spec::{UNTIL_TERM, env};
use crate::support::wait::within;

fn of_one_spec(batch: &str, spec: RunSpec, count: i32) -> BatchSubmitRunsRequest {
    BatchSubmitRunsRequest {
        parent: DEFAULT.to_owned(),
        batch_id: batch.to_owned(),
        spec: Some(spec),
        count,
        ..BatchSubmitRunsRequest::default()
    }
}

async fn submit(client: &Client, request: BatchSubmitRunsRequest) -> Result<BatchSubmitRunsResponse, Status> {
    Ok(within("BatchSubmitRuns", client.runs.clone().batch_submit_runs(request)).await?.into_inner())
}

fn run(item: &BatchSubmitItem) -> &Run {
    match &item.outcome {
        Some(Outcome::Run(run)) => run,
        other => panic!("{}: {other:?}", item.name),
    }
}

fn selector(labels: &str) -> Option<RunFilter> {
    Some(RunFilter { label_selector: labels.to_owned(), ..RunFilter::default() })
}

/// Names of the runs of a batch that a list knows, by name.
async fn listed(client: &Client, batch: &str) -> Vec<String> {
    let filter = selector(&format!("longshore.dev/batch={batch}"));
    let request = ListRunsRequest { parent: DEFAULT.to_owned(), filter, page_size: 500, ..ListRunsRequest::default() };
    let page = client.runs.clone().list_runs(request).await.expect("ListRuns").into_inner();
    let mut names: Vec<_> = page.runs.into_iter().map(|run| run.name).collect();
    names.sort();
    names
}

fn names(batch: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{DEFAULT}/runs/{batch}-{index}")).collect()
}

pub(crate) async fn runs_of_a_batch_know_which_they_are(subject: &Subject) {
    let client = &subject.client;
    let spec = subject.script("echo \"$LONGSHORE_INDEX of $LONGSHORE_COUNT\"");
    let answer = submit(client, of_one_spec("counted", spec, 4)).await.expect("BatchSubmitRuns");
    assert_eq!(answer.items.iter().map(|item| item.name.clone()).collect::<Vec<_>>(), names("counted", 4));
    for (index, item) in answer.items.iter().enumerate() {
        let made = run(item);
        assert_eq!((&made.name, item.replayed, made.uid.is_empty()), (&item.name, false, false));
        assert_eq!((&made.spec, &made.effective_spec), (&None, &None), "the caller has it");
        let done = client.wait_terminal(&item.name).await;
        assert_eq!((done.state(), &done.uid), (RunState::Succeeded, &made.uid), "{done:?}");
        assert_eq!(client.logs(&item.name).await.text(), format!("{index} of 4\n"));
        let labels = &done.effective_spec.as_ref().expect("FULL").labels;
        assert_eq!(labels.get("longshore.dev/batch").map(String::as_str), Some("counted"));
        assert_eq!(done.spec.as_ref().map(|spec| spec.labels.len()), Some(0), "as it was asked for");
    }
    assert_eq!(listed(client, "counted").await, names("counted", 4));
}

pub(crate) async fn a_batch_again_adopts_what_is_there(subject: &Subject) {
    let client = &subject.client;
    let specs = ["echo a", "echo b", "echo c"].map(|script| subject.script(script));
    let requests: Vec<_> =
        specs.map(|spec| SubmitRunRequest { spec: Some(spec), ..SubmitRunRequest::default() }).into();
    let request = BatchSubmitRunsRequest {
        parent: DEFAULT.to_owned(),
        batch_id: "again".to_owned(),
        requests,
        ..BatchSubmitRunsRequest::default()
    };
    let first = submit(client, request.clone()).await.expect("BatchSubmitRuns");
    // As if the server had died before the second was made.
    client.wait_terminal(&first.items[1].name).await;
    client.delete(&first.items[1].name).await.expect("DeleteRun");
    let again = submit(client, request).await.expect("BatchSubmitRuns");
    assert_eq!(again.items.iter().map(|item| item.replayed).collect::<Vec<_>>(), [true, false, true]);
    for (item, before, text) in in_pairs(&again, &first, ["a\n", "b\n", "c\n"]) {
        assert_eq!(run(item).uid == run(before).uid, item.replayed);
        let done = client.wait_terminal(&item.name).await;
        assert_eq!((done.state(), done.uid), (RunState::Succeeded, run(item).uid.clone()));
        assert_eq!(client.logs(&item.name).await.text(), text, "it ran once");
    }
}

fn in_pairs<'a>(
    again: &'a BatchSubmitRunsResponse,
    first: &'a BatchSubmitRunsResponse,
    texts: [&'a str; 3],
) -> impl Iterator<Item = (&'a BatchSubmitItem, &'a BatchSubmitItem, &'a str)> {
    again.items.iter().zip(&first.items).zip(texts).map(|((again, first), text)| (again, first, text))
}

pub(crate) async fn a_batch_with_another_count_makes_nothing(subject: &Subject) {
    let client = &subject.client;
    submit(client, of_one_spec("fixed", subject.script("exit 0"), 2)).await.expect("BatchSubmitRuns");
    let refused = submit(client, of_one_spec("fixed", subject.script("exit 0"), 3)).await.expect_err("another count");
    let details = assert_error(&refused, Code::AlreadyExists, ErrorReason::PayloadMismatch);
    let metadata = &details.error_info().expect("an ErrorInfo").metadata;
    assert_eq!(metadata.get("differing_fields").map(String::as_str), Some("batch"));
    assert_eq!(listed(client, "fixed").await, names("fixed", 2));
    for name in names("fixed", 2) {
        client.wait_terminal(&name).await;
    }
}

pub(crate) async fn a_batch_with_one_wrong_spec_makes_nothing(subject: &Subject) {
    let client = &subject.client;
    let spec = |index: usize| match index {
        13 => RunSpec { env: vec![env("not a name", "")], ..subject.script("exit 0") },
        _ => subject.script("exit 0"),
    };
    let mut requests: Vec<_> =
        (0..20).map(|index| SubmitRunRequest { spec: Some(spec(index)), ..SubmitRunRequest::default() }).collect();
    requests[4].run_id = "mine".to_owned();
    let request = BatchSubmitRunsRequest {
        parent: DEFAULT.to_owned(),
        batch_id: "wrong".to_owned(),
        requests,
        ..BatchSubmitRunsRequest::default()
    };
    let refused = submit(client, request).await.expect_err("two are wrong");
    let fields = violated_fields(&refused, ErrorReason::InvalidFields);
    assert_eq!(fields, ["requests[13].spec.env[0].name", "requests[4].run_id"]);
    assert_eq!(listed(client, "wrong").await, [] as [String; 0]);
}

pub(crate) async fn a_batch_is_only_checked_if_asked(subject: &Subject) {
    let client = &subject.client;
    let request = of_one_spec("checked", subject.script("exit 0"), 3);
    let answer = submit(client, BatchSubmitRunsRequest { validate_only: true, ..request }).await.expect("it is fine");
    assert_eq!(answer.items.iter().map(|item| item.name.clone()).collect::<Vec<_>>(), names("checked", 3));
    assert!(answer.items.iter().map(run).all(|run| run.uid.is_empty() && run.state() == RunState::Unspecified));
    assert!(answer.manifest.contains("checked-0"), "{}", answer.manifest);
    assert!(!answer.verdicts.is_empty() && answer.verdicts.iter().all(|verdict| verdict.accepted), "{answer:?}");
    assert_eq!(listed(client, "checked").await, [] as [String; 0]);
    for (count, batch) in [(0, "checked"), (501, "checked"), (1, "q-checked")] {
        let refused = submit(client, of_one_spec(batch, subject.script("exit 0"), count)).await.expect_err("refused");
        let field = if batch == "checked" { "count" } else { "batch_id" };
        assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), [field]);
    }
}

pub(crate) async fn runs_that_match_are_cancelled_and_deleted(subject: &Subject) {
    let client = &subject.client;
    let (parent, batch) = (DEFAULT.to_owned(), "longshore.dev/batch=stopped");
    submit(client, of_one_spec("stopped", subject.script(UNTIL_TERM), 3)).await.expect("BatchSubmitRuns");
    let beside = client.submit(subject.script(UNTIL_TERM)).await.name;
    let cancel = async |filter: &str, validate_only| {
        let (parent, reason) = (parent.clone(), "enough".to_owned());
        let request = CancelRunsRequest { parent, filter: selector(filter), reason, validate_only };
        within("CancelRuns", client.runs.clone().cancel_runs(request)).await.expect("CancelRuns").into_inner()
    };
    let delete = async |validate_only| {
        let request = DeleteRunsRequest { parent: parent.clone(), filter: selector(batch), validate_only };
        within("DeleteRuns", client.runs.clone().delete_runs(request)).await.expect("DeleteRuns").into_inner()
    };
    let named = |runs: Vec<SelectedRun>| {
        let mut names: Vec<_> = runs.into_iter().map(|run| (run.name, run.error)).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    };
    let all: Vec<_> = names("stopped", 3).into_iter().map(|name| (name, None)).collect();

    let too_soon = delete(false).await;
    assert_eq!((too_soon.runs.len(), too_soon.live_count, too_soon.more), (0, 3, false));
    assert_eq!(named(cancel(batch, true).await.runs), all);
    assert!(client.get(&names("stopped", 3)[0]).await.stop.is_none(), "only asked which");
    let cancelled = cancel(batch, false).await;
    assert_eq!((named(cancelled.runs), cancelled.more), (all.clone(), false));
    assert_eq!(named(cancel(batch, false).await.runs), [], "a stop was asked for already");
    for (name, _) in &all {
        let run = client.wait_terminal(name).await;
        assert_eq!((run.state(), run.stop.map(|stop| stop.reason)), (RunState::Cancelled, Some("enough".to_owned())));
    }
    assert!(client.get(&beside).await.stop.is_none(), "it does not match");

    assert_eq!(named(delete(true).await.runs), all);
    client.get(&names("stopped", 3)[0]).await;
    let deleted = delete(false).await;
    assert_eq!((named(deleted.runs), deleted.live_count, deleted.more), (all, 0, false));
    assert_eq!(listed(client, "stopped").await, [] as [String; 0]);
    client.cancel(&beside, "").await;
    client.wait_terminal(&beside).await;
}

pub(crate) async fn an_empty_filter_is_refused(subject: &Subject) {
    let runs = &subject.client.runs;
    for (parent, field) in [(DEFAULT, "filter"), ("namespaces/-", "parent")] {
        let parent = parent.to_owned();
        let cancel = CancelRunsRequest { parent: parent.clone(), ..CancelRunsRequest::default() };
        let refused = runs.clone().cancel_runs(cancel).await.expect_err("which");
        assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), [field]);
        let delete = DeleteRunsRequest { parent, filter: Some(RunFilter::default()), validate_only: true };
        let refused = runs.clone().delete_runs(delete).await.expect_err("which");
        assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), [field]);
    }
}
