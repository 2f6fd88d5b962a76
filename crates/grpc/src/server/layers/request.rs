//! The body of a request, counted: each message is known to have room before it is read, and is whole within a time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use crate::server::budget::{Full, Hold, Ledger, Who};
use crate::status;

use super::framing::{Begun, Framing};

/// How long a message waits for room.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a message may take from its first byte to its last one.
const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// What a byte of gzip can become at most (zlib's technical details).
const INFLATION: usize = 1032;

/// Where the room of a request is kept until the call ends: what is read of it lives longer than its body.
pub(super) type RequestRoom = Arc<Mutex<Option<Hold>>>;

/// See the module.
pub(super) struct RequestBody {
    inner: Body,
    ledger: Ledger,
    who: Who,
    room: RequestRoom,
    /// Largest message of this method.
    max: usize,
    framing: Framing,
    /// What came, until there is room for it.
    waiting: Option<(Bytes, BoxFuture<'static, Result<Hold, Full>>)>,
    /// Until the present message is whole.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(inner: Body, max: usize, ledger: Ledger, who: Who, room: RequestRoom) -> Self {
        Self { inner, ledger, who, room, max, framing: Framing::default(), waiting: None, deadline: None }
    }

    /// Looks through what came: how much room the messages need that begin in it.
    fn scan(&mut self, mut data: &[u8]) -> Result<Option<usize>, Status> {
        let mut needed = None;
        while let Some(Begun { compressed, length }) = self.framing.next(&mut data) {
            if length > self.max {
                return Err(status::message_too_large(length, self.max));
            }
            let whole = if compressed { length.saturating_mul(INFLATION).min(self.max) } else { length };
            needed = Some(needed.unwrap_or(0) + whole);
        }
        self.deadline = match (self.framing.is_in_message(), self.deadline.take()) {
            (true, deadline) if needed.is_none() => deadline.or_else(|| Some(Box::pin(sleep(MESSAGE_MAX)))),
            (true, _) => Some(Box::pin(sleep(MESSAGE_MAX))),
            (false, _) => None,
        };
        Ok(needed)
    }

    fn keep(&self, hold: Option<Hold>) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        drop(std::mem::replace(&mut *room, hold));
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some((data, taking)) = &mut this.waiting {
                let taken = ready!(taking.as_mut().poll(cx));
                let data = std::mem::take(data);
                this.waiting = None;
                return Poll::Ready(Some(match taken {
                    Ok(hold) => {
                        this.keep(Some(hold));
                        Ok(Frame::data(data))
                    }
                    Err(full) => {
                        let of = full.of();
                        Err(status::busy(&format!("requests of {of} use all the memory reserved for them")))
                    }
                }));
            }
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    if let Some(deadline) = &mut this.deadline {
                        ready!(deadline.as_mut().poll(cx));
                        return Poll::Ready(Some(Err(status::unfinished_message())));
                    }
                    return Poll::Pending;
                }
            };
            let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            };
            let needed = match this.scan(&data) {
                Ok(needed) => needed,
                Err(status) => return Poll::Ready(Some(Err(status))),
            };
            let Some(needed) = needed else { return Poll::Ready(Some(Ok(Frame::data(data)))) };
            // The message before it was taken by the reader.
            this.keep(None);
            match this.ledger.take(&this.who, needed) {
                Ok(hold) => {
                    this.keep(Some(hold));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(_full) => {
                    let taking = this.ledger.clone().take_within(this.who.clone(), needed, PATIENCE);
                    this.waiting = Some((data, Box::pin(taking)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.waiting.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}
