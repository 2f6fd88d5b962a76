//! A real listener on port 0, and no engine: health, reflection and the end.

use std::net::SocketAddr;

use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_types::StatusExt;

use super::*;
use crate::LIVENESS;

/// Nothing here takes that long; a hang ends the test instead of the run.
const BOUND: Duration = Duration::from_secs(60);

struct Fixture {
    address: SocketAddr,
    health: Health,
    drain: CancellationToken,
    served: tokio::task::JoinHandle<Result<Served, ServeError>>,
}

impl Fixture {
    #[allow(clippy::disallowed_methods, reason = "a test has no task tracker")]
    async fn start(patience: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, drain) = (Health::starting().await, CancellationToken::new());
        let metrics = RpcMetrics::new(&mut Registry::default());
        let around = Surroundings {
            health: health.clone(),
            metrics,
            access: None,
            tls: None,
            limits: ServeLimits::default(),
            about: "what this is\n".into(),
        };
        let served = tokio::spawn(serve(Routes::default(), around, listener, drain.clone(), patience));
        Self { address, health, drain, served }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn check(&self, service: &str) -> Result<ServingStatus, tonic::Status> {
        let request = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(self.channel().await).check(request).await.map(|answer| answer.get_ref().status())
    }

    async fn end(self) -> Served {
        tokio::time::timeout(BOUND, self.served).await.unwrap().unwrap().unwrap()
    }
}

const SERVICES: [&str; 3] = ["", "longshore.v1.RunService", "longshore.v1.ServerService"];

#[tokio::test]
async fn readiness_follows_the_server_and_liveness_stays() {
    let server = Fixture::start(BOUND).await;
    for (ready, expected) in [
        (None, ServingStatus::NotServing),
        (Some(true), ServingStatus::Serving),
        (Some(false), ServingStatus::NotServing),
    ] {
        if let Some(ready) = ready {
            server.health.set_ready(ready).await;
        }
        for service in SERVICES {
            assert_eq!(server.check(service).await.unwrap(), expected, "{service} {ready:?}");
        }
        assert_eq!(server.check(LIVENESS).await.unwrap(), ServingStatus::Serving);
    }
    let unknown = server.check("nope").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(unknown.get_details_error_info().unwrap().reason, "RESOURCE_NOT_FOUND");
}

async fn reflect(channel: Channel, ask: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let asked = futures::stream::iter([request]);
    let answers = ServerReflectionClient::new(channel).server_reflection_info(asked).await.unwrap().into_inner();
    let answers: Vec<ServerReflectionResponse> = answers.map(Result::unwrap).collect().await;
    answers.into_iter().next().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_every_service_and_its_files() {
    let server = Fixture::start(BOUND).await;
    let MessageResponse::ListServicesResponse(list) =
        reflect(server.channel().await, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for expected in ["longshore.v1.RunService", "longshore.v1.ServerService", "grpc.health.v1.Health"] {
        assert!(names.contains(&expected), "{expected} in {names:?}");
    }
    for symbol in ["longshore.v1.RunService", "longshore.v1.ErrorReason", "google.rpc.BadRequest"] {
        let ask = MessageRequest::FileContainingSymbol(symbol.to_owned());
        let answer = reflect(server.channel().await, ask).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{symbol}: {answer:?}");
    }
}

#[tokio::test]
async fn reflection_is_served_to_older_clients_too() {
    use tonic_reflection::pb::v1alpha as old;
    let server = Fixture::start(BOUND).await;
    let mut client = old::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let ask = old::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = old::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let Some(old::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    assert!(list.service.iter().any(|service| service.name == "longshore.v1.RunService"));
}

#[tokio::test]
async fn a_drain_ends_open_streams_and_with_them_the_server() {
    let server = Fixture::start(BOUND).await;
    server.health.set_ready(true).await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(server.channel().await).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.drain.cancel();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    drop(watch);
    assert_eq!(server.end().await, Served::Drained);
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_hold_the_server() {
    let server = Fixture::start(Duration::from_millis(10)).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    // The server accepts in order: once a later connection is answered, this one was accepted.
    server.check("").await.unwrap();
    server.drain.cancel();
    assert_eq!(server.end().await, Served::OutOfPatience);
    drop(silent);
}

#[tokio::test]
async fn an_http1_client_learns_what_this_port_is() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Fixture::start(BOUND).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(BOUND, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nwhat this is\n"), "{answer}");
    // It keeps nobody else from being served, and the server from nothing.
    assert_eq!(server.check(LIVENESS).await.unwrap(), ServingStatus::Serving);
    server.drain.cancel();
    assert_eq!(server.end().await, Served::Drained);
}
