//! Logs, when connections are difficult.

use std::time::Duration;

use futures::stream::StreamExt;
use tokio::time::timeout;

use super::fake::{BOUND, FakeApi, Reply};
use crate::backend::kubernetes::logs::KubernetesLogs;
use crate::backend::kubernetes::support::{JOB_UID, POD_UID, launch};
use crate::backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use crate::domain::log::LogPosition;

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
    LogOptions { from: None, follow: true }
}

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_follow_on_a_dead_connection_ends_in_order_and_a_read_does_not() {
    let api = FakeApi::start(|_| Reply::Silence(LINES.to_vec()));
    let (text, _, error) = read(&api, SHORT, follow()).await;
    assert_eq!((text.as_str(), error.is_none()), ("one\ntwo\nthree\n", true));
    let (text, _, error) = read(&api, SHORT, LogOptions::default()).await;
    assert_eq!(text, "one\ntwo\nthree\n");
    assert!(matches!(error, Some(BackendError::Unavailable { .. })), "{error:?}");
    let query = api.seen()[0].target.split_once('?').unwrap().1.to_owned();
    assert_eq!(query.trim_start_matches('&'), "container=run&follow=true&timestamps=true");
    assert_eq!(api.seen()[0].headers["accept-encoding"], "identity");
}

#[tokio::test]
async fn a_cut_is_told_and_reading_goes_on_behind_the_last_byte() {
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
    let (rest, position, error) = read(&api, BOUND, LogOptions { from: position, follow: false }).await;
    assert_eq!((rest.as_str(), error.is_none()), ("three\n", true));
    assert!(api.seen()[1].target.contains("sinceTime=2026-11-21T08%3A00%3A00Z"), "{}", api.seen()[1].target);
    let (rest, ..) = read(&api, BOUND, LogOptions { from: position, follow: false }).await;
    assert_eq!(rest, "");
}

#[tokio::test]
async fn a_line_that_is_not_there_any_more_is_a_gap_of_a_read_and_nothing_of_a_follow() {
    let api = FakeApi::start(|request| {
        let lines = if request.target.contains("sinceTime") { &LINES[72..] } else { LINES };
        Reply::Stream(lines.to_vec())
    });
    let (_, position, _) = read(&api, BOUND, LogOptions::default()).await;
    let lost = LogPosition { ordinal: 9, ..position.unwrap() };
    let (text, ..) = read(&api, BOUND, LogOptions { from: Some(lost), follow: false }).await;
    assert_eq!(text, "<gap>");
    let (text, _, error) = read(&api, BOUND, LogOptions { from: Some(lost), follow: true }).await;
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
