//! Logs, when connections are difficult.

use std::time::Duration;

use futures::stream::StreamExt;
use tokio::time::timeout;

use super::fake::{BOUND, FakeApi, Reply};
use crate::log::KubernetesLogs;
use crate::testing::{JOB_UID, POD_UID, launch};
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use longshore_domain::log::LogPosition;

const LINES: &[u8] =
    b"2026-11-21T08:00:01.000000001Z one\n2026-11-21T08:00:01.700000000Z two\n2026-11-21T08:00:02.000000000Z three\n";

fn source() -> LogSource {
    LogSource {
        run: launch().name,
        run_uid: JOB_UID.to_owned(),
        attempt: 1,
        attempt_uid: POD_UID.to_owned(),
        pod: "run-hello-x".to_owned(),
        container: "run".to_owned(),
    }
}

/// What a log stream said: its text, the last position, and the error it ended with.
async fn read(
    api: &FakeApi,
    idle: Duration,
    options: LogOptions,
) -> (String, Option<LogPosition>, Option<BackendError>) {
    let logs = KubernetesLogs::with_idle(api.cluster().await, idle);
    let mut items = logs.open(&source(), &options).await.unwrap();
    let (mut text, mut position) = (String::new(), options.from);
    while let Some(item) = timeout(BOUND, items.next()).await.unwrap() {
        match item {
            Ok(LogItem::Piece(piece)) => {
                text.push_str(std::str::from_utf8(&piece.data).unwrap());
                position = Some(piece.end());
            }
            Ok(LogItem::Gap(_)) => text.push_str("<gap>"),
            Err(error) => return (text, position, Some(error)),
        }
    }
    (text, position, None)
}

fn follow() -> LogOptions {
    LogOptions { from: None, follow: true, at_file_end: false }
}

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_read_on_a_dead_connection_fails_and_a_follow_is_its_readers_to_leave() {
    let api = FakeApi::start(|_| Reply::Silence(LINES.to_vec()));
    let (text, _, error) = read(&api, SHORT, LogOptions::default()).await;
    assert_eq!(text, "one\ntwo\nthree\n");
    assert!(matches!(error, Some(BackendError::Unavailable { .. })), "{error:?}");
    let logs = KubernetesLogs::with_idle(api.cluster().await, SHORT);
    let mut items = logs.open(&source(), &follow()).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(timeout(BOUND, items.next()).await.unwrap(), Some(Ok(LogItem::Piece(_)))));
    }
    assert!(timeout(SHORT * 3, items.next()).await.is_err(), "it waits for more");
    let query = api.seen()[1].target.split_once('?').unwrap().1.to_owned();
    assert_eq!(query.trim_start_matches('&'), "container=run&follow=true&timestamps=true");
    assert_eq!(api.seen()[1].headers["accept-encoding"], "identity");
}

#[tokio::test]
async fn the_kubelets_own_sentence_is_a_read_that_failed() {
    let sentences = [
        "unable to retrieve container logs for containerd://0123456789abcdef0123456789abcdef",
        "failed to try resolving symlinks in path \"/var/log/pods/a/run/0.log\": lstat: no such file or directory",
        "failed to watch file \"/var/log/pods/a/run/0.log\": no space left on device",
        "EOF",
    ];
    for sentence in sentences {
        for (before, end) in [(&b""[..], ""), (b"", "\n"), (LINES, ""), (LINES, "\n")] {
            let body = [before, sentence.as_bytes(), end.as_bytes()].concat();
            let api = FakeApi::start(move |_| Reply::Stream(body.clone()));
            for options in [LogOptions::default(), follow()] {
                let (text, position, error) = read(&api, BOUND, options).await;
                let output = if before.is_empty() { "" } else { "one\ntwo\nthree\n" };
                assert_eq!(text, output, "{sentence:?} is no output");
                assert_eq!(position.is_some(), !before.is_empty());
                let Some(BackendError::Unreadable { message, .. }) = error else { panic!("{error:?}") };
                assert_eq!(message, sentence);
            }
        }
    }
}

#[tokio::test]
async fn a_sentence_after_the_place_where_reading_had_stopped_loses_nothing() {
    let refusing = FakeApi::start(|_| Reply::Stream([LINES, b"failed to watch file"].concat()));
    let api = FakeApi::start(|_| Reply::Stream(LINES.to_vec()));
    let (text, position, _) = read(&api, BOUND, LogOptions::default()).await;
    assert_eq!(text, "one\ntwo\nthree\n");
    let options = LogOptions { from: position, ..follow() };
    let (text, _, error) = read(&refusing, BOUND, options).await;
    assert_eq!(text, "", "nothing twice");
    assert!(matches!(error, Some(BackendError::Unreadable { .. })), "{error:?}");
    let (text, ..) = read(&api, BOUND, LogOptions { from: position, ..LogOptions::default() }).await;
    assert_eq!(text, "", "and no gap afterwards");
}

#[tokio::test]
async fn a_last_line_without_an_end_is_brought_by_a_follow_too() {
    let api = FakeApi::start(|_| Reply::Stream(LINES[..LINES.len() - 1].to_vec()));
    let (text, position, error) = read(&api, BOUND, follow()).await;
    assert_eq!((text.as_str(), error.is_none()), ("one\ntwo\nthree", true));
    // Had it been a cut, the rest of the line would come next.
    let whole = FakeApi::start(|_| Reply::Stream(LINES.to_vec()));
    let (text, ..) = read(&whole, BOUND, LogOptions { from: position, ..LogOptions::default() }).await;
    assert_eq!(text, "\n");
}

#[tokio::test]
async fn after_the_end_of_a_file_the_next_one_is_no_gap() {
    // What was read is rotated away; what comes next is of the same second, or of a minute later.
    for (time, expected) in [("08:00:02.5", "four\n"), ("08:01:02.5", "<gap>four\n")] {
        let next = format!("2026-11-21T{time}Z four\n").into_bytes();
        let api = FakeApi::start(move |request| {
            Reply::Stream(if request.target.contains("sinceTime") { next.clone() } else { LINES.to_vec() })
        });
        let (_, position, _) = read(&api, BOUND, follow()).await;
        let options = LogOptions { from: position, follow: false, at_file_end: true };
        let (text, _, error) = read(&api, BOUND, options).await;
        assert_eq!((text.as_str(), error.is_none()), (expected, true));
    }
}

#[tokio::test]
async fn a_cut_is_reported_and_reading_goes_on_behind_the_last_byte() {
    let api = FakeApi::start(|request| {
        if request.target.contains("sinceTime") {
            Reply::Stream(LINES.to_vec())
        } else {
            Reply::Cut(LINES[..71].to_vec())
        }
    });
    let (text, position, error) = read(&api, BOUND, follow()).await;
    assert_eq!(text, "one\ntwo\n");
    assert!(error.is_some_and(|error| error.is_transient()));
    let (rest, position, error) =
        read(&api, BOUND, LogOptions { from: position, follow: false, at_file_end: false }).await;
    assert_eq!((rest.as_str(), error.is_none()), ("three\n", true));
    assert!(api.seen()[1].target.contains("sinceTime=2026-11-21T08%3A00%3A00Z"), "{}", api.seen()[1].target);
    let (rest, ..) = read(&api, BOUND, LogOptions { from: position, follow: false, at_file_end: false }).await;
    assert_eq!(rest, "");
}

#[tokio::test]
async fn a_line_that_is_not_there_any_more_is_a_gap_of_a_read_and_nothing_of_a_follow() {
    let api = FakeApi::start(|request| {
        let lines = if request.target.contains("sinceTime") { &LINES[70..] } else { LINES };
        Reply::Stream(lines.to_vec())
    });
    let (_, position, _) = read(&api, BOUND, LogOptions::default()).await;
    let lost = LogPosition { ordinal: 9, ..position.unwrap() };
    let (text, ..) = read(&api, BOUND, LogOptions { from: Some(lost), follow: false, at_file_end: false }).await;
    assert_eq!(text, "<gap>");
    let (text, _, error) = read(&api, BOUND, LogOptions { from: Some(lost), follow: true, at_file_end: false }).await;
    assert_eq!((text.as_str(), error.is_none()), ("", true), "its end says nothing");
}

#[tokio::test]
async fn refusals_are_errors_of_the_stream() {
    let early = "container \"run\" in pod \"x\" is waiting to start: ContainerCreating";
    let api = FakeApi::start(move |_| Reply::status(400, "BadRequest", early));
    let (.., error) = read(&api, BOUND, follow()).await;
    assert!(matches!(error, Some(BackendError::Unavailable { .. })), "{error:?}");
    let api = FakeApi::start(|_| Reply::status(404, "NotFound", "pods \"x\" not found"));
    let logs = KubernetesLogs::with_idle(api.cluster().await, BOUND);
    let refused = logs.open(&source(), &LogOptions::default()).await.map(|_| ());
    assert!(matches!(refused, Err(BackendError::NotFound(_))), "{refused:?}");
}
