//! A connection that is known to speak HTTP/2 before anything is done with it. One that speaks HTTP/1 gets a single
//! answer in plain text, which says what this port is; of anything else the connection is closed.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tonic::transport::server::Connected;

use longshore_runtime::task;

/// What every client of HTTP/2 sends first, whatever the server does (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a handshake of TLS begins with.
const TLS_HANDSHAKE: u8 = 22;
/// How long a connection may take to say that.
const PREFACE_MAX: Duration = Duration::from_secs(10);
/// How long the answer to a request by HTTP/1 may take, its request included.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Most of such a request's head, in bytes, that is read.
const HEAD_MAX: usize = 16 * 1024;
/// Most of what comes after the answer, in bytes, that is read: a connection that is closed with unread data loses the
/// answer.
const REST_MAX: u64 = 64 * 1024;

/// An answer to an HTTP/1 client: a status line's end, and a line of text.
#[derive(Clone, Debug)]
pub(super) struct Http1Answer {
    status: &'static str,
    text: Arc<str>,
}

impl Http1Answer {
    /// This port speaks another version of HTTP.
    pub(super) fn other_version(text: Arc<str>) -> Self {
        Self { status: "505 HTTP Version Not Supported", text }
    }

    /// This port wants TLS.
    pub(super) fn wants_tls() -> Self {
        let text = "this port of longshore speaks TLS: use https:// and a client of gRPC, which speaks HTTP/2\n";
        Self { status: "400 Bad Request", text: text.into() }
    }

    /// This port wants none.
    fn speaks_no_tls() -> Self {
        let text = "this port of longshore does not speak TLS: use http://\n";
        Self { status: "400 Bad Request", text: text.into() }
    }

    fn bytes(&self, with_body: bool) -> Vec<u8> {
        let Self { status, text } = self;
        let body = if with_body { text.as_ref() } else { "" };
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// See the module.
pub(super) struct Http2<C: Connected> {
    /// `None` once it was handed over to be answered by HTTP/1.
    connection: Option<C>,
    info: C::ConnectInfo,
    answer: Http1Answer,
    /// How many bytes of the preface were read.
    read: usize,
    /// How many of them were passed on.
    passed: usize,
    /// Until the preface is there.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<C: Connected> fmt::Debug for Http2<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("read", &self.read).finish_non_exhaustive()
    }
}

impl<C> Http2<C>
where
    C: Connected + AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(super) fn new(connection: C, answer: Http1Answer) -> Self {
        let info = connection.connect_info();
        let deadline = Some(Box::pin(sleep(PREFACE_MAX)));
        Self { connection: Some(connection), info, answer, read: 0, passed: 0, deadline }
    }

    fn connection(&mut self) -> io::Result<Pin<&mut C>> {
        self.connection.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Ready once the connection is known to speak HTTP/2; nothing is written before, since what HTTP/2 says first
    /// would stand before an answer by HTTP/1.
    fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(wanted) = PREFACE.get(self.read..).filter(|wanted| !wanted.is_empty()) {
            let mut space = [0; PREFACE.len()];
            let mut buffer = ReadBuf::new(space.get_mut(..wanted.len()).unwrap_or_default());
            match self.connection()?.poll_read(cx, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    if let Some(deadline) = &mut self.deadline {
                        ready!(deadline.as_mut().poll(cx));
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    return Poll::Pending;
                }
            }
            let said = buffer.filled();
            if said.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if !wanted.starts_with(said) {
                let head = [PREFACE.get(..self.read).unwrap_or_default(), said].concat();
                if let Some(connection) = self.connection.take() {
                    task::spawn("http1", answer(connection, head, self.answer.clone()));
                }
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            self.read += said.len();
        }
        self.deadline = None;
        Poll::Ready(Ok(()))
    }
}

/// Answers a request by HTTP/1 of which `head` was read, and a client that speaks TLS where none is spoken, which sees
/// from any text that it is none. Whatever else it is, the connection is closed without a word.
pub(super) async fn answer<C>(mut connection: C, head: Vec<u8>, answer: Http1Answer)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let answered = timeout(ANSWER_MAX, async {
        let bytes = match head.first() {
            Some(&TLS_HANDSHAKE) => Some(Http1Answer::speaks_no_tls().bytes(true)),
            _ => read_head(&mut connection, head).await?.map(|with_body| answer.bytes(with_body)),
        };
        if let Some(bytes) = bytes {
            connection.write_all(&bytes).await?;
            connection.shutdown().await?;
            tokio::io::copy(&mut connection.take(REST_MAX), &mut tokio::io::sink()).await?;
        }
        io::Result::Ok(())
    });
    // Who does not wait for the answer does not want it.
    drop(answered.await);
}

/// Reads the head of a request to its end or its limit. Whether the answer has a body (that to HEAD has none); `None`
/// if it is not a request by HTTP/1.
async fn read_head(connection: &mut (impl AsyncRead + Unpin), mut head: Vec<u8>) -> io::Result<Option<bool>> {
    loop {
        if let Some(line) = head.split(|byte| *byte == b'\n').next().filter(|line| line.len() < head.len())
            && !line
                .trim_ascii_end()
                .rsplit(|byte| *byte == b' ')
                .next()
                .is_some_and(|last| last.starts_with(b"HTTP/1."))
        {
            return Ok(None);
        }
        let is_whole = head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n");
        if is_whole || head.len() >= HEAD_MAX {
            return Ok(head.contains(&b'\n').then(|| !head.starts_with(b"HEAD ")));
        }
        if connection.take(1024).read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
}

impl<C: Connected> Connected for Http2<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> C::ConnectInfo {
        self.info.clone()
    }
}

impl<C> AsyncRead for Http2<C>
where
    C: Connected + AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C::ConnectInfo: Unpin,
{
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_known(cx))?;
        if let Some(rest) = PREFACE.get(self.passed..).filter(|rest| !rest.is_empty()) {
            let now = rest.get(..buf.remaining()).unwrap_or(rest);
            buf.put_slice(now);
            self.passed += now.len();
            return Poll::Ready(Ok(()));
        }
        self.connection()?.poll_read(cx, buf)
    }
}

impl<C> AsyncWrite for Http2<C>
where
    C: Connected + AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C::ConnectInfo: Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_known(cx))?;
        self.connection()?.poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.connection {
            Some(connection) => Pin::new(connection).poll_shutdown(cx),
            // It is another's now.
            None => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_known(cx))?;
        self.connection()?.poll_write_vectored(cx, data)
    }
}

#[cfg(test)]
mod tests;
