//! Seeing many runs, and waiting for one.

use longshore::proto::v1::watch_runs_response::Event;
use longshore::proto::v1::{
    ErrorReason, GetServerInfoRequest, ListRunnerProfilesRequest, ListRunsRequest, RunFilter, RunRemovalCause, RunSpec,
    RunState, SubmitRunRequest, WaitRunRequest, WatchRunsRequest,
};
use tonic::Code;

use super::Subject;
use crate::support::client::DEFAULT;
use crate::support::errors::{assert_error, violated_fields};
use crate::support::spec::{UNTIL_TERM, seconds};
use crate::support::wait::within;

pub(crate) async fn a_list_and_a_watch_report_runs(subject: &Subject) {
    let client = &subject.client;
    let labelled = |value: &str, script: &str| {
        let labels = [("case".to_owned(), value.to_owned())].into();
        RunSpec { labels, ..subject.script(script) }
    };
    let first = client.run(labelled("first", "exit 0")).await;
    let filter = Some(RunFilter { label_selector: "case in (first, second)".to_owned(), ..RunFilter::default() });
    let request =
        WatchRunsRequest { parent: DEFAULT.to_owned(), filter: filter.clone(), ..WatchRunsRequest::default() };
    let mut events = client.watch(request).await;
    let mut next = async || within("the next watch event", events.message()).await.expect("WatchRuns").expect("open");

    let Some(Event::Run(there)) = next().await.event else { panic!("what is there comes first") };
    assert_eq!((&there.name, there.state), (&first.name, first.state));
    assert!(matches!(next().await.event, Some(Event::Synced(_))));
    let second = client.submit(labelled("second", UNTIL_TERM)).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&RunState::Running) {
        // The first one may still change: when it goes is known a little after its end.
        let Some(Event::Run(run)) = next().await.event else { continue };
        seen.extend((run.name == second.name).then(|| run.state()));
    }
    assert!(seen.is_sorted(), "states go forward: {seen:?}");
    client.cancel(&second.name, "").await;
    while seen.last() != Some(&RunState::Cancelled) {
        let Some(Event::Run(run)) = next().await.event else { continue };
        seen.extend((run.name == second.name).then(|| run.state()));
    }

    let list = ListRunsRequest { parent: DEFAULT.to_owned(), filter, ..ListRunsRequest::default() };
    let page = client.runs.clone().list_runs(list).await.expect("ListRuns").into_inner();
    let names: Vec<_> = page.runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, [second.name.as_str(), first.name.as_str()], "newest first");
    assert_eq!(page.next_page_token, "");
    assert!(page.runs.iter().all(|run| run.effective_spec.is_none()), "BASIC");

    client.delete(&second.name).await.expect("DeleteRun");
    loop {
        match next().await.event {
            Some(Event::Removed(gone)) => {
                assert_eq!((&gone.name, gone.cause()), (&second.name, RunRemovalCause::Deleted));
                break assert_eq!(gone.run.map(|run| run.state()), Some(RunState::Cancelled), "as last known");
            }
            Some(Event::Run(run)) => assert!(run.state().is_terminal(), "{run:?}"),
            _ => {}
        }
    }
}

pub(crate) async fn one_run_is_watched_by_its_name(subject: &Subject) {
    let client = &subject.client;
    let watch = |name: &str| WatchRunsRequest {
        parent: DEFAULT.to_owned(),
        name: name.to_owned(),
        ..WatchRunsRequest::default()
    };
    let missing = client.runs.clone().watch_runs(watch(&format!("{DEFAULT}/runs/none"))).await.expect_err("no run");
    assert_error(&missing, Code::NotFound, ErrorReason::ResourceNotFound);
    let elsewhere = client.runs.clone().watch_runs(watch("namespaces/other/runs/one")).await.expect_err("elsewhere");
    assert_eq!(violated_fields(&elsewhere, ErrorReason::InvalidFields), ["name"]);

    let _other = client.run(subject.script("exit 0")).await;
    let one = client.submit(subject.script(UNTIL_TERM)).await.name;
    let everywhere = WatchRunsRequest { parent: "namespaces/-".to_owned(), ..watch(&one) };
    for request in [watch(&one), everywhere] {
        let mut events = client.watch(request).await;
        let first = within("the run", events.message()).await.expect("WatchRuns").expect("open").event;
        assert!(matches!(&first, Some(Event::Run(run)) if run.name == one), "{first:?}");
        let synced = within("its end", events.message()).await.expect("WatchRuns").expect("open").event;
        assert!(matches!(synced, Some(Event::Synced(_))), "{synced:?}");
    }

    let mut events = client.watch(watch(&one)).await;
    let mut next = async || within("the next watch event", events.message()).await.expect("WatchRuns").expect("open");
    // What happens to another is not reported.
    let _another = client.run(subject.script("exit 0")).await;
    client.cancel(&one, "").await;
    client.wait_settled(&one).await;
    client.delete(&one).await.expect("DeleteRun");
    let mut last = None;
    loop {
        match next().await.event {
            Some(Event::Run(run)) => {
                assert_eq!(run.name, one, "it alone is watched");
                last = Some(run.state());
            }
            Some(Event::Removed(gone)) => {
                assert_eq!((&gone.name, gone.cause()), (&one, RunRemovalCause::Deleted));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(last, Some(RunState::Cancelled));
    // The stream goes on: a run that is submitted again by that name is sent.
    let id = one.rsplit('/').next().expect("an id");
    let again = SubmitRunRequest {
        parent: DEFAULT.to_owned(),
        run_id: id.to_owned(),
        spec: Some(subject.script("exit 0")),
        ..SubmitRunRequest::default()
    };
    client.runs.clone().submit_run(again).await.expect("SubmitRun");
    loop {
        match next().await.event {
            Some(Event::Run(run)) if run.state() == RunState::Succeeded => break assert_eq!(run.name, one),
            Some(Event::Run(run)) => assert_eq!(run.name, one, "it alone is watched"),
            Some(Event::Removed(gone)) => panic!("{gone:?}"),
            _ => {}
        }
    }
}

pub(crate) async fn many_runs_at_once_keep_apart(subject: &Subject) {
    let client = &subject.client;
    let one = async |number: usize| {
        let script = format!("echo {number}; sleep 0.3; exit {}", number % 3);
        let run = client.submit(subject.script(&script)).await;
        let (run, log) = futures::join!(client.wait_terminal(&run.name), client.logs(&run.name));
        assert_eq!((run.exit_code, log.text()), (Some((number % 3) as i32), format!("{number}\n")), "{run:?}");
        log.assert_complete();
        run.name
    };
    let mut names = futures::future::join_all((0..16).map(one)).await;
    let list = ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() };
    let page = client.runs.clone().list_runs(list).await.expect("ListRuns").into_inner();
    let mut listed: Vec<_> = page.runs.into_iter().map(|run| run.name).collect();
    names.sort();
    listed.sort();
    assert_eq!(listed, names);
}

pub(crate) async fn a_wait_answers_with_the_live_run(subject: &Subject) {
    let client = &subject.client;
    let name = client.submit(subject.script(UNTIL_TERM)).await.name;
    let request = WaitRunRequest { name: name.clone(), timeout: seconds(1), ..WaitRunRequest::default() };
    let run = client.runs.clone().wait_run(request).await.expect("WaitRun").into_inner().run.expect("the run");
    assert!(!run.state().is_terminal(), "{run:?}");
    client.cancel(&name, "").await;
    client.wait_terminal(&name).await;
}

pub(crate) async fn the_server_reports_what_it_is(subject: &Subject) {
    let info = subject.client.server.clone().get_server_info(GetServerInfoRequest {}).await;
    let info = info.expect("GetServerInfo").into_inner();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.namespaces, [DEFAULT]);
    assert!(!info.backend_reason.is_empty());
    let limits = info.limits.expect("limits");
    assert!(limits.max_input_bytes > 0 && limits.default_run_timeout.is_some());
    let split = info.features.iter().any(|feature| feature == "log-stream-split");
    assert_eq!(split, subject.split_streams, "{:?}", info.features);

    let request = ListRunnerProfilesRequest { parent: DEFAULT.to_owned() };
    let profiles = subject.client.server.clone().list_runner_profiles(request).await;
    let profiles = profiles.expect("ListRunnerProfiles").into_inner().profiles;
    let sql = profiles.iter().find(|profile| profile.name == "sql").expect("the built-in profile");
    assert!(sql.available, "{}", sql.unavailable_reason);
    for schema in [&sql.input_schema, &sql.result_schema] {
        serde_json::from_str::<serde_json::Value>(schema).expect("a schema is JSON");
    }
}
