//! Finds out who calls, before anything else is done for them. Health stays open: the kubelet has no
//! credentials.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use tonic::body::Body;
use tonic::transport::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::domain::access::{Identity, Proof};
use crate::engine::{Caller, Credentials, Engine};
use crate::grpc::status;
use crate::runtime::certificate::Certificate;

/// What is answered to everybody.
const OPEN: &str = "/grpc.health.v1.Health/";

/// Lets in who is known.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct AccessLayer {
    /// Knows who is; `None`: everybody is let in.
    pub(in crate::grpc) engine: Option<Engine>,
}

impl<S> tower::Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, engine: self.engine.clone() }
    }
}

/// See [`AccessLayer`].
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Access<S> {
    inner: S,
    engine: Option<Engine>,
}

impl<S> tower::Service<Request<Body>> for Access<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let engine = self.engine.clone().filter(|_| !request.uri().path().starts_with(OPEN));
        // The one that is ready, and not its clone, has to take the call.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let caller = match engine {
                None => Caller::default(),
                Some(engine) => {
                    let (certificate, flaw) = match certificate(&request) {
                        None => (None, None),
                        Some(Ok(identity)) => (Some(identity), None),
                        Some(Err(flaw)) => (None, Some(flaw)),
                    };
                    let credentials = Credentials { token: bearer(request.headers()), certificate, flaw };
                    match engine.authenticate(&credentials).await {
                        Ok(caller) => caller,
                        Err(error) => return Ok(status::unauthenticated(&error).into_http()),
                    }
                }
            };
            tracing::Span::current().record("user", caller.identity.user.as_str());
            request.extensions_mut().insert(caller);
            inner.call(request).await
        })
    }
}

/// The token of a header `authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// Who the client certificate is of, as Kubernetes reads it: its common name is the user, its
/// organizations are the groups (kubernetes.io/docs/reference/access-authn-authz/authentication). Else
/// why it is of nobody; `None`: there is none.
fn certificate<B>(request: &Request<B>) -> Option<Result<Identity, &'static str>> {
    let certificates = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>()?.peer_certs()?;
    Some(identity(certificates.first()?))
}

fn identity(certificate: &CertificateDer<'_>) -> Result<Identity, &'static str> {
    let read = Certificate::from_der(certificate).map_err(|_| "a client certificate that cannot be read")?;
    let Certificate { common_name, common_names, organizations, not_after, .. } = read;
    // It was valid when the connection began, which may be long ago.
    if not_after <= SystemTime::now() {
        return Err("a client certificate that has expired");
    }
    match (common_name, common_names) {
        (Some(user), _) if !user.is_empty() => {
            Ok(Identity { user, groups: organizations, proof: Proof::ClientCertificate, ..Identity::default() })
        }
        (_, 2..) => Err("a client certificate with more than one common name"),
        _ => Err("a client certificate without a common name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_bearer() {
        let token = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("Bearer"), None);
        assert_eq!(token("Bearer  "), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
