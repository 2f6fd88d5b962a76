//! Pages, filters and selectors, and what a filtered watch reports.

use std::collections::HashMap;

use longshore::proto::v1::watch_runs_response::Event;
use longshore::proto::v1::{
    ErrorReason, FailureClass, ListRunsRequest, ListRunsResponse, Run, RunFilter, RunRemovalCause, RunSpec, RunState,
    RunView, WatchRunsRequest,
};
use tokio::io::AsyncBufReadExt;
use tonic::Status;

use crate::fixture::{Local, script};
use crate::support::client::{Client, DEFAULT};
use crate::support::daemon::LONGSHORE;
use crate::support::errors::violated_fields;
use crate::support::spec::sql;
use crate::support::wait::within;

async fn list(client: &Client, request: ListRunsRequest) -> Result<ListRunsResponse, Status> {
    client.runs.clone().list_runs(request).await.map(tonic::Response::into_inner)
}

fn all(filter: RunFilter) -> ListRunsRequest {
    ListRunsRequest { parent: DEFAULT.to_owned(), filter: Some(filter), ..ListRunsRequest::default() }
}

async fn names(client: &Client, request: ListRunsRequest) -> Vec<String> {
    list(client, request).await.expect("ListRuns").runs.into_iter().map(|run| run.name).collect()
}

fn labelled(number: usize, text: &str) -> RunSpec {
    let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
    let labels = [("number", number.to_string()), ("parity", parity.to_owned())];
    RunSpec { labels: HashMap::from(labels.map(|(k, v)| (k.to_owned(), v))), ..script(text) }
}

/// Seven runs, newest first: number 3 fails with 3, the others succeed.
async fn seven(client: &Client) -> Vec<Run> {
    let mut runs = Vec::new();
    for number in 1..=7 {
        let text = if number == 3 { "exit 3" } else { "exit 0" };
        runs.insert(0, client.run(labelled(number, text)).await);
    }
    runs
}

#[tokio::test]
async fn pages_are_newest_first_and_stay_as_runs_come() {
    let local = Local::start().await;
    let client = local.client().await;
    let expected: Vec<_> = seven(&client).await.into_iter().map(|run| run.name).collect();
    let request = ListRunsRequest { page_size: 3, ..all(RunFilter::default()) };
    let mut seen = Vec::new();
    let mut token = String::new();
    for size in [3, 3, 1] {
        let page = list(&client, ListRunsRequest { page_token: token, ..request.clone() }).await.expect("ListRuns");
        assert_eq!(page.runs.len(), size);
        seen.extend(page.runs.into_iter().map(|run| run.name));
        token = page.next_page_token;
        // Newer than every page that is still to come.
        client.run(script("exit 0")).await;
    }
    assert_eq!((token.as_str(), seen), ("", expected.clone()));
    let everywhere = ListRunsRequest { parent: "namespaces/-".to_owned(), ..all(RunFilter::default()) };
    assert!(names(&client, everywhere).await.ends_with(&expected));
}

#[tokio::test]
async fn a_page_token_is_bound_to_its_query() {
    let local = Local::start().await;
    let client = local.client().await;
    seven(&client).await;
    let request = ListRunsRequest { page_size: 2, ..all(RunFilter::default()) };
    let token = list(&client, request.clone()).await.expect("ListRuns").next_page_token;
    assert_ne!(token, "");
    let other = RunFilter { label_selector: "parity=odd".to_owned(), ..RunFilter::default() };
    for foreign in [
        ListRunsRequest { page_token: token.clone(), ..all(other) },
        ListRunsRequest { page_token: token, parent: "namespaces/-".to_owned(), ..request.clone() },
        ListRunsRequest { page_token: "not a token".to_owned(), ..request },
    ] {
        let refused = list(&client, foreign).await.expect_err("another query");
        assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), ["page_token"]);
    }
}

#[tokio::test]
async fn filters_and_selectors_choose() {
    let local = Local::start().await;
    let client = local.client().await;
    let runs = seven(&client).await;
    let query = client.run(sql("SELECT 1 AS one")).await.name;
    // `runs` is newest first: number 7 is at 0.
    let of = |numbers: &[usize]| numbers.iter().map(|n| runs[7 - n].name.clone()).collect::<Vec<_>>();
    let select = |text: &str| RunFilter { label_selector: text.to_owned(), ..RunFilter::default() };
    let cases = [
        (select("parity=odd"), of(&[7, 5, 3, 1])),
        (select("parity!=odd,number"), of(&[6, 4, 2])),
        (select("number in (1, 2, 9)"), of(&[2, 1])),
        (select("parity=even,number notin (2,4)"), of(&[6])),
        (select("!number"), vec![query.clone()]),
        (RunFilter { states: vec![RunState::Failed.into()], ..RunFilter::default() }, of(&[3])),
        (RunFilter { states: vec![RunState::Queued.into(), RunState::Running.into()], ..RunFilter::default() }, vec![]),
        (RunFilter { failure_class: FailureClass::User.into(), ..RunFilter::default() }, of(&[3])),
        (RunFilter { profile: "sql".to_owned(), ..RunFilter::default() }, vec![query]),
        (
            RunFilter {
                from_create_time: runs[7 - 3].timeline.and_then(|t| t.create_time),
                to_create_time: runs[7 - 5].timeline.and_then(|t| t.create_time),
                ..RunFilter::default()
            },
            of(&[4, 3]),
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(names(&client, all(filter.clone())).await, expected, "{filter:?}");
    }
    let wrong = RunFilter { label_selector: "a in (".to_owned(), states: vec![0], ..RunFilter::default() };
    let refused = list(&client, all(wrong)).await.expect_err("no selector");
    let fields = violated_fields(&refused, ErrorReason::InvalidFields);
    assert_eq!(fields, ["filter.label_selector", "filter.states[0]"]);
}

#[tokio::test]
async fn full_has_what_basic_leaves_out() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.run(sql("SELECT 1 AS one")).await.name;
    client.wait_settled(&name).await;
    let view = |view: RunView| ListRunsRequest { view: view.into(), ..all(RunFilter::default()) };
    let basic = list(&client, view(RunView::Basic)).await.expect("ListRuns").runs.remove(0);
    let full = list(&client, view(RunView::Full)).await.expect("ListRuns").runs.remove(0);
    assert!(basic.effective_spec.is_none() && full.effective_spec.is_some());
    assert_eq!(basic.result.expect("a result").json, "");
    assert!(full.result.expect("a result").json.contains("\"one\""));
    assert_eq!(basic.etag, full.etag);
}

#[tokio::test]
async fn a_run_that_leaves_the_filter_is_reported_as_unmatched_and_not_as_deleted() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("mark runs; gate end")).await.name;
    local.marked("runs").await;
    client.wait_until(&name, "running", |run| run.state() == RunState::Running).await;
    let live = vec![RunState::Running.into()];
    let filter = RunFilter { states: live, ..RunFilter::default() };
    let mut events = client
        .watch(WatchRunsRequest { parent: DEFAULT.to_owned(), filter: Some(filter), ..WatchRunsRequest::default() })
        .await;
    let mut next = async || within("the next watch event", events.message()).await.expect("WatchRuns").expect("open");
    let Some(Event::Run(run)) = next().await.event else { panic!("what is there comes first") };
    assert_eq!(run.name, name);
    assert!(matches!(next().await.event, Some(Event::Synced(_))));
    local.open("end");
    let removed = loop {
        match next().await.event {
            Some(Event::Removed(removed)) => break removed,
            Some(Event::Run(run)) => assert_eq!(run.state(), RunState::Running, "only what matches"),
            _ => {}
        }
    };
    assert_eq!((&removed.name, removed.cause()), (&name, RunRemovalCause::Unmatched));
    let run = removed.run.expect("the run as it is now");
    assert!(run.state() != RunState::Running && run.effective_spec.is_none(), "{run:?}");
    // What became of it later is not this watch's business: the next event is about another run.
    client.wait_settled(&name).await;
    client.delete(&name).await.expect("DeleteRun");
    let other = client.submit(script("gate never")).await.name;
    loop {
        match next().await.event {
            Some(Event::Run(run)) => break assert_eq!(run.name, other),
            Some(Event::Removed(removed)) => panic!("reported a second time: {removed:?}"),
            _ => {}
        }
    }
    local.finish().await;
}

#[tokio::test]
async fn ls_watch_shows_what_became_of_a_run_that_leaves_the_list() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("mark runs; gate end; exit 3")).await.name;
    local.marked("runs").await;
    client.wait_until(&name, "running", |run| run.state() == RunState::Running).await;
    let url = format!("http://{}", local.daemon.address());
    let watch = |more: &[&str]| {
        let mut command = tokio::process::Command::new(LONGSHORE);
        command.args(["ls", "--watch", "--server", &url]).args(more).kill_on_drop(true);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("longshore");
        let lines = tokio::io::BufReader::new(child.stdout.take().expect("piped")).lines();
        (child, lines)
    };
    let id = name.rsplit('/').next().expect("an id");
    let (_running, mut running) = watch(&["--state", "running"]);
    let (_json, mut json) = watch(&["--state", "running", "-o", "json"]);
    let (_all, mut all) = watch(&[]);
    for lines in [&mut running, &mut all] {
        until_line(lines, |line| line.starts_with(id) && line.contains("RUNNING")).await;
    }
    until_line(&mut json, |line| line.starts_with("{\"run\":")).await;

    local.open("end");
    let left = until_line(&mut running, |line| line.starts_with(id) && !line.contains("RUNNING")).await;
    assert!(left.contains("no longer matches") && !left.contains("DELETED"), "{left}");
    let left = until_line(&mut json, |line| line.starts_with("{\"removed\":")).await;
    let left: serde_json::Value = serde_json::from_str(&left).expect("JSON");
    assert_eq!(left["removed"]["cause"], "RUN_REMOVAL_CAUSE_UNMATCHED");
    assert_eq!(left["removed"]["run"]["name"], name);
    until_line(&mut all, |line| line.starts_with(id) && line.contains("FAILED")).await;

    client.wait_settled(&name).await;
    client.delete(&name).await.expect("DeleteRun");
    let gone = until_line(&mut all, |line| line.starts_with(id) && !line.contains("FAILED")).await;
    assert!(gone.contains("DELETED") && gone.contains("NONZERO_EXIT"), "as last known: {gone}");
}

type Lines = tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>;

/// The next line that is wanted.
async fn until_line(lines: &mut Lines, wanted: impl Fn(&str) -> bool) -> String {
    within("a line of `ls --watch`", async {
        loop {
            let line = lines.next_line().await.expect("stdout").expect("it goes on");
            if wanted(&line) {
                return line;
            }
        }
    })
    .await
}
