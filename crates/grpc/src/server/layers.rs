//! What surrounds every call: the deadline, a span, metrics, and an end when the server
//! drains. One layer, since all of it needs to see the real status of a call: that of its response
//! headers, or else of the trailers of its body.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, ready};
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Code, Status};
use tracing::Instrument;
use tracing::field::Empty;

use super::peer::Peer;
use crate::status;
use longshore_domain::name::RunName;
use longshore_engine::Caller;

mod access;
mod answer;
mod body;
mod deadline;
mod framing;
mod metrics;
mod protocol;
mod request;
mod single;

pub(crate) use access::AccessLayer;
pub(crate) use answer::KeptBytes;
use body::CallBody;
pub use metrics::RpcMetrics;
use metrics::{RpcCall, label};
pub(crate) use protocol::ProtocolLayer;

/// How long a call may take until it answers, or until its stream begins: above the 50 s of
/// WaitRun.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The header that carries a status' details.
const DETAILS: &str = "grpc-status-details-bin";

/// Surrounds every call.
#[derive(Clone, Debug)]
pub(crate) struct CallLayer {
    pub(crate) metrics: RpcMetrics,
    pub(crate) drain: CancellationToken,
}

impl<S> tower::Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, metrics: self.metrics.clone(), drain: self.drain.clone() }
    }
}

/// See [`CallLayer`].
#[derive(Clone, Debug)]
pub(crate) struct CallService<S> {
    inner: S,
    metrics: RpcMetrics,
    drain: CancellationToken,
}

impl<S> tower::Service<Request<Body>> for CallService<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let method = label(&path);
        let span = tracing::info_span!("rpc", method, peer = Empty, user = Empty, run = Empty);
        if let Some(address) = peer(&request).and_then(Peer::address) {
            span.record("peer", tracing::field::display(address));
        }
        let metrics = self.metrics.begin(method);
        // A deadline too far for the clock is none.
        let begun = Instant::now();
        let timeout = deadline::parse(request.headers());
        let deadline = timeout.as_ref().ok().copied().flatten().and_then(|left| begun.checked_add(left));
        let answer_by = deadline.unwrap_or(begun + ANSWER_MAX).min(begun + ANSWER_MAX);
        let handled = match timeout {
            Ok(_) => {
                let request = request.map(|body| single::body_of(&path, body));
                Either::Left(span.in_scope(|| self.inner.call(request)))
            }
            Err(deadline::Malformed) => Either::Right(ready(Ok(status::malformed_timeout().into_http()))),
        };
        let drain = self.drain.clone();
        let in_call = span.clone();
        Box::pin(
            async move {
                let handled = tokio::time::timeout_at(answer_by, AssertUnwindSafe(handled).catch_unwind()).await;
                let response = match handled {
                    Ok(Ok(response)) => response?,
                    Ok(Err(_panic)) => status::panicked().into_http(),
                    Err(_elapsed) => status::deadline_exceeded().into_http(),
                };
                Ok(observe(response, metrics, |metrics, body| CallBody::new(body, metrics, deadline, drain, in_call)))
            }
            .instrument(span),
        )
    }
}

/// The response as it goes out: a failure that needs no body is complete and gets its details;
/// any other is complete when its body is.
fn observe(
    mut response: Response<Body>,
    mut metrics: RpcCall,
    body: impl FnOnce(RpcCall, Body) -> CallBody,
) -> Response<Body> {
    match code_in(response.headers()) {
        Some(code) => {
            let is_bare = code != Code::Ok && !response.headers().contains_key(DETAILS);
            metrics.end(if is_bare { complete(&mut response) } else { code });
            response
        }
        None => response.map(|inner| Body::new(body(metrics, inner))),
    }
}

/// Completes a status that tonic made by itself, and gives its code.
fn complete(response: &mut Response<Body>) -> Code {
    // As it was made, with its cause, or else as it is sent.
    let made = response.extensions_mut().remove::<Status>();
    let Some(bare) = made.or_else(|| Status::from_header_map(response.headers())) else { return Code::Unknown };
    let detailed = status::with_details(&bare);
    let mut own = HeaderMap::new();
    if detailed.add_header(&mut own).is_err() {
        return bare.code();
    }
    // Each in the place of tonic's own.
    own.into_iter().for_each(|(name, value)| {
        if let Some(name) = name {
            response.headers_mut().insert(name, value);
        }
    });
    detailed.code()
}

/// The code of a status in headers or trailers, if there is one.
fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The connection that a request came over.
fn peer(request: &Request<Body>) -> Option<&Peer> {
    let extensions = request.extensions();
    extensions.get::<Peer>().or_else(|| extensions.get::<TlsConnectInfo<Peer>>().map(TlsConnectInfo::get_ref))
}

/// The caller of a request that came through [`AccessLayer`].
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_default()
}

/// Names the run that a call is about in its span.
pub(crate) fn note(run: &RunName) {
    tracing::Span::current().record("run", tracing::field::display(run));
}

#[cfg(test)]
mod tests;
