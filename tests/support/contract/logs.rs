//! Output, reported once and whole.

use longshore::proto::v1::stream_logs_request::Start;
use longshore::proto::v1::{ErrorReason, LogEndReason, LogFormat, LogStream, StreamLogsRequest};
use sha2::{Digest, Sha256};

use super::Subject;
use crate::support::client::follow;
use crate::support::errors::violated_fields;
use crate::support::logs::{Closing, Log, resumed};
use crate::support::spec::{numbered_lines, slow_printer};

fn read(name: &str) -> StreamLogsRequest {
    StreamLogsRequest { name: name.to_owned(), ..StreamLogsRequest::default() }
}

/// A finished run that printed `count` numbered lines.
async fn printed(subject: &Subject, count: usize) -> String {
    let (script, _) = slow_printer(count, "0");
    subject.client.run(subject.script(&format!("{script}; sleep 0.2"))).await.name
}

pub(crate) async fn two_followers_get_every_byte(subject: &Subject) {
    let (script, expected) = slow_printer(40, "0.05");
    let name = subject.client.submit(subject.script(&format!("{script}; sleep 0.2"))).await.name;
    let (first, second) = futures::join!(subject.client.logs(&name), async {
        // The second comes when the first has something already.
        let mut late = subject.client.open_logs(follow(&name)).await;
        late.until("line 3\n").await;
        late.rest().await
    });
    for log in [first, second, subject.client.read_logs(read(&name)).await] {
        log.assert_complete();
        assert_eq!(log.text(), expected);
        assert_eq!(log.ended[0].bytes, Some(expected.len() as i64));
    }
}

pub(crate) async fn many_lines_are_complete(subject: &Subject) {
    // A container runtime loses what a program that exits at once has left in its pipe.
    let name = subject.client.submit(subject.script("seq 1 100000; sleep 2")).await.name;
    let expected: String = (1..=100_000).map(|i| format!("{i}\n")).collect();
    for log in [subject.client.logs(&name).await, subject.client.read_logs(read(&name)).await] {
        log.assert_complete();
        let differs = log.bytes().iter().zip(expected.as_bytes()).position(|(got, wanted)| got != wanted);
        assert_eq!((log.bytes().len(), differs), (expected.len(), None));
        assert_eq!(log.ended[0].lines, Some(100_000));
    }
}

pub(crate) async fn a_cursor_resumes_after_every_event(subject: &Subject) {
    let (script, expected) = slow_printer(30, "0.05");
    let name = subject.client.submit(subject.script(&format!("{script}; sleep 0.2"))).await.name;
    let mut whole = Log::default();
    let mut streams = 0;
    while whole.closing.is_none() {
        let mut stream = subject.client.open_logs(resumed(&follow(&name), &whole.cursor)).await;
        streams += 1;
        while stream.log.entries.is_empty() && stream.next().await.expect("StreamLogs") {}
        // Dropped here, in the middle of the run.
        let Log { entries, cursor, gaps, closing, .. } = stream.log;
        assert!(gaps.is_empty(), "{gaps:?}");
        whole.entries.extend(entries);
        (whole.cursor, whole.closing) = (cursor, closing);
    }
    assert_eq!(whole.text(), expected, "nothing twice, nothing left out, in {streams} streams");
    assert_eq!(whole.closing, Some(Closing::End(LogEndReason::RunFinished)));
    // The cursor of the end is good for ever.
    let log = subject.client.read_logs(resumed(&follow(&name), &whole.cursor)).await;
    log.assert_complete();
    assert_eq!(log.text(), "");
}

pub(crate) async fn a_limit_of_bytes_is_exact(subject: &Subject) {
    let name = printed(subject, 20).await;
    let mut whole = Log::default();
    loop {
        let request = StreamLogsRequest { limit_bytes: 10, ..read(&name) };
        let part = subject.client.read_logs(resumed(&request, &whole.cursor)).await;
        whole.entries.extend(part.entries.iter().cloned());
        whole.cursor.clone_from(&part.cursor);
        match part.closing {
            Some(Closing::End(LogEndReason::ByteLimit)) => assert_eq!(part.bytes().len(), 10),
            Some(Closing::End(LogEndReason::RunFinished)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(whole.text(), numbered_lines(20));
}

pub(crate) async fn the_tail_is_the_last_lines(subject: &Subject) {
    let name = printed(subject, 20).await;
    let whole = data_encoding::HEXLOWER.encode(&Sha256::digest(numbered_lines(20)));
    for follow in [false, true] {
        let request = StreamLogsRequest { start: Some(Start::TailLines(3)), follow, ..read(&name) };
        let log = subject.client.read_logs(request).await;
        assert_eq!(log.text(), "line 18\nline 19\nline 20\n", "follow: {follow}");
        assert_eq!(log.closing, Some(Closing::End(LogEndReason::RunFinished)));
        assert_eq!(log.ended.len(), 1);
        let sum = &log.ended[0].sha256;
        assert!(sum.is_empty() || *sum == whole, "it is of the whole or not there at all: {sum}");
    }
    let request = StreamLogsRequest { start: Some(Start::TailLines(50)), ..read(&name) };
    assert_eq!(subject.client.read_logs(request).await.text(), numbered_lines(20));
}

pub(crate) async fn text_format_is_lossy_utf8(subject: &Subject) {
    let spec = subject.script(r"printf 'ok \303\244 \377 end\n'; sleep 0.2");
    let name = subject.client.run(spec).await.name;
    let request = StreamLogsRequest { format: LogFormat::Text.into(), ..follow(&name) };
    let log = subject.client.read_logs(request).await;
    log.assert_complete();
    let text: String = log.entries.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!((text.as_str(), log.bytes().len()), ("ok ä \u{fffd} end\n", 0));
}

pub(crate) async fn a_foreign_cursor_is_refused(subject: &Subject) {
    let (one, other) = (printed(subject, 1).await, printed(subject, 1).await);
    let cursor = subject.client.logs(&one).await.cursor;
    for cursor in [cursor.as_str(), "not a cursor"] {
        let refused = subject.client.try_open_logs(resumed(&follow(&other), cursor)).await.expect_err("refused");
        assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), ["cursor"]);
    }
    let request = StreamLogsRequest { stream: LogStream::Stdout.into(), ..follow(&one) };
    match subject.client.try_open_logs(request).await {
        Ok(stream) if subject.split_streams => assert_eq!(stream.rest().await.text(), "line 1\n"),
        Err(refused) if !subject.split_streams => {
            assert_eq!(violated_fields(&refused, ErrorReason::UnsupportedOnBackend), ["stream"]);
        }
        other => panic!("split streams: {}; {other:?}", subject.split_streams),
    }
}
