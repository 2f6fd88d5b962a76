//! How runs end, and what is reported of it.

use longshore::proto::v1::file::Content;
use longshore::proto::v1::{FailureClass, FailureReason, File, GetServerInfoRequest, Run, RunSpec, RunState};
use sha2::{Digest, Sha256};

use super::Subject;
use crate::support::spec::{UNTIL_TERM, json_input, seconds};

pub(crate) async fn exit_zero_reports_everything(subject: &Subject) {
    // Not text, and more than one line: bytes come back as they were written.
    let spec = subject.script(r"printf 'one\ntwo \377\000\n\nthree\n'; sleep 0.2");
    let run = subject.client.run(spec).await;
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
    assert_eq!((run.exit_code, run.failure.as_ref()), (Some(0), None));
    assert_eq!(run.result, None, "the rule of a plain program is NONE");
    assert_eq!(run.stop, None);
    assert_eq!(run.waiting_reason, "");
    assert!(!run.uid.is_empty() && !run.etag.is_empty());
    assert_eq!(run.payload_digest.len(), 64);
    assert_timeline(&run);
    assert_applied(subject, &run);

    let log = subject.client.logs(&run.name).await;
    log.assert_complete();
    let expected = b"one\ntwo \xff\x00\n\nthree\n";
    assert_eq!(log.bytes(), expected);
    assert_eq!(log.started, [1]);
    let [ended] = log.ended.as_slice() else { panic!("one attempt: {:?}", log.ended) };
    assert_eq!((ended.attempt, ended.exit_code), (1, Some(0)));
    assert_eq!((ended.lines, ended.bytes), (Some(4), Some(expected.len() as i64)));
    assert_eq!(ended.sha256, data_encoding::HEXLOWER.encode(&Sha256::digest(expected)));
    for entry in &log.entries {
        assert_eq!((entry.attempt, entry.container.as_str(), entry.partial), (1, "run", false), "{entry:?}");
        assert!(entry.receive_time.is_some());
    }
}

#[track_caller]
fn assert_timeline(run: &Run) {
    let timeline = run.timeline.as_ref().expect("a timeline");
    let steps = [timeline.create_time, timeline.start_time, timeline.finish_time, timeline.end_time];
    let steps: Vec<_> = steps.iter().map(|step| step.expect("every step was reached").seconds).collect();
    // Whole seconds, since nodes report no finer; and clocks of machines may differ by one.
    assert!(steps.windows(2).all(|pair| pair[0] <= pair[1] + 1), "{timeline:?}");
    let [attempt] = run.attempts.as_slice() else { panic!("one attempt: {:?}", run.attempts) };
    assert_eq!((attempt.number, attempt.exit_code), (1, Some(0)));
    assert_eq!(attempt.name, format!("{}/attempts/1", run.name));
    assert!(!attempt.uid.is_empty() && !attempt.job.is_empty());
}

#[track_caller]
fn assert_applied(subject: &Subject, run: &Run) {
    let applied = run.effective_spec.as_ref().expect("what was applied");
    assert!(applied.run_timeout.is_some() && applied.start_timeout.is_some() && applied.retention.is_some());
    let limits = applied.resources.clone().unwrap_or_default().limits;
    let reported = ["cpu", "memory", "ephemeral-storage"].iter().all(|name| limits.contains_key(*name));
    assert_eq!((reported, limits.is_empty()), (subject.limits_resources, !subject.limits_resources), "{limits:?}");
}

pub(crate) async fn a_nonzero_exit_is_the_users_failure(subject: &Subject) {
    let run = subject.client.run(subject.script("echo out; echo err >&2; sleep 0.2; exit 7")).await;
    assert_eq!((run.state(), run.exit_code), (RunState::Failed, Some(7)), "{run:?}");
    let failure = run.failure.as_ref().expect("a failure");
    assert_eq!(failure.reason(), FailureReason::NonzeroExit);
    assert_eq!(failure.failure_class(), FailureClass::User);
    assert_eq!((failure.exit_code, failure.signal, failure.retryable), (Some(7), None, false));
    let log = subject.client.logs(&run.name).await;
    log.assert_complete();
    let mut lines: Vec<_> = log.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    assert_eq!(log.ended[0].exit_code, Some(7));
}

pub(crate) async fn the_run_clock_keeps_exit_code_and_logs(subject: &Subject) {
    let run = subject.client.run(RunSpec { run_timeout: seconds(2), ..subject.script(UNTIL_TERM) }).await;
    let failure = run.failure.as_ref().unwrap_or_else(|| panic!("{run:?}"));
    assert_eq!((run.state(), failure.reason()), (RunState::Failed, FailureReason::RunDeadline), "{run:?}");
    assert_eq!(failure.failure_class(), FailureClass::Policy);
    assert_eq!(run.exit_code, Some(3), "{run:?}");
    let log = subject.client.logs(&run.name).await;
    log.assert_complete();
    assert_eq!(log.text(), "ready\nbye\n");
}

pub(crate) async fn input_and_files_are_found(subject: &Subject) {
    let script = r#"cat "$LONGSHORE_INPUT"; cd "$LONGSHORE_FILES" && stat -L -c '%n %a' sub/tool.sh plain.txt empty
        cat plain.txt; sub/tool.sh; id -u; touch plain.txt 2>/dev/null || echo read-only; sleep 0.2"#;
    let file = |path: &str, mode, text: &str| File {
        path: path.to_owned(),
        mode,
        content: Some(Content::Text(text.to_owned())),
    };
    let files = vec![
        file("sub/tool.sh", Some(0o555), "#!/bin/sh\necho tool\n"),
        file("plain.txt", None, "plain\n"),
        File { path: "empty".to_owned(), mode: Some(0o440), content: None },
    ];
    let spec = RunSpec { input: Some(json_input("{ \"a\" : [1, 2] }\n")), files, ..subject.script(script) };
    let run = subject.client.run(spec).await;
    let text = subject.client.logs(&run.name).await.text();
    assert_eq!(run.state(), RunState::Succeeded, "{run:?}: {text}");
    let user = run.effective_spec.and_then(|spec| spec.security).and_then(|s| s.run_as_user).expect("the user");
    let lines: Vec<_> = text.lines().collect();
    let [input, tool, plain, empty, content, said, uid, write @ ..] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(*input, "{ \"a\" : [1, 2] }", "byte for byte");
    assert_eq!([*tool, *plain, *empty], ["sub/tool.sh 555", "plain.txt 444", "empty 440"]);
    assert_eq!([*content, *said], ["plain", "tool"]);
    // Where the backend can't change the user it says so; where it can, it is the one that was
    // requested.
    let info = subject.client.server.clone().get_server_info(GetServerInfoRequest {}).await;
    let isolation = info.expect("GetServerInfo").into_inner().isolation.expect("isolation");
    if isolation.user {
        assert_eq!(uid.parse(), Ok(user));
        assert_eq!(write, ["read-only"]);
    }
}
