//! Refusals: all that is wrong at once, by field, with a reason that programs can act on.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use longshore::proto::v1::file::Content as FileContent;
use longshore::proto::v1::{
    CancelRunRequest, ErrorReason, File, GetRunRequest, ListRunsRequest, NetworkMode, Resources, RunSpec,
    StreamLogsRequest, SubmitRunRequest,
};
use prost::Message;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tower::Service;

use crate::fixture::{Local, script};
use crate::support::client::{DEFAULT, submit_request};
use crate::support::daemon::longshore;
use crate::support::errors::{assert_error, violated_fields};
use crate::support::spec::{container, env, json_input, runner, seconds};
use crate::support::wait::within;

#[tokio::test]
async fn all_violations_are_reported_at_once() {
    let local = Local::start().await;
    let requests = HashMap::from([("memory".to_owned(), "lots".to_owned())]);
    let spec = RunSpec {
        env: vec![env("1st", "x"), env("LONGSHORE_OWN", "x")],
        input: Some(json_input("{not json")),
        files: vec![File { path: "../escape".to_owned(), mode: None, content: Some(FileContent::Text(String::new())) }],
        resources: Some(Resources { requests, ..Resources::default() }),
        run_timeout: seconds(-1),
        labels: HashMap::from([("kubernetes.io/x".to_owned(), "y".to_owned())]),
        max_retries: Some(-3),
        ..runner("nosuch")
    };
    let request = SubmitRunRequest { run_id: "Not-An-Id".to_owned(), ..submit_request(spec) };
    let refused = local.client().await.try_submit(request).await.expect_err("refused");
    assert_eq!(
        violated_fields(&refused, ErrorReason::InvalidFields),
        [
            "run_id",
            "spec.env[0].name",
            "spec.env[1].name",
            "spec.files[0].path",
            "spec.input.json",
            "spec.labels[\"kubernetes.io/x\"]",
            "spec.max_retries",
            // A machine reserves nothing, whatever the quantity.
            "spec.resources.requests",
            "spec.resources.requests[\"memory\"]",
            "spec.run_timeout",
            "spec.runner.profile",
        ]
    );
}

#[tokio::test]
async fn what_this_backend_cannot_do_is_said() {
    let local = Local::start().await;
    let client = local.client().await;
    let refused = async |spec: RunSpec, reason: ErrorReason| {
        violated_fields(&client.try_submit(submit_request(spec)).await.expect_err("refused"), reason)
    };
    let unsupported = ErrorReason::UnsupportedOnBackend;
    assert_eq!(refused(container("localhost/busybox:test", ["true"]), unsupported).await, ["spec.container"]);
    assert_eq!(refused(runner("elsewhere"), unsupported).await, ["spec.runner.profile"]);
    assert_eq!(refused(RunSpec { queue_name: "q".to_owned(), ..script("") }, unsupported).await, ["spec.queue_name"]);
    let later = ErrorReason::NotSupportedYet;
    let secrets = HashMap::from([("TOKEN".to_owned(), "hush".to_owned())]);
    assert_eq!(refused(RunSpec { secret_env: secrets, ..script("") }, later).await, ["spec.secret_env"]);
    // Not in what the profile lets be set, whatever the backend says about it.
    let mode = NetworkMode::Cluster.into();
    let fields = client.try_submit(submit_request(RunSpec { network_mode: mode, ..script("") })).await;
    assert_eq!(fields.expect_err("refused").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_profile_says_what_may_be_set() {
    let local = Local::start().await;
    let spec = RunSpec { start_timeout: seconds(5), ..script("") };
    let refused = local.client().await.try_submit(submit_request(spec)).await.expect_err("refused");
    let fields = violated_fields(&refused, ErrorReason::InvalidFields);
    assert_eq!(fields, ["spec.start_timeout"]);
    assert!(refused.message().contains("run_timeout"), "it names what may be set: {}", refused.message());
}

#[tokio::test]
async fn names_and_keys_are_checked() {
    let local = Local::start().await;
    let client = local.client().await;
    let refused = async |request: SubmitRunRequest| {
        violated_fields(&client.try_submit(request).await.expect_err("refused"), ErrorReason::InvalidFields)
    };
    let request = submit_request(script("exit 0"));
    for id in ["q-mine", "u-mine", "-a", "a-", "a".repeat(49).as_str()] {
        assert_eq!(refused(SubmitRunRequest { run_id: id.to_owned(), ..request.clone() }).await, ["run_id"], "{id}");
    }
    for id in ["tab\there", "ä", "x".repeat(129).as_str()] {
        let fields = refused(SubmitRunRequest { request_id: id.to_owned(), ..request.clone() }).await;
        assert_eq!(fields, ["request_id"], "{id}");
    }
    let both = SubmitRunRequest { run_id: "a".to_owned(), request_id: "b".to_owned(), ..request.clone() };
    assert_eq!(refused(both).await, ["request_id", "run_id"]);
    for parent in ["", "default", "namespaces/-", "namespaces/A", "namespaces/default/runs/x"] {
        let fields = refused(SubmitRunRequest { parent: parent.to_owned(), ..request.clone() }).await;
        assert_eq!(fields, ["parent"], "{parent}");
    }
    assert_eq!(refused(SubmitRunRequest { spec: None, ..request }).await, ["spec"]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = "namespaces/default/runs/nothing";
    let mut answers = vec![client.try_get(name).await.expect_err("there is none")];
    answers.push(client.try_get("namespaces/elsewhere/runs/nothing").await.expect_err("there is none"));
    answers.push(client.try_cancel(name, "").await.expect_err("there is none"));
    answers.push(client.delete(name).await.expect_err("there is none"));
    let logs = StreamLogsRequest { name: name.to_owned(), ..StreamLogsRequest::default() };
    answers.push(client.try_open_logs(logs).await.expect_err("there is none"));
    let elsewhere = SubmitRunRequest { parent: "namespaces/elsewhere".to_owned(), ..submit_request(script("")) };
    answers.push(client.try_submit(elsewhere).await.expect_err("there is none"));
    for answer in answers {
        assert_error(&answer, Code::NotFound, ErrorReason::ResourceNotFound);
    }
    let bad = GetRunRequest { name: "runs/nothing".to_owned(), ..GetRunRequest::default() };
    let refused = client.runs.clone().get_run(bad).await.expect_err("no name");
    assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), ["name"]);
}

#[tokio::test]
async fn words_of_a_cancel_are_bounded_and_attempts_are_counted() {
    let local = Local::start().await;
    let client = local.client().await;
    let name = client.run(script("exit 0")).await.name;
    let request = CancelRunRequest { name: name.clone(), reason: "x".repeat(1025), ..CancelRunRequest::default() };
    let refused = client.runs.clone().cancel_run(request).await.expect_err("too long");
    assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), ["reason"]);
    let selector = longshore::proto::v1::stream_logs_request::AttemptSelector::Attempt(2);
    let request = StreamLogsRequest { name, attempt_selector: Some(selector), ..StreamLogsRequest::default() };
    let refused = client.try_open_logs(request).await.expect_err("there is one");
    assert_error(&refused, Code::OutOfRange, ErrorReason::OutOfRange);
    let request = ListRunsRequest { parent: DEFAULT.to_owned(), page_size: -1, ..ListRunsRequest::default() };
    let refused = client.runs.clone().list_runs(request).await.expect_err("negative");
    assert_eq!(violated_fields(&refused, ErrorReason::InvalidFields), ["page_size"]);
}

/// A request as a web page can make a browser send it, with a message that would start a program.
#[tokio::test]
async fn what_is_no_call_of_grpc_is_refused_before_anything_is_executed() {
    let local = Local::start().await;
    let client = local.client().await;
    let mut channel = client.channel.clone();
    let message = submit_request(script("exit 0")).encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let cases = [
        ("POST", Some("text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", Some("application/x-www-form-urlencoded"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", Some("application/grpc-web"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", None, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("PUT", Some("application/grpc"), StatusCode::METHOD_NOT_ALLOWED),
        ("GET", Some("application/grpc"), StatusCode::METHOD_NOT_ALLOWED),
        ("POST", Some("application/grpc"), StatusCode::OK),
    ];
    for (method, content_type, wanted) in cases {
        let request = http::Request::builder().method(method).uri("/longshore.v1.RunService/SubmitRun");
        let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        let request = request.body(Body::new(Full::new(Bytes::from(body.clone())))).unwrap();
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
        let answer = channel.call(request).await.expect("an answer");
        assert_eq!(answer.status(), wanted, "{method} {content_type:?}");
    }
    let all = ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() };
    let listed = client.runs.clone().list_runs(all).await.expect("ListRuns").into_inner();
    assert_eq!(listed.runs.len(), 1, "the one that was a call");
}

#[tokio::test]
async fn an_unknown_method_is_reported_with_details_too() {
    let local = Local::start().await;
    let mut raw = tonic::client::Grpc::new(local.client().await.channel);
    raw.ready().await.expect("a connection");
    let codec = tonic_prost::ProstCodec::<GetRunRequest, GetRunRequest>::default();
    let path = PathAndQuery::from_static("/longshore.v1.RunService/Nothing");
    let answer: Result<tonic::Response<GetRunRequest>, _> =
        raw.unary(tonic::Request::new(GetRunRequest::default()), path, codec).await;
    let status = answer.expect_err("there is no such method");
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[tokio::test]
async fn nobody_is_served_beyond_loopback_without_authentication() {
    let args = ["serve", "--backend", "local", "--listen", "0.0.0.0:0", "--admin-listen", "off"];
    let output = within("longshore to refuse", longshore(args).output()).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--insecure-no-auth"), "{said}");
}
