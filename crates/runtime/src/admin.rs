//! The admin port: `/livez`, `/readyz` and `/metrics`, for the kubelet and Prometheus.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// Connections at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may say nothing: longer than Prometheus mostly waits from one scrape to the next.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    let listener = BoundedListener { listener, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Accepts connections, each once there is room for it.
struct BoundedListener {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl axum::serve::Listener for BoundedListener {
    type Io = AdminConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (AdminConnection, SocketAddr) {
        loop {
            let place = Arc::clone(&self.room).acquire_owned().await;
            match (self.listener.accept().await, place) {
                (Ok((connection, address)), Ok(place)) => {
                    let idle = Box::pin(sleep(IDLE_MAX));
                    return (AdminConnection { connection, idle, _place: place }, address);
                }
                // Out of files it fails at once again.
                _ => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is closed once it says nothing for long.
struct AdminConnection {
    connection: TcpStream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for AdminConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.connection).poll_read(cx, buf) {
            Poll::Pending => {
                ready!(self.idle.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(read) => {
                self.idle.as_mut().reset(Instant::now() + IDLE_MAX);
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for AdminConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
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
