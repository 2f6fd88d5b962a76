//! Messages that are compressed, in both directions, and the bounds that hold for them.

use longshore::proto::v1::{ErrorReason, GetServerInfoRequest, Input, RunState, SubmitRunRequest, input};
use tonic::Code;
use tonic::codec::CompressionEncoding::Gzip;

use crate::fake_server::{FakeServer, Script, run};
use crate::fixture::{Local, script};
use crate::support::client::{follow, submit_request};
use crate::support::daemon::longshore;
use crate::support::errors::assert_error;
use crate::support::wait::within;

#[tokio::test]
async fn clients_that_ask_get_gzip_and_no_others() {
    let local = Local::start().await;
    let client = local.client().await;
    let plain = client.server.clone().get_server_info(GetServerInfoRequest {}).await.expect("GetServerInfo");
    assert_eq!(plain.metadata().get("grpc-encoding"), None);
    let asking = client.server.clone().accept_compressed(Gzip);
    let answer = asking.clone().get_server_info(GetServerInfoRequest {}).await.expect("GetServerInfo");
    assert_eq!(answer.metadata().get("grpc-encoding").map(|value| value.as_bytes()), Some(b"gzip".as_slice()));
    assert_eq!(answer.into_inner(), plain.into_inner());

    let name = client.run(script("yes 'the same again' | head -n 10000")).await.name;
    let mut asking = client.runs.clone().accept_compressed(Gzip);
    let stream = asking.stream_logs(follow(&name)).await.expect("StreamLogs");
    assert_eq!(stream.metadata().get("grpc-encoding").map(|value| value.as_bytes()), Some(b"gzip".as_slice()));
    let mut stream = stream.into_inner();
    let mut bytes = 0;
    while let Some(answer) = within("output", stream.message()).await.expect("StreamLogs") {
        if let Some(longshore::proto::v1::stream_logs_response::Event::Entries(entries)) = answer.event {
            bytes += entries.entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        }
    }
    assert_eq!(bytes, 10_000 * "the same again\n".len());
}

fn with_input(bytes: usize) -> SubmitRunRequest {
    let input = Some(Input { content: Some(input::Content::Raw(vec![0; bytes])) });
    submit_request(longshore::proto::v1::RunSpec { input, ..script("wc -c < \"$LONGSHORE_INPUT\"") })
}

#[tokio::test]
async fn requests_may_be_compressed_and_are_bounded_by_what_they_become() {
    let local = Local::start().await;
    let client = local.client().await;
    let mut sending = client.runs.clone().send_compressed(Gzip);
    let answer = sending.submit_run(with_input(800 * 1024)).await.expect("SubmitRun").into_inner();
    let run = client.wait_terminal(&answer.run.expect("a run").name).await;
    assert_eq!(client.logs(&run.name).await.text().trim(), (800 * 1024).to_string());

    // 64 MiB of zeros are 64 KiB as they come.
    let bomb = sending.submit_run(with_input(64 << 20)).await.expect_err("too large");
    assert_error(&bomb, Code::OutOfRange, ErrorReason::MalformedRequest);
    let huge = client.runs.clone().submit_run(with_input(5 << 20)).await.expect_err("too large");
    assert_error(&huge, Code::OutOfRange, ErrorReason::MalformedRequest);
}

#[test]
fn the_command_line_asks_for_gzip() {
    let server = FakeServer::start(run(RunState::Running), Script::default());
    let url = format!("http://{}", server.address);
    let listed = longshore(["ls", "--server", &url]).as_std_mut().output().expect("longshore");
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(server.seen().encodings, ["gzip,identity"]);
}
