//! The admin port: `/livez`, `/readyz` and `/metrics`, for the kubelet and Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Whether the process is ready, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It is.
    Yes,
    /// It is not; the sentence says why.
    No(String),
}

#[derive(Clone)]
struct Admin {
    ready: watch::Receiver<Ready>,
    registry: Arc<Registry>,
}

/// Serves the admin endpoints on `listener` until `stop` is cancelled.
///
/// # Errors
/// If accepting fails for good.
pub async fn serve(
    listener: TcpListener,
    ready: watch::Receiver<Ready>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { ready, registry });
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    match &*admin.ready.borrow() {
        Ready::Yes => (StatusCode::OK, "ok\n".to_owned()),
        Ready::No(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
