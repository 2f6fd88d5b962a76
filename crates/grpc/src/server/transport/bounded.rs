//! A connection that has its place among those that may be open, and loses it if nothing is called over it for long.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;

use crate::server::peer::{FIRST_WORD, Peer, STRANGER_IDLE};

/// Places for connections.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    places: Arc<Semaphore>,
    per_address: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionSlots {
    /// For so many connections, and so many from one address.
    pub(super) fn new(places: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(places)), per_address, addresses: Mutex::default() })
    }

    /// A place for a connection from this address, once there is one; `None` if the address has as many as it may.
    pub(super) async fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<ConnectionSlot> {
        let entered = Entered::new(Arc::clone(self), address)?;
        // An error would mean that the semaphore is closed, which it never is.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(ConnectionSlot { _permit: permit, _entered: entered })
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place of a [`ConnectionSlots`]; free again when dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    _permit: OwnedSemaphorePermit,
    _entered: Entered,
}

/// One of the connections from an address.
#[derive(Debug)]
struct Entered {
    room: Arc<ConnectionSlots>,
    address: Option<IpAddr>,
}

impl Entered {
    fn new(room: Arc<ConnectionSlots>, address: Option<IpAddr>) -> Option<Self> {
        if let Some(address) = address {
            let mut addresses = room.addresses();
            let open = addresses.entry(address).or_default();
            if *open >= room.per_address {
                return None;
            }
            *open += 1;
        }
        Some(Self { room, address })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut addresses = self.room.addresses();
        if let Some(open) = addresses.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct BoundedConnection {
    connection: TcpStream,
    peer: Peer,
    /// When to look whether it is idle.
    look: Pin<Box<Sleep>>,
    _place: ConnectionSlot,
}

impl BoundedConnection {
    pub(super) fn new(connection: TcpStream, place: ConnectionSlot) -> Self {
        let peer = Peer::new(connection.peer_addr().ok());
        Self { connection, peer, look: Box::pin(sleep(FIRST_WORD)), _place: place }
    }

    /// Where it comes from.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer.address()
    }

    /// Whether the first thing it says is a letter, as HTTP without TLS begins. TLS begins with the byte 22.
    pub(super) async fn begins_with_a_letter(&self) -> io::Result<bool> {
        let mut first = [0];
        let read = self.connection.peek(&mut first).await?;
        Ok(read == 1 && first.iter().all(u8::is_ascii_alphabetic))
    }

    /// Ready once it has been idle for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            let now = Instant::now();
            match self.peer.idle_until() {
                Some(until) if until <= now => return Poll::Ready(()),
                Some(until) => self.look.as_mut().reset(until),
                None => self.look.as_mut().reset(now + STRANGER_IDLE),
            }
        }
    }
}

impl Connected for BoundedConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for BoundedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.connection).poll_read(cx, buf) {
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(read) => {
                if buf.filled().len() > before {
                    self.peer.spoke();
                }
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for BoundedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, data)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use tokio::net::TcpListener;

    use super::*;
    use crate::server::peer::IDLE;

    async fn connected(room: &Arc<ConnectionSlots>) -> (TcpStream, BoundedConnection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, address) = listener.accept().await.unwrap();
        let place = room.enter(Some(address.ip())).await.unwrap();
        (client, BoundedConnection::new(accepted, place))
    }

    async fn is_closed_after(connection: &mut BoundedConnection, limit: Duration) -> bool {
        let begun = Instant::now();
        let closed = connection.read(&mut [0; 8]).await.unwrap_err();
        let took = begun.elapsed();
        closed.kind() == io::ErrorKind::TimedOut && took >= limit && took < limit + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_loses_their_place() {
        let room = ConnectionSlots::new(1, 1);
        let (_client, mut silent) = connected(&room).await;
        assert!(is_closed_after(&mut silent, FIRST_WORD).await);
        assert_eq!(room.places.available_permits(), 0);
        drop(silent);
        assert_eq!(room.places.available_permits(), 1);
        assert!(room.addresses().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_calls_nothing_loses_their_place_and_who_is_known_later() {
        let room = ConnectionSlots::new(2, 2);
        let (_client, mut stranger) = connected(&room).await;
        stranger.peer.spoke();
        assert!(is_closed_after(&mut stranger, STRANGER_IDLE).await);

        let (_client, mut known) = connected(&room).await;
        known.peer.spoke();
        known.peer.known();
        assert!(is_closed_after(&mut known, IDLE).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_call_open_may_be_silent() {
        let room = ConnectionSlots::new(1, 1);
        let (mut client, mut server) = connected(&room).await;
        client.write_all(b"word").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 4);
        let call = server.peer.call();
        let waited = tokio::time::timeout(IDLE * 2, server.read(&mut [0; 8])).await;
        assert!(waited.is_err(), "{waited:?}");
        drop(call);
        // It is looked at now and then.
        let closed = tokio::time::timeout(STRANGER_IDLE * 2, server.read(&mut [0; 8])).await.unwrap().unwrap_err();
        assert_eq!(closed.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn one_address_does_not_get_all_places() {
        let room = ConnectionSlots::new(3, 2);
        let first: IpAddr = [127, 0, 0, 1].into();
        let held = (room.enter(Some(first)).await.unwrap(), room.enter(Some(first)).await.unwrap());
        assert!(room.enter(Some(first)).await.is_none());
        let other = room.enter(Some([127, 0, 0, 2].into())).await;
        assert!(other.is_some());
        drop(held);
        assert!(room.enter(Some(first)).await.is_some());
    }
}
