//! Finds out who calls, before anything else is done for them, and gives them their share of what all calls have
//! together. Health stays open: the kubelet has no credentials.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use tonic::body::Body;
use tonic::transport::CertificateDer;
use tonic::transport::server::TlsConnectInfo;

use crate::server::budget::{self, Budget, Full, Hold, Who};
use crate::server::peer::Peer;
use crate::server::sizes::message_max;
use crate::status;
use longshore_api::v1;
use longshore_domain::access::{Identity, Proof, Verb};
use longshore_engine::{Caller, Engine, PresentedCredentials};
use longshore_runtime::certificate::Certificate;

use super::answer::{AnswerBody, KeptBytes};
use super::peer;
use super::request::{RequestBody, RequestRoom};

/// What is answered to everybody.
const OPEN: &str = "/grpc.health.v1.Health/";
/// Reflection, of whatever version.
const REFLECTION: &str = "/grpc.reflection.";
/// Calls that last as long as their callers want.
const STREAMS: [&str; 2] = ["/longshore.v1.RunService/WatchRuns", "/longshore.v1.RunService/StreamLogs"];

/// Lets in who is known.
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer {
    /// Knows who is; `None`: everybody is let in.
    pub(crate) engine: Option<Engine>,
    /// What all calls have together.
    pub(crate) budget: Arc<Budget>,
}

impl<S> tower::Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> AccessService<S> {
        AccessService { inner, engine: self.engine.clone(), budget: Arc::clone(&self.budget) }
    }
}

/// See [`AccessLayer`].
#[derive(Clone, Debug)]
pub(crate) struct AccessService<S> {
    inner: S,
    engine: Option<Engine>,
    budget: Arc<Budget>,
}

impl<S> tower::Service<Request<Body>> for AccessService<S>
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_open = request.uri().path().starts_with(OPEN);
        let is_stream = STREAMS.contains(&request.uri().path());
        // Their callers may be silent in the middle.
        let lasts = is_stream || is_open || request.uri().path().starts_with(REFLECTION);
        let engine = self.engine.clone().filter(|_| !is_open);
        let budget = Arc::clone(&self.budget);
        let peer = peer(&request).cloned();
        let max = message_max(request.uri().path());
        let verb = required_verb(request.uri().path());
        // The one that is ready, and not its clone, has to take the call.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            // Any client, until it is known.
            let mut who = Who {
                caller: budget::Consumer::Address(peer.as_ref().and_then(Peer::network)),
                connection: peer.as_ref().map_or(0, Peer::number),
            };
            let open = peer.as_ref().map(Peer::call);
            let mut holds = match first_share(&budget, &who, is_open) {
                Ok(holds) => holds,
                Err(full) => return Ok(too_many_calls(full)),
            };
            let mut caller = match engine {
                None => Caller::default(),
                Some(engine) => {
                    let (certificate, flaw) = match certificate(&request) {
                        Ok(identity) => (identity, None),
                        Err(flaw) => (None, Some(flaw)),
                    };
                    let credentials = PresentedCredentials { token: bearer(request.headers()), certificate, flaw };
                    match engine.authenticate(&credentials).await {
                        Ok(caller) => {
                            if let Some(peer) = &peer {
                                peer.known();
                            }
                            caller
                        }
                        Err(error) => return Ok(status::unauthenticated(&error).into_http()),
                    }
                }
            };
            caller.verb = verb;
            if !caller.identity.user.is_empty() {
                who.caller = budget::Consumer::User(caller.identity.user.as_str().into());
                // Theirs, and no longer that of their address.
                holds.clear();
                match budget.calls.take(&who, 1) {
                    Ok(hold) => holds.push(hold),
                    Err(full) => return Ok(too_many_calls(full)),
                }
            }
            if is_stream {
                match budget.streams.take(&who, 1) {
                    Ok(hold) => holds.push(hold),
                    Err(full) => {
                        let of = full.of();
                        return Ok(status::busy(&format!("too many logs and runs of {of} are followed")).into_http());
                    }
                }
            }
            let room = RequestRoom::default();
            let (ledger, reader) = (budget.requests.clone(), who.clone());
            let kept = Arc::clone(&room);
            let mut request = request.map(|body| Body::new(RequestBody::new(body, max, ledger, reader, kept)));
            tracing::Span::current().record("user", caller.identity.user.as_str());
            request.extensions_mut().insert(caller);
            let mut response = inner.call(request).await?;
            // What was read of the request is done with.
            drop(room);
            if let Some(KeptBytes(bytes)) = response.extensions_mut().remove() {
                match budget.answers.take(&who, bytes) {
                    Ok(hold) => holds.push(hold),
                    Err(full) => return Ok(status::unread_answers(full.of()).into_http()),
                }
            }
            let answers = budget.answers.clone();
            Ok(response.map(|body| Body::new(AnswerBody::new(body, lasts, answers, who, (holds, open)))))
        })
    }
}

/// What a call takes before it is known whose it is.
fn first_share(budget: &Budget, who: &Who, is_open: bool) -> Result<Vec<Hold>, Full> {
    let mut holds = vec![budget.calls.take(who, 1)?];
    if is_open {
        holds.push(budget.open_calls.take(who, 1)?);
    }
    Ok(holds)
}

fn too_many_calls(full: Full) -> Response<Body> {
    status::busy(&format!("too many calls of {} are open", full.of())).into_http()
}

/// What the method with this path requires of its caller.
fn required_verb(path: &str) -> Option<Verb> {
    match longshore_api::required_verb(path)? {
        v1::Verb::Unspecified | v1::Verb::None => None,
        v1::Verb::Submit => Some(Verb::Submit),
        v1::Verb::Get => Some(Verb::Get),
        v1::Verb::Logs => Some(Verb::Logs),
        v1::Verb::Cancel => Some(Verb::Cancel),
        v1::Verb::Delete => Some(Verb::Delete),
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
fn certificate<B>(request: &Request<B>) -> Result<Option<Identity>, &'static str> {
    let certificates = request.extensions().get::<TlsConnectInfo<Peer>>().and_then(TlsConnectInfo::peer_certs);
    certificates.as_ref().and_then(|certificates| certificates.first()).map(identity).transpose()
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
