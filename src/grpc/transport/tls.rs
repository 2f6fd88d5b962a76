//! TLS on accepted connections, with the configuration of the moment.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::runtime::tls::Tls;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes at once. Beyond that connections wait to be accepted.
const HANDSHAKES_AT_ONCE: usize = 256;

/// Connections whose handshake is done. One that fails costs nobody else anything.
pub(super) fn incoming(listener: TcpListener, tls: Tls) -> impl Stream<Item = std::io::Result<TlsStream<TcpStream>>> {
    super::incoming(listener)
        .map(move |accepted| {
            let config = Arc::clone(&tls.borrow());
            async move { shake(accepted?, TlsAcceptor::from(config)).await }
        })
        .buffer_unordered(HANDSHAKES_AT_ONCE)
        .filter_map(async |shaken| shaken.ok().map(Ok))
}

async fn shake(connection: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    let peer = connection.peer_addr();
    let shaken = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(connection)).await {
        Ok(shaken) => shaken,
        Err(elapsed) => Err(elapsed.into()),
    };
    if let (Err(error), Ok(peer)) = (&shaken, peer) {
        // Balancers that look whether a port is open do that all day.
        tracing::debug!(%error, %peer, "a TLS handshake failed");
    }
    shaken
}
