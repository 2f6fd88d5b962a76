//! TLS on accepted connections, with the configuration of the moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::field::display;

use super::bounded::{BoundedConnection, ConnectionSlots};
use super::http2::{Http1Answer, answer};
use longshore_runtime::task;
use longshore_runtime::tls::Tls;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Handshakes at once. Beyond that connections wait to be accepted.
const HANDSHAKES_AT_ONCE: usize = 1024;

/// Connections whose handshake is done. One that fails costs nobody else anything.
pub(super) fn incoming(
    listener: TcpListener,
    room: Arc<ConnectionSlots>,
    tls: Tls,
) -> impl Stream<Item = std::io::Result<TlsStream<BoundedConnection>>> {
    super::incoming(listener, room)
        .map(move |accepted| {
            let config = Arc::clone(&tls.borrow());
            async move {
                let connection = accepted?;
                // On a task of its own: its cryptography is not to hold up who accepts.
                let shaking = task::spawn("tls-handshake", shake(connection, TlsAcceptor::from(config)));
                shaking.await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
            }
        })
        .buffer_unordered(HANDSHAKES_AT_ONCE)
        .filter_map(async |shaken| shaken.ok().map(Ok))
}

async fn shake(connection: BoundedConnection, acceptor: TlsAcceptor) -> std::io::Result<TlsStream<BoundedConnection>> {
    let peer = connection.peer();
    let shaking = async {
        if connection.begins_with_a_letter().await? {
            task::spawn("http1", answer(connection, Vec::new(), Http1Answer::wants_tls()));
            return Err(std::io::Error::other("a client that does not speak TLS"));
        }
        acceptor.accept(connection).await
    };
    let shaken = match tokio::time::timeout(HANDSHAKE_MAX, shaking).await {
        Ok(shaken) => shaken,
        Err(elapsed) => Err(elapsed.into()),
    };
    if let Err(error) = &shaken {
        failed(error, peer);
    }
    shaken
}

/// Logs it. Who shows a certificate that is not taken is nobody that is known.
fn failed(error: &std::io::Error, peer: Option<SocketAddr>) {
    let peer = peer.map(display);
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let reason = format!("a client certificate was refused: {why}");
            tracing::info!(target: "longshore::audit", verb = "authenticate", allowed = false, reason, peer);
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            tracing::info!(
                ?alert,
                peer,
                "a client refused the TLS handshake; does it know our certificate's authority?"
            );
        }
        // Balancers that look whether a port is open do that all day.
        _ => tracing::debug!(%error, peer, "a TLS handshake failed"),
    }
}
