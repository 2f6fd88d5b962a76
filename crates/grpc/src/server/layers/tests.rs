//! Calls go through the layer in process: no port, and time is paused.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use prometheus_client::registry::Registry;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_types::StatusExt;
use tower::{Layer, Service};

use super::access::AccessService;
use super::*;
use crate::server::budget::{Budget, ServeLimits};
use crate::server::health::Health;
use longshore_api::v1;
use longshore_api::v1::server_service_server::{ServerService, ServerServiceServer};

/// Does as the header `do` says.
struct Obedient;

#[tonic::async_trait]
impl ServerService for Obedient {
    async fn get_server_info(
        &self,
        request: tonic::Request<v1::GetServerInfoRequest>,
    ) -> Result<tonic::Response<v1::GetServerInfoResponse>, Status> {
        assert!(request.extensions().get::<Caller>().is_some());
        match request.metadata().get("do").map(|value| value.as_bytes()) {
            Some(b"hang") => std::future::pending().await,
            Some(b"panic") => panic!("as asked"),
            Some(b"fail") => Err(status::cut()),
            _ => Ok(tonic::Response::new(v1::GetServerInfoResponse::default())),
        }
    }

    async fn list_runner_profiles(
        &self,
        _: tonic::Request<v1::ListRunnerProfilesRequest>,
    ) -> Result<tonic::Response<v1::ListRunnerProfilesResponse>, Status> {
        Ok(tonic::Response::new(v1::ListRunnerProfilesResponse::default()))
    }
}

const INFO: &str = "longshore.v1.ServerService/GetServerInfo";
const WATCH: &str = "grpc.health.v1.Health/Watch";

struct Server {
    service: CallService<AccessService<Routes>>,
    registry: Registry,
    drain: CancellationToken,
}

impl Server {
    async fn new() -> Self {
        let mut registry = Registry::default();
        let drain = CancellationToken::new();
        let layer = CallLayer { metrics: RpcMetrics::new(&mut registry), drain: drain.clone() };
        let service = ServerServiceServer::new(Obedient)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(crate::server::sizes::MESSAGE_MAX);
        let routes = Routes::new(service).add_service(Health::starting().await.service());
        Self {
            service: layer.layer(
                AccessLayer { engine: None, budget: Arc::new(Budget::new(ServeLimits::default())) }.layer(routes),
            ),
            registry,
            drain,
        }
    }

    /// Calls `method` with one message of no fields, or with `body`.
    async fn call(&mut self, method: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let body = if body.is_empty() { "\0\0\0\0\0" } else { body };
        self.call_with(method, headers, body.as_bytes().to_vec()).await
    }

    async fn call_with(&mut self, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response<Body> {
        let mut request =
            Request::post(format!("http://localhost/{method}")).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::new(http_body_util::Full::new(Bytes::from(body)))).unwrap();
        std::future::poll_fn(|cx| self.service.poll_ready(cx)).await.unwrap();
        self.service.call(request).await.unwrap()
    }

    fn counted(&self, method: &str, code: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.contains(&format!(r#"grpc_calls_total{{method="{method}",code="{code}"}} 1"#))
    }
}

/// A compressed message with its prefix.
fn gzipped(message: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(message).unwrap();
    let compressed = encoder.finish().unwrap();
    let length = u32::try_from(compressed.len()).unwrap().to_be_bytes();
    [&[1], length.as_slice(), &compressed].concat()
}

async fn frame(body: &mut Body) -> Option<Frame<Bytes>> {
    std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx)).await.map(Result::unwrap)
}

/// The status in the trailers, which must come next and last.
async fn trailers(body: &mut Body) -> Status {
    let trailers = frame(body).await.unwrap().into_trailers().unwrap();
    assert!(frame(body).await.is_none());
    Status::from_header_map(&trailers).unwrap()
}

/// The status in the headers.
fn status_of(response: &Response<Body>) -> Status {
    Status::from_header_map(response.headers()).expect("the call fails at once")
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every error carries an ErrorInfo").reason
}

#[tokio::test]
async fn an_answer_passes_and_its_trailers_are_counted() {
    let mut server = Server::new().await;
    let mut response = server.call(INFO, &[], "").await;
    assert!(frame(response.body_mut()).await.unwrap().is_data());
    assert!(!server.counted(INFO, "OK"));
    assert_eq!(trailers(response.body_mut()).await.code(), Code::Ok);
    assert!(server.counted(INFO, "OK"));
}

#[tokio::test]
async fn a_failure_passes_as_it_is() {
    let mut server = Server::new().await;
    let status = status_of(&server.call(INFO, &[("do", "fail")], "").await);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "BACKEND_UNAVAILABLE"));
    assert!(server.counted(INFO, "UNAVAILABLE"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_a_call() {
    let mut server = Server::new().await;
    let status = status_of(&server.call(INFO, &[("do", "hang"), ("grpc-timeout", "5S")], "").await);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert!(server.counted(INFO, "DEADLINE_EXCEEDED"));
}

#[tokio::test(start_paused = true)]
async fn no_call_takes_for_ever() {
    let mut server = Server::new().await;
    let began = tokio::time::Instant::now();
    // As long a deadline as the header can say.
    for headers in [&[("do", "hang")][..], &[("do", "hang"), ("grpc-timeout", "99999999H")]] {
        assert_eq!(status_of(&server.call(INFO, headers, "").await).code(), Code::DeadlineExceeded);
    }
    assert!(began.elapsed() < Duration::from_secs(180));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_a_stream() {
    let mut server = Server::new().await;
    let mut response = server.call(WATCH, &[("grpc-timeout", "5S")], "").await;
    assert!(frame(response.body_mut()).await.unwrap().is_data());
    let began = tokio::time::Instant::now();
    assert_eq!(trailers(response.body_mut()).await.code(), Code::DeadlineExceeded);
    assert!(began.elapsed() >= Duration::from_secs(4));
    assert!(server.counted(WATCH, "DEADLINE_EXCEEDED"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_deadline_ends_with_the_server_only() {
    let mut server = Server::new().await;
    let mut response = server.call(WATCH, &[], "").await;
    assert!(frame(response.body_mut()).await.unwrap().is_data());
    let quiet = tokio::time::timeout(Duration::from_secs(86_400), frame(response.body_mut())).await;
    assert!(quiet.is_err());
    server.drain.cancel();
    let status = trailers(response.body_mut()).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NOT_SERVING"));
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn a_caller_that_goes_away_is_counted_as_cancelled() {
    let mut server = Server::new().await;
    let response = server.call(WATCH, &[], "").await;
    drop(response);
    assert!(server.counted(WATCH, "CANCELLED"));
}

#[tokio::test]
async fn a_panic_costs_one_call() {
    let mut server = Server::new().await;
    let status = status_of(&server.call(INFO, &[("do", "panic")], "").await);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "INTERNAL"));
    let mut response = server.call(INFO, &[], "").await;
    assert!(frame(response.body_mut()).await.unwrap().is_data());
}

#[tokio::test]
async fn requests_that_reach_no_handler_get_error_details_too() {
    let mut server = Server::new().await;
    let unknown = status_of(&server.call("longshore.v1.RunService/Nope", &[], "").await);
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unimplemented, "MALFORMED_REQUEST"));
    assert!(server.counted("other", "UNIMPLEMENTED"));

    // A message of 5 MiB, as its prefix says.
    let huge = status_of(&server.call(INFO, &[], "\0\0\x50\0\0").await);
    assert_eq!((huge.code(), reason(&huge).as_str()), (Code::OutOfRange, "MALFORMED_REQUEST"));

    // A message that is small as it comes, and 16 MiB of zeros once it is decompressed.
    let huge = status_of(&server.call_with(INFO, &[("grpc-encoding", "gzip")], gzipped(&[0; 16 << 20])).await);
    assert_eq!((huge.code(), reason(&huge).as_str()), (Code::OutOfRange, "MALFORMED_REQUEST"));
    assert!(huge.get_details_retry_info().is_none(), "it will not get better");
    assert!(huge.message().contains("limit"), "{huge:?}");
    assert!(!server.counted(INFO, "RESOURCE_EXHAUSTED"), "which means a quota, and nothing else");
    let not_gzip = b"\x01\0\0\0\x04nope".to_vec();
    let garbage = status_of(&server.call_with(INFO, &[("grpc-encoding", "gzip")], not_gzip).await);
    assert_eq!((garbage.code(), reason(&garbage).as_str()), (Code::Internal, "MALFORMED_REQUEST"));
    let unknown = status_of(&server.call_with(INFO, &[("grpc-encoding", "br")], b"\x01\0\0\0\0".to_vec()).await);
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unimplemented, "MALFORMED_REQUEST"));

    let garbage = status_of(&server.call(INFO, &[], "\0\0\0\0\x02\x07\x07").await);
    assert_eq!((garbage.code(), reason(&garbage).as_str()), (Code::Internal, "MALFORMED_REQUEST"));
}

#[tokio::test]
async fn a_method_of_one_message_takes_one() {
    let mut server = Server::new().await;
    // None; two; one and the beginning of another. The second is not read to its end.
    for body in [b"".as_slice(), b"\0\0\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0", b"\0\0\0\0\x02\x18\x01\0\xff\xff\xff\xff"] {
        for method in [INFO, WATCH] {
            let refused = status_of(&server.call_with(method, &[("do", "panic")], body.to_vec()).await);
            let answer = (refused.code(), reason(&refused));
            assert_eq!(answer, (Code::Unimplemented, "MALFORMED_REQUEST".to_owned()), "{method} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_deadline_that_says_no_time_is_refused_before_anything_is_done() {
    let mut server = Server::new().await;
    for timeout in ["", "soon", "10", "10s", "123456789S"] {
        let refused = status_of(&server.call(INFO, &[("do", "panic"), ("grpc-timeout", timeout)], "").await);
        let answer = (refused.code(), reason(&refused));
        assert_eq!(answer, (Code::InvalidArgument, "MALFORMED_REQUEST".to_owned()), "{timeout}");
    }
}
