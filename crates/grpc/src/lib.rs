//! The wire: services, conversions, and what surrounds every call. Knows the engine, not what is
//! behind it.
//!
//! ```text
//! listener ─► server::transport ─► server::layers (protocol, deadline, metrics, drain, access) ─► run, info
//!                                                                                              │ ▲
//!                                                                                      request │ │ response, status
//!                                                                                              ▼ │
//!                                                                                             engine
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use longshore_api::v1::run_service_server::RunServiceServer;
use longshore_api::v1::server_service_server::ServerServiceServer;
use longshore_engine::Engine;
use longshore_runtime::tls::Tls;

mod info;
mod run;
mod server;
mod status;
pub(crate) mod wire;

pub use info::response::ServerFacts;
pub use server::budget::{BudgetRow, ServeLimits, worst_case};
pub use server::health::{Health, LIVENESS};
pub use server::layers::RpcMetrics;
pub use server::sizes::{MESSAGE_MAX, REQUEST_MAX, message_max};
pub use server::transport::{ServeError, Served, serve_health};

/// The gRPC server: everything but the listener.
#[derive(Clone, Debug)]
pub struct GrpcServer {
    /// Answers.
    pub engine: Engine,
    /// What GetServerInfo reports besides.
    pub facts: ServerFacts,
    /// Reports whether it serves; keep a clone and call [`Health::set_ready`].
    pub health: Health,
    /// Counts calls.
    pub metrics: RpcMetrics,
    /// Speaks TLS; `None`: plaintext.
    pub tls: Option<Tls>,
    /// How much of what there may be.
    pub limits: ServeLimits,
    /// Port of the admin endpoints, which HTTP/1 clients mostly look for here.
    pub admin_port: Option<u16>,
}

impl GrpcServer {
    /// Serves on a listener that is bound already, until `drain` and then `patience` at most.
    ///
    /// The engine should end its streams by the same token; those that it does not end within a
    /// second are ended here, with the last cursor that was reported. Readiness should go, and
    /// endpoints be given time to notice, before the token is cancelled: it closes the listener.
    ///
    /// # Errors
    /// If the transport fails, which it does not for anything that a caller does.
    pub async fn serve(
        self,
        listener: TcpListener,
        drain: CancellationToken,
        patience: Duration,
    ) -> Result<Served, ServeError> {
        let Self { engine, facts, health, metrics, tls, limits, admin_port } = self;
        let about = about(&facts.version, admin_port).into();
        let surroundings =
            server::transport::Surroundings { health, metrics, access: Some(engine.clone()), tls, limits, about };
        let runs = run::service::RunApi { engine: engine.clone(), drain: drain.clone() };
        let server = info::service::ServerApi { engine, facts: Arc::new(facts) };
        let routes = Routes::new(
            RunServiceServer::new(runs)
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MESSAGE_MAX)
                .max_encoding_message_size(MESSAGE_MAX),
        )
        .add_service(
            ServerServiceServer::new(server)
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MESSAGE_MAX)
                .max_encoding_message_size(MESSAGE_MAX),
        );
        server::transport::serve(routes, surroundings, listener, drain, patience).await
    }
}

/// The spec in a SubmitRunRequest as it comes, and what is wrong with it; `None` for what is not a request with a
/// spec.
#[cfg(any(test, feature = "fuzzing"))]
#[must_use]
pub fn read_submit(
    message: &[u8],
) -> Option<(longshore_domain::run::spec::RunSpec, longshore_domain::notation::violation::Violations)> {
    let request = <longshore_api::v1::SubmitRunRequest as prost::Message>::decode(message).ok()?;
    let mut submit = run::request::submit(request).ok()?;
    let spec = submit.spec.read(&mut submit.violations);
    Some((spec, submit.violations))
}

/// What the gRPC port answers to HTTP/1 clients: one line.
fn about(version: &str, admin_port: Option<u16>) -> String {
    let admin = match admin_port {
        Some(port) => format!("/livez, /readyz and /metrics over HTTP/1.1 are on the admin port, {port}"),
        None => "the admin port, with /livez, /readyz and /metrics over HTTP/1.1, is off (admin_listen)".to_owned(),
    };
    format!(
        "this is the gRPC port of longshore {version}, which speaks HTTP/2: use the longshore command, grpcurl or a \
         gRPC client; {admin}\n"
    )
}
