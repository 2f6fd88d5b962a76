//! What gRPC over HTTP/2 asks of a request before it is a call: POST, and a content type that a web
//! page cannot send to another site without being asked first.
//!
//! A browser sends a form, or a script's POST in `text/plain`, to any address with the client
//! certificate that it holds for it; only requests of other content types need the server's leave
//! (fetch.spec.whatwg.org, CORS-safelisted request header). So this is not a formality.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Either, Ready, ready};
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tonic::body::Body;

/// The content types that are taken, each with or without parameters.
const CONTENT_TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];

/// Lets through what may be a call. All else gets a status of HTTP, as no client of gRPC asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtocolLayer;

impl<S> tower::Layer<S> for ProtocolLayer {
    type Service = Protocol<S>;

    fn layer(&self, inner: S) -> Protocol<S> {
        Protocol { inner }
    }
}

/// See [`ProtocolLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Protocol<S> {
    inner: S,
}

type HttpAnswer = Result<Response<Body>, Infallible>;

impl<S> tower::Service<Request<Body>> for Protocol<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, HttpAnswer>, Ready<HttpAnswer>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match refusal(&request) {
            None => Either::Left(self.inner.call(request).boxed()),
            Some(refusal) => Either::Right(ready(Ok(refusal))),
        }
    }
}

/// The answer to what cannot be a call.
fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    let (status, header, value, text) = if request.method() != Method::POST {
        (StatusCode::METHOD_NOT_ALLOWED, ALLOW, "POST", "gRPC calls are POST\n")
    } else if !is_grpc(request) {
        let text = "gRPC calls have one content-type, application/grpc\n";
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT, CONTENT_TYPES[0], text)
    } else {
        return None;
    };
    let mut response = Response::new(Body::new(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header, HeaderValue::from_static(value));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

/// Whether its content type, of which there must be one, is that of gRPC with messages of protobuf.
fn is_grpc<B>(request: &Request<B>) -> bool {
    let mut values = request.headers().get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(text) = value.to_str() else { return false };
    let kind = text.split(';').next().unwrap_or_default().trim();
    CONTENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, content_types: &[&str]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("http://localhost/");
        for value in content_types {
            request = request.header(CONTENT_TYPE, *value);
        }
        refusal(&request.body(()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn calls_pass() {
        for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC", "application/grpc; x=y"] {
            assert_eq!(status("POST", &[kind]), None, "{kind}");
        }
    }

    #[test]
    fn what_a_web_page_may_send_does_not() {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            assert_eq!(status("POST", &[kind]), Some(415), "{kind}");
        }
    }

    #[test]
    fn nor_does_anything_else() {
        let others: [&[&str]; 8] = [
            &[],
            &[""],
            &["application/grpc-web"],
            &["application/grpc+json"],
            &["application/grpcx"],
            &["text/plain; application/grpc"],
            &["application/grpc", "application/grpc"],
            &["text/plain", "application/grpc"],
        ];
        for kinds in others {
            assert_eq!(status("POST", kinds), Some(415), "{kinds:?}");
        }
        for method in ["GET", "PUT", "OPTIONS", "HEAD", "CONNECT", "QUERY"] {
            assert_eq!(status(method, &["application/grpc"]), Some(405), "{method}");
        }
    }
}
