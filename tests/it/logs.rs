//! Output, where both streams are distinguished and gates make the order certain.

use longshore::proto::v1::stream_logs_request::Start;
use longshore::proto::v1::{LogEndReason, LogStream, StreamLogsRequest};

use crate::fixture::{Local, script};
use crate::support::client::follow;
use crate::support::logs::Closing;

#[tokio::test]
async fn stdout_and_stderr_are_distinguished() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.run(script("echo out 1; echo err 1 >&2; echo out 2; echo err 2 >&2")).await.name;
    let log = client.logs(&name).await;
    assert_eq!(log.bytes_of(LogStream::Stdout), b"out 1\nout 2\n");
    assert_eq!(log.bytes_of(LogStream::Stderr), b"err 1\nerr 2\n");
    for (stream, expected) in [(LogStream::Stdout, "out 1\nout 2\n"), (LogStream::Stderr, "err 1\nerr 2\n")] {
        let log = client.read_logs(StreamLogsRequest { stream: stream.into(), ..follow(&name) }).await;
        log.assert_complete();
        assert_eq!(log.text(), expected);
    }
}

#[tokio::test]
async fn a_follower_sees_a_line_while_the_program_waits() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("echo before; gate go; echo after")).await.name;
    let mut stream = client.open_logs(follow(&name)).await;
    stream.until("before\n").await;
    // Without `follow` the same is there, and it is said that there may be more.
    let so_far = client.read_logs(StreamLogsRequest { follow: false, ..follow(&name) }).await;
    assert_eq!(so_far.closing, Some(Closing::End(LogEndReason::CaughtUp)));
    assert_eq!((so_far.text().as_str(), so_far.ended.len()), ("before\n", 0));
    local.open("go");
    let log = stream.rest().await;
    log.assert_complete();
    assert_eq!(log.text(), "before\nafter\n");
    // And the cursor of then gives the rest now.
    let start = Some(Start::Cursor(so_far.cursor));
    let rest = client.read_logs(StreamLogsRequest { start, ..follow(&name) }).await;
    assert_eq!(rest.text(), "after\n");
}

/// However many readers come to the end, and take over from each other.
#[tokio::test]
async fn a_lost_tail_is_one_gap() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("echo 1; gate never")).await.name;
    let mut early = client.open_logs(follow(&name)).await;
    early.until("1\n").await;
    let so_far = client.read_logs(StreamLogsRequest { follow: false, ..follow(&name) }).await;
    // Who kept the log is killed, so its end may be missing.
    let path = local.run_dir(&name).join(longshore::domain::run::rundir::SHIM);
    let shim: longshore::domain::run::rundir::ProcessIdentity =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(shim.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let early = early.rest().await;
    assert_eq!((early.text().as_str(), early.gaps.len()), ("1\n", 1), "{:?}", early.gaps);
    client.wait_terminal(&name).await;
    for request in [
        follow(&name),
        StreamLogsRequest { follow: false, ..follow(&name) },
        StreamLogsRequest { start: Some(Start::TailLines(5)), ..follow(&name) },
        StreamLogsRequest { start: Some(Start::Cursor(so_far.cursor)), ..follow(&name) },
    ] {
        let log = client.read_logs(request.clone()).await;
        assert_eq!(log.gaps.len(), 1, "{request:?}: {:?}", log.gaps);
    }
}

#[tokio::test]
async fn a_tail_of_a_live_run_goes_on() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("echo 1; echo 2; echo 3; mark three; gate go; echo 4")).await.name;
    local.marked("three").await;
    client.open_logs(follow(&name)).await.until("3\n").await;
    let request = StreamLogsRequest { start: Some(Start::TailLines(1)), ..follow(&name) };
    let mut stream = client.open_logs(request).await;
    stream.until("3\n").await;
    local.open("go");
    assert_eq!(stream.rest().await.text(), "3\n4\n");
}

#[tokio::test]
async fn a_line_without_an_end_and_long_lines_come_whole() {
    let local = Local::start().await;
    let client = local.client().await;
    let text = "head -c 300000 /dev/zero | tr '\\0' x; echo; head -c 20000 /dev/zero | tr '\\0' y";
    let name = client.run(script(text)).await.name;
    let log = client.logs(&name).await;
    log.assert_complete();
    assert_eq!(log.text(), format!("{}\n{}", "x".repeat(300_000), "y".repeat(20_000)));
    assert!(log.entries.iter().any(|entry| entry.partial), "long lines come in parts");
    assert_eq!(log.ended[0].bytes, Some(320_001));
}

#[tokio::test]
async fn much_output_is_complete_for_late_and_early_readers() {
    let local = Local::start().await;
    let client = local.client().await;
    let spec = script("gate go; i=0; while [ $i -lt 200 ]; do cat \"$TEST_DIR/block\"; i=$((i+1)); done");
    // 200 blocks of 1000 lines: 12.8 MB.
    let block: String = (0..1000).map(|i| format!("{i:063}\n")).collect();
    let name = client.submit(spec).await.name;
    local.write("block", &block);
    let early = client.open_logs(follow(&name)).await;
    local.open("go");
    let early = early.rest().await;
    let late = client.logs(&name).await;
    for log in [early, late] {
        log.assert_complete();
        assert_eq!(log.bytes().len(), 200 * block.len());
        assert!(log.bytes().chunks(block.len()).all(|part| part == block.as_bytes()));
        assert_eq!(log.ended[0].lines, Some(200_000));
    }
}

#[tokio::test]
async fn since_leaves_out_what_was_before() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.submit(script("echo old; gate go; echo new")).await.name;
    let mut stream = client.open_logs(follow(&name)).await;
    stream.until("old\n").await;
    local.open("go");
    let log = stream.rest().await;
    let since = log.entries[1].receive_time;
    let log = client.read_logs(StreamLogsRequest { start: since.map(Start::SinceTime), ..follow(&name) }).await;
    assert_eq!(log.text(), "new\n");
    assert_eq!(log.closing, Some(Closing::End(LogEndReason::RunFinished)));
}
