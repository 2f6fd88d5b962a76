//! The body of a response, watched: its trailers carry the call's real status, the caller's
//! deadline bounds streams too, and no stream outlives a drain.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Span;

use super::code_in;
use super::metrics::RpcCall;
use crate::status;

/// How long a stream has, once the server drains, to end in its own words; longer than
/// `streams::DRAIN_GRACE`. What ends here knows none: health watches and reflection.
const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct CallBody {
    inner: Body,
    /// `None` once the body has ended.
    metrics: Option<RpcCall>,
    deadline: Option<Pin<Box<Sleep>>>,
    drain: CancellationToken,
    /// Made when the body first has to wait: most bodies never do.
    drained: Option<BoxFuture<'static, ()>>,
    span: Span,
}

impl CallBody {
    pub(super) fn new(
        inner: Body,
        metrics: RpcCall,
        deadline: Option<Instant>,
        drain: CancellationToken,
        span: Span,
    ) -> Self {
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        Self { inner, metrics: Some(metrics), deadline, drain, drained: None, span }
    }

    /// The call is over for its caller; what it holds is let go at once.
    fn end(&mut self, code: Code) {
        if let Some(mut metrics) = self.metrics.take() {
            metrics.end(code);
        }
        self.inner = Body::empty();
    }

    /// Ends the body in trailers of our own.
    fn end_with(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.end(status.code());
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }

    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let drain = &self.drain;
        let drained = self.drained.get_or_insert_with(|| {
            let drain = drain.clone();
            Box::pin(async move {
                drain.cancelled_owned().await;
                tokio::time::sleep(DRAIN_GRACE).await;
            })
        });
        drained.as_mut().poll(cx)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.metrics.is_none() {
            return Poll::Ready(None);
        }
        // Before the body itself, since one that always has more would never get to it.
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(self.end_with(&status::deadline_exceeded())));
        }
        let frame = http_body::Body::poll_frame(Pin::new(&mut self.inner), cx);
        if frame.is_pending() {
            ready!(self.poll_drained(cx));
            return Poll::Ready(Some(self.end_with(&status::draining())));
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.end(code);
                }
            }
            Poll::Ready(Some(Err(status))) => self.end(status.code()),
            // A body without trailers is not an answer of gRPC.
            Poll::Ready(None) => self.end(Code::Unknown),
            Poll::Pending => {}
        }
        frame
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let span = this.span.clone();
        span.in_scope(|| this.poll_next(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.metrics.is_none()
    }
}
