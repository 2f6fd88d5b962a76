//! Serves on a bound listener: limits of the connection, health, reflection, and an end that comes
//! in bounded time.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use super::budget::{Budget, ServeLimits, network};
use super::health::Health;
use super::layers::{AccessLayer, CallLayer, ProtocolLayer, RpcMetrics};
use super::sizes::WINDOW;
use longshore_api as proto;
use longshore_engine::Engine;
use longshore_runtime::tls::Tls;

mod bounded;
mod http2;
mod tls;

use bounded::{BoundedConnection, ConnectionSlots};
use http2::{Http1Answer, Http2};

/// How often a quiet connection is asked for a sign of life. Without it a client that vanished is
/// never noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long the sign may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls at once on one connection; one client may follow many runs.
const STREAMS_MAX: u32 = 1024;
/// Streams that a client may open and reset before they were accepted (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 64;
/// Streams that we may have to reset for a client's faults (CVE-2025-8671).
const ERROR_RESETS_MAX: usize = 256;
/// Largest headers of a request, in bytes.
const HEADERS_MAX: u32 = 16 * 1024;
/// Connections to a port that serves health alone.
pub(crate) const HEALTH_CONNECTIONS: ServeLimits =
    ServeLimits { connections: 64, connections_per_address: 32, streams_per_caller: 0 };
/// After so long a connection takes no new calls, and its client opens another: what was true of it
/// when it began, such as a client certificate, is asked again.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3600);
/// Pause after a failed accept: out of file descriptors it fails at once again, for as long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the health port answers to HTTP/1 clients.
const HEALTH_PORT: &str = "this port of longshore has grpc.health.v1 alone, which speaks HTTP/2: use a gRPC probe; \
                           /livez and /readyz over HTTP/1.1 are on the admin port\n";

/// What surrounds the services.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) health: Health,
    pub(crate) metrics: RpcMetrics,
    /// Knows who may call; `None`: everybody may.
    pub(crate) access: Option<Engine>,
    /// `None`: plaintext.
    pub(crate) tls: Option<Tls>,
    /// How much of it there may be.
    pub(crate) limits: ServeLimits,
    /// A line that says what this port is, for HTTP/1 clients.
    pub(crate) about: Arc<str>,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Every connection was closed in order.
    Drained,
    /// Some were still open when patience ended; they are cut when the process exits.
    OutOfPatience,
}

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors that reflection serves can't be read.
    #[error("the proto descriptors cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves `routes`, health and reflection until `drain`; then new calls are refused, streams end,
/// and after `patience` it is over whatever is still open (a connection that says nothing would
/// hold it for ever). `patience` should be above 3 s, which is what the slowest streams take.
///
/// # Errors
/// If the descriptors are not readable, or the transport fails.
pub(crate) async fn serve(
    routes: Routes,
    surroundings: Surroundings,
    listener: TcpListener,
    drain: CancellationToken,
    patience: Duration,
) -> Result<Served, ServeError> {
    let Surroundings { health, metrics, access, tls, limits, about } = surroundings;
    let room = ConnectionSlots::new(limits.connections, limits.connections_per_address);
    let answer = Http1Answer::other_version(about);
    let routes = routes
        .add_service(health.service())
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let router = server()
        .layer(ProtocolLayer)
        .layer(CallLayer { metrics, drain: drain.clone() })
        .layer(AccessLayer { engine: access, budget: Arc::new(Budget::new(limits)) })
        .add_routes(routes);
    let drained = drain.clone().cancelled_owned();
    let serving = match tls {
        None => {
            let connections = only_http2(incoming(listener, room), answer);
            Box::pin(router.serve_with_incoming_shutdown(connections, drained)).left_future()
        }
        Some(tls) => {
            let connections = only_http2(tls::incoming(listener, room, tls), answer);
            Box::pin(router.serve_with_incoming_shutdown(connections, drained)).right_future()
        }
    };
    until_drained(serving, &health, drain, patience).await
}

/// Serves `grpc.health.v1` alone, in plaintext, until `drain` and then `patience` at most: the
/// kubelet's probes speak no TLS and have no credentials.
///
/// # Errors
/// If the transport fails.
pub async fn serve_health(
    health: Health,
    listener: TcpListener,
    drain: CancellationToken,
    patience: Duration,
) -> Result<Served, ServeError> {
    let budget = Arc::new(Budget::new(HEALTH_CONNECTIONS));
    let router =
        server().layer(ProtocolLayer).layer(AccessLayer { engine: None, budget }).add_service(health.service());
    let answer = Http1Answer::other_version(HEALTH_PORT.into());
    let room = ConnectionSlots::new(HEALTH_CONNECTIONS.connections, HEALTH_CONNECTIONS.connections_per_address);
    let connections = only_http2(incoming(listener, room), answer);
    let serving = Box::pin(router.serve_with_incoming_shutdown(connections, drain.clone().cancelled_owned()));
    until_drained(serving, &health, drain, patience).await
}

async fn until_drained(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    health: &Health,
    drain: CancellationToken,
    patience: Duration,
) -> Result<Served, ServeError> {
    let out_of_patience = async {
        drain.cancelled().await;
        health.drain().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        served = serving => {
            served?;
            Ok(Served::Drained)
        }
        () = out_of_patience => Ok(Served::OutOfPatience),
    }
}

/// `max_connection_age_grace` must stay unset: with it tonic 0.14 cuts calls instead of draining.
fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .http2_max_header_list_size(HEADERS_MAX)
        .max_connection_age(CONNECTION_AGE_MAX)
}

/// Connections, each once there is room for it. One from an address that has as many as it may is closed.
fn incoming(
    listener: TcpListener,
    room: Arc<ConnectionSlots>,
) -> impl futures::Stream<Item = std::io::Result<BoundedConnection>> {
    // Here and not at the server, which ignores its own settings for a listener that is given.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    incoming
        .then(move |accepted| {
            let room = Arc::clone(&room);
            async move {
                if let Err(error) = &accepted {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                let connection = accepted?;
                let address = connection.peer_addr().ok().map(|address| network(address.ip()));
                let place = room.enter(address).await;
                if place.is_none() {
                    tracing::debug!(
                        address = address.map(tracing::field::display),
                        "too many connections of one address"
                    );
                }
                Ok(place.map(|place| BoundedConnection::new(connection, place)))
            }
        })
        .filter_map(async |entered: std::io::Result<Option<BoundedConnection>>| entered.transpose())
}

/// The connections that speak HTTP/2; others get an answer, or none.
fn only_http2<C>(
    connections: impl futures::Stream<Item = std::io::Result<C>>,
    answer: Http1Answer,
) -> impl futures::Stream<Item = std::io::Result<Http2<C>>>
where
    C: Connected + AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connections.map(move |accepted| accepted.map(|connection| Http2::new(connection, answer.clone())))
}

/// Each version reports both, as every service that is served is listed.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests;
