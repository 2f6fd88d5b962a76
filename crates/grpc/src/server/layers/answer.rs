//! The body of a response, bounded: a large message is handed over in pieces as its caller takes them, all that was
//! not taken is counted, and what is not taken for long is let go.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use crate::server::budget::{Hold, Ledger, Who};
use crate::server::peer::OpenCall;
use crate::server::sizes::{ANSWER_WHOLE_MAX, STREAM_WHOLE_MAX};
use crate::status;
use longshore_runtime::task;

/// What is handed over at once of a message that is larger than may go whole.
const PIECE: usize = 16 * 1024;
/// How long nothing of an answer may be taken.
const UNREAD_MAX: Duration = Duration::from_secs(30);

/// Bytes that a stream of answers keeps beside its messages, as an extension of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptBytes(pub(crate) usize);

/// What a call holds until it ends, and that its connection has a call.
pub(super) type Holds = (Vec<Hold>, Option<OpenCall>);

/// See the module.
pub(super) struct AnswerBody {
    inner: Body,
    ledger: Ledger,
    who: Who,
    whole_max: usize,
    /// Whether an answer that nobody takes is let go. Not one of a stream that goes in small messages: a person may
    /// look at a page of output for as long as they want.
    times_out: bool,
    rest: Arc<Mutex<Rest>>,
    watch: Option<JoinHandle<()>>,
    ended: bool,
}

/// What is still to be handed over, and what is held for it.
struct Rest {
    data: Bytes,
    hold: Option<Hold>,
    /// Of the whole call.
    holds: Holds,
    taken: Instant,
    /// Whether nothing waits to be taken, and nothing has to.
    quiet: bool,
    expired: bool,
}

impl AnswerBody {
    /// `holds` are given back when the call ends.
    pub(super) fn new(inner: Body, is_stream: bool, ledger: Ledger, who: Who, holds: Holds) -> Self {
        let whole_max = if is_stream { STREAM_WHOLE_MAX } else { ANSWER_WHOLE_MAX };
        let rest =
            Rest { data: Bytes::new(), hold: None, holds, taken: Instant::now(), quiet: is_stream, expired: false };
        let rest = Arc::new(Mutex::new(rest));
        Self { inner, ledger, who, whole_max, times_out: !is_stream, rest, watch: None, ended: false }
    }

    fn end_with(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.ended = true;
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }

    /// The next piece; `Err` once it is too late.
    fn piece(&self) -> Result<Option<Bytes>, ()> {
        let mut rest = locked(&self.rest);
        if rest.expired {
            return Err(());
        }
        rest.taken = Instant::now();
        let length = rest.data.len().min(PIECE);
        let piece = rest.data.split_to(length);
        if rest.data.is_empty() {
            rest.data = Bytes::new();
            rest.hold = None;
            rest.quiet = !self.times_out;
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Begins to look whether the answer is taken.
    fn watch(&mut self) {
        if self.watch.is_none() {
            let rest = Arc::downgrade(&self.rest);
            self.watch = Some(task::spawn("unread-answer", expire(rest)));
        }
    }
}

/// Lets go of what is not taken for too long.
async fn expire(rest: Weak<Mutex<Rest>>) {
    loop {
        let Some(taken) = rest.upgrade().map(|rest| locked(&rest).taken) else { return };
        tokio::time::sleep_until(taken + UNREAD_MAX).await;
        let Some(rest) = rest.upgrade() else { return };
        let mut rest = locked(&rest);
        if rest.quiet {
            // A stream of which all was taken has nothing more to say now.
            rest.taken = Instant::now();
        } else if rest.taken.elapsed() >= UNREAD_MAX {
            rest.expired = true;
            rest.data = Bytes::new();
            rest.hold = None;
            rest.holds = Holds::default();
            return;
        }
    }
}

fn locked(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            match this.piece() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(()) => return Poll::Ready(Some(this.end_with(&status::unread()))),
            }
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            let length = frame.data_ref().map_or(0, Bytes::len);
            if this.times_out && length > 0 || length > this.whole_max {
                this.watch();
            }
            if length <= this.whole_max {
                return Poll::Ready(Some(Ok(frame)));
            }
            let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
            match this.ledger.take(&this.who, length) {
                Ok(hold) => {
                    let mut rest = locked(&this.rest);
                    rest.data = data;
                    rest.hold = Some(hold);
                    rest.quiet = false;
                }
                Err(full) => {
                    return Poll::Ready(Some(this.end_with(&status::unread_answers(full.of()))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || locked(&self.rest).data.is_empty() && self.inner.is_end_stream()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}
