//! A connection that has its place among those that may be open, and loses it if it says nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a connection may take to say its first word. hyper waits for that without end; after it,
/// keepalive notices who is gone.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Bounded {
    connection: TcpStream,
    /// Until the first word.
    waiting: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Bounded {
    pub(super) fn new(connection: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self { connection, waiting: Some(Box::pin(sleep(FIRST_WORD))), _place: place }
    }

    /// Where it comes from.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.connection.peer_addr().ok()
    }

    /// Whether the first thing it says is a letter, as HTTP without TLS begins. TLS begins with the byte 22.
    pub(super) async fn begins_with_a_letter(&self) -> io::Result<bool> {
        let mut first = [0];
        let read = self.connection.peek(&mut first).await?;
        Ok(read == 1 && first.iter().all(u8::is_ascii_alphabetic))
    }
}

impl Connected for Bounded {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.connection.connect_info()
    }
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.connection).poll_read(cx, buf) {
            Poll::Pending => {
                if let Some(waiting) = &mut self.waiting {
                    ready!(waiting.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            Poll::Ready(read) => {
                if buf.filled().len() > before {
                    self.waiting = None;
                }
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Bounded {
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
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    async fn connected(room: &Arc<Semaphore>) -> (TcpStream, Bounded) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let place = Arc::clone(room).acquire_owned().await.unwrap();
        (client, Bounded::new(listener.accept().await.unwrap().0, place))
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_loses_their_place() {
        let room = Arc::new(Semaphore::new(1));
        let (_client, mut silent) = connected(&room).await;
        let refused = silent.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!(room.available_permits(), 0);
        drop(silent);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn who_said_a_word_may_be_silent() {
        let room = Arc::new(Semaphore::new(1));
        let (mut client, mut server) = connected(&room).await;
        client.write_all(b"word").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 4);
        assert!(server.waiting.is_none());
    }
}
