//! What probes, balancers and generic clients ask.

use futures::stream;
use longshore::proto::v1::run_service_server::RunServiceServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::fixture::Local;
use crate::support::wait::within;

#[tokio::test]
async fn health_has_a_name_for_each_question() {
    let local = Local::start().await;
    let mut health = HealthClient::new(local.client().await.channel);
    for service in ["", "liveness", "longshore.v1.RunService", "longshore.v1.ServerService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.expect("a known name").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let request = HealthCheckRequest { service: "nothing".to_owned() };
    assert_eq!(health.check(request).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_every_service_in_both_versions() {
    let local = Local::start().await;
    let channel = local.client().await.channel;
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "longshore.v1.RunService",
        "longshore.v1.ServerService",
    ];

    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(stream::iter([ask])).await.expect("v1").into_inner();
    let answer = answers.message().await.expect("v1").and_then(|answer| answer.message_response);
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    for name in expected {
        assert!(names.iter().any(|n| n == name), "v1: {name} is not in {names:?}");
    }

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "longshore.v1.RunService".to_owned(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(stream::iter([ask])).await.expect("v1alpha").into_inner();
    let answer = answers.message().await.expect("v1alpha").and_then(|answer| answer.message_response);
    let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) = answer else {
        panic!("{answer:?}")
    };
    assert!(!files.file_descriptor_proto.is_empty());
    assert_eq!(<RunServiceServer<()> as tonic::server::NamedService>::NAME, "longshore.v1.RunService");
}

#[tokio::test]
async fn the_admin_port_answers_probes_and_prometheus() {
    let local = Local::start_with(["--admin-listen", "127.0.0.1:0"]).await;
    local.client().await.run(crate::fixture::script("exit 0")).await;
    assert_eq!(get(&local, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&local, "/readyz").await, (200, "ok\n".to_owned()));
    let (code, metrics) = get(&local, "/metrics").await;
    assert_eq!(code, 200);
    assert!(metrics.contains("longshore_") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
    assert!(metrics.contains("SubmitRun"), "calls are counted by method: {metrics}");
    assert_eq!(get(&local, "/nothing").await.0, 404);
}

/// Code and body of a GET on the admin port.
pub(crate) async fn get(local: &Local, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(local.daemon.admin()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    (code, body.to_owned())
}
