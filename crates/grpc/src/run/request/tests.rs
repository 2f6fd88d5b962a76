use super::*;

const NAME: &str = "namespaces/default/runs/a";

fn submit_request() -> v1::SubmitRunRequest {
    v1::SubmitRunRequest {
        parent: "namespaces/default".to_owned(),
        spec: Some(v1::RunSpec::default()),
        ..v1::SubmitRunRequest::default()
    }
}

fn fields(found: &Violations) -> Vec<&str> {
    found.as_slice().iter().map(|violation| violation.field.as_str()).collect()
}

#[test]
fn a_submit_carries_its_violations_to_the_engine() {
    let request = v1::SubmitRunRequest {
        run_id: "Nope".to_owned(),
        spec: Some(v1::RunSpec { network_mode: 99, ..v1::RunSpec::default() }),
        validate_only: true,
        ..submit_request()
    };
    let submit = submit(request).unwrap();
    assert_eq!(submit.namespace.as_str(), "default");
    assert_eq!(submit.run_id, None);
    assert!(submit.validate_only);
    assert_eq!(fields(&submit.violations), ["run_id"]);
    let mut unreadable = Violations::new();
    submit.spec.read(&mut unreadable);
    assert_eq!(fields(&unreadable), ["spec.network_mode"]);
}

#[test]
fn run_id_and_request_id_exclude_each_other() {
    let both = v1::SubmitRunRequest { run_id: "a".to_owned(), request_id: "b".to_owned(), ..submit_request() };
    assert_eq!(fields(&submit(both).unwrap().violations), ["run_id", "request_id"]);

    let bad = v1::SubmitRunRequest { request_id: "line\nbreak".to_owned(), ..submit_request() };
    assert_eq!(fields(&submit(bad).unwrap().violations), ["request_id"]);

    let reserved = v1::SubmitRunRequest { run_id: "q-abc".to_owned(), ..submit_request() };
    assert_eq!(fields(&submit(reserved).unwrap().violations), ["run_id"]);

    let good = v1::SubmitRunRequest { request_id: "order 17".to_owned(), ..submit_request() };
    let good = submit(good).unwrap();
    assert!(good.violations.is_empty());
    assert_eq!(good.request_id.as_deref(), Some("order 17"));
}

#[test]
fn a_submit_without_spec_says_so_and_nothing_that_follows_from_it() {
    let request = v1::SubmitRunRequest { parent: "namespaces/-".to_owned(), spec: None, ..submit_request() };
    assert_eq!(fields(&submit(request).unwrap_err()), ["parent", "spec"]);
}

#[test]
fn names_are_judged_at_their_field() {
    for (name, says) in [
        ("", "is required"),
        ("a", "is not the name of a run"),
        ("namespaces/A/runs/a", "is not a valid namespace name"),
    ] {
        let found = get(&v1::GetRunRequest { name: name.to_owned(), view: 0 }).unwrap_err();
        assert_eq!(fields(&found), ["name"]);
        assert!(found.to_string().contains(says), "{found}");
    }
    assert_eq!(get(&v1::GetRunRequest { name: NAME.to_owned(), view: 0 }).unwrap().1, View::Full);
    assert_eq!(get(&v1::GetRunRequest { name: NAME.to_owned(), view: 1 }).unwrap().1, View::Basic);
    assert_eq!(fields(&get(&v1::GetRunRequest { name: NAME.to_owned(), view: 3 }).unwrap_err()), ["view"]);
}

#[test]
fn everything_wrong_with_a_list_is_reported() {
    let request = v1::ListRunsRequest {
        parent: "namespaces".to_owned(),
        filter: Some(v1::RunFilter {
            states: vec![4, 0, 99],
            from_create_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            failure_class: 9,
            ..v1::RunFilter::default()
        }),
        page_size: -1,
        page_token: String::new(),
        view: 0,
    };
    assert_eq!(
        fields(&list(request).unwrap_err()),
        [
            "parent",
            "page_size",
            "filter.states[1]",
            "filter.states[2]",
            "filter.from_create_time",
            "filter.failure_class"
        ]
    );
}

#[test]
fn a_list_is_basic_unless_asked_otherwise() {
    let request = v1::ListRunsRequest {
        parent: "namespaces/-".to_owned(),
        filter: Some(v1::RunFilter { states: vec![4, 8], profile: "sql".to_owned(), ..v1::RunFilter::default() }),
        page_size: 1000,
        page_token: "t".to_owned(),
        view: 0,
    };
    let (list, view) = list(request).unwrap();
    assert_eq!(view, View::Basic);
    assert_eq!(list.parent, Parent::All);
    assert_eq!(list.filter.states, [RunState::Running, RunState::Failed]);
    assert_eq!(list.filter.profile.as_deref(), Some("sql"));
    assert_eq!((list.page_size, list.page_token.as_str()), (1000, "t"));
}

#[test]
fn a_watch_is_of_its_parent_or_of_one_run_in_it() {
    let watched = |parent: &str, name: &str| {
        let (parent, name) = (parent.to_owned(), name.to_owned());
        watch(v1::WatchRunsRequest { parent, name, ..v1::WatchRunsRequest::default() }).map(|(watched, _, _)| watched)
    };
    let one = || Ok(Watched::Run(RunName::parse(NAME).unwrap()));
    let parent = NAME.split_once("/runs/").unwrap().0;
    assert_eq!(watched(parent, ""), Ok(Watched::In(Parent::parse(parent).unwrap())));
    assert_eq!((watched(parent, NAME), watched("namespaces/-", NAME)), (one(), one()));
    assert_eq!(fields(&watched("namespaces/elsewhere", NAME).unwrap_err()), ["name"]);
    assert_eq!(fields(&watched("", "x").unwrap_err()), ["parent", "name"]);
}

#[test]
fn waits_have_a_default_and_a_bound() {
    let wait_for = |timeout: Option<i64>| {
        let timeout = timeout.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        wait(&v1::WaitRunRequest { name: NAME.to_owned(), timeout, view: 0 }).map(|(_, timeout, _)| timeout.as_secs())
    };
    assert_eq!(wait_for(None), Ok(30));
    assert_eq!(wait_for(Some(0)), Ok(0));
    assert_eq!(wait_for(Some(3600)), Ok(50));
    assert_eq!(fields(&wait_for(Some(-1)).unwrap_err()), ["timeout"]);
}

#[test]
fn log_queries_have_defaults_and_their_own_violations() {
    use v1::stream_logs_request::{AttemptSelector as Attempt, Start};
    let request = v1::StreamLogsRequest { name: NAME.to_owned(), ..v1::StreamLogsRequest::default() };
    let (query, format) = stream_logs(request.clone()).unwrap();
    assert_eq!(format, v1::LogFormat::Bytes);
    assert_eq!((query.attempts, query.start), (AttemptSelector::Latest, LogStart::Beginning));
    assert_eq!((query.container.as_str(), query.stream, query.limit_bytes), ("run", None, None));

    let set = v1::StreamLogsRequest {
        attempt_selector: Some(Attempt::Attempt(2)),
        start: Some(Start::TailLines(0)),
        stream: 2,
        format: 2,
        limit_bytes: 5,
        skip_result_lines: true,
        container: "side".to_owned(),
        follow: true,
        ..request.clone()
    };
    let (query, format) = stream_logs(set).unwrap();
    assert_eq!(format, v1::LogFormat::Text);
    assert_eq!((query.attempts, query.start), (AttemptSelector::Number(2), LogStart::Tail(0)));
    assert_eq!((query.stream, query.limit_bytes, query.follow), (Some(LogStream::Stderr), Some(5), true));
    assert!(query.skip_result_lines);

    let wrong = v1::StreamLogsRequest {
        name: String::new(),
        attempt_selector: Some(Attempt::Attempt(0)),
        start: Some(Start::TailLines(-1)),
        stream: 7,
        format: 8,
        limit_bytes: -9,
        ..request
    };
    assert_eq!(
        fields(&stream_logs(wrong).unwrap_err()),
        ["name", "attempt", "tail_lines", "stream", "format", "limit_bytes"]
    );
}

#[test]
fn long_reasons_and_negative_offsets_are_refused() {
    let request = v1::CancelRunRequest { name: NAME.to_owned(), reason: "x".repeat(1025), etag: String::new() };
    assert_eq!(fields(&cancel(&request).unwrap_err()), ["reason"]);
    let request = v1::ReadResultRequest { name: NAME.to_owned(), read_offset: -1 };
    assert_eq!(fields(&read_result(&request).unwrap_err()), ["read_offset"]);
}
