//! Who calls and what they may do. Every decision is told in one line of the log, target
//! `longshore::audit`; no token ever is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use super::{Engine, EngineError};
use crate::backend::{BackendError, Reviews};
use crate::domain::access::{Decision, Identity, Policy, Proof, Question, TOKEN_PREFIX, TokenTable, Verb, Workload};
use crate::domain::name::{NamespaceName, Parent};

mod cache;
mod metrics;
#[cfg(test)]
mod tests;

use cache::{AccessCache, KnownTokens, TokenCache};
pub use metrics::AccessMetrics;

/// How long a stream may go on before its caller has to show who they are again.
const STREAM_MAX: Duration = Duration::from_secs(3600);
/// Reviews at once, of rights and of tokens that were good before.
const REVIEWS_AT_ONCE: usize = 16;
/// Reviews at once of other tokens: whoever makes up tokens takes no more of the API server than
/// that, and nothing of those who are known.
const STRANGERS_AT_ONCE: usize = 8;
/// How long a stranger waits for their turn.
const STRANGER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a token that was good is no stranger.
const KNOWN_TTL: Duration = Duration::from_secs(3600);

/// How callers are known, and what decides about their rights.
#[derive(Clone, Debug, Default)]
pub struct AccessConfig {
    /// How callers are known; `None`: not at all, and everybody may do everything.
    pub authentication: Option<Authentication>,
    /// What decides about their rights.
    pub authorization: Authorization,
}

/// How callers are known. Client certificates are the transport's to check.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    /// Static tokens, which may change.
    pub tokens: Option<watch::Receiver<Arc<TokenTable>>>,
    /// The backend is asked about tokens.
    pub token_review: Option<TokenReviews>,
}

/// How the backend is asked about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReviews {
    /// A token has to be for one of these.
    pub audiences: Vec<String>,
    /// How long an answer counts.
    pub cache_ttl: Duration,
}

/// What decides about rights.
#[derive(Clone, Debug, Default)]
pub enum Authorization {
    /// Nothing: everybody may do everything.
    #[default]
    Everything,
    /// The rules of the configuration.
    Policy(Policy),
    /// The backend is asked; an answer counts for so long.
    Backend {
        /// How long.
        cache_ttl: Duration,
    },
}

/// What a call brings along.
#[derive(Clone, Debug, Default)]
pub struct Credentials<'a> {
    /// A bearer token.
    pub token: Option<&'a str>,
    /// Who the client certificate is of, which the transport has checked.
    pub certificate: Option<Identity>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Caller {
    /// Who; of nobody without authentication.
    pub identity: Arc<Identity>,
    /// When they have to show it again; `None`: never.
    pub until: Option<Instant>,
}

/// Why it is not known who calls.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// No credentials, or none that are known. Which of the two is not told.
    #[error("the call has no credentials that are known here")]
    Unknown,
    /// It can't be found out now.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Knows callers and their rights.
pub(super) struct Access {
    authentication: Option<Authentication>,
    authorization: Authorization,
    reviews: Option<Arc<dyn Reviews>>,
    tokens: TokenCache,
    rights: AccessCache,
    known: KnownTokens,
    at_once: Semaphore,
    strangers: Semaphore,
    metrics: AccessMetrics,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("authorization", &self.authorization).finish_non_exhaustive()
    }
}

/// Why something may not be done.
enum Refused {
    /// The namespace may not even be seen.
    Hidden,
    /// It may be seen.
    Denied,
}

/// The namespaces whose runs a listing or watch is about.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    One(NamespaceName),
    Some(BTreeSet<NamespaceName>),
}

impl Scope {
    pub(super) fn contains(&self, namespace: &NamespaceName) -> bool {
        match self {
            Self::One(own) => own == namespace,
            Self::Some(all) => all.contains(namespace),
        }
    }
}

impl Access {
    pub(super) fn new(config: AccessConfig, reviews: Option<Arc<dyn Reviews>>, metrics: AccessMetrics) -> Self {
        let AccessConfig { authentication, authorization } = config;
        let token_ttl = authentication.as_ref().and_then(|a| a.token_review.as_ref()).map(|review| review.cache_ttl);
        let rights_ttl = match &authorization {
            Authorization::Backend { cache_ttl } => *cache_ttl,
            Authorization::Everything | Authorization::Policy(_) => Duration::ZERO,
        };
        Self {
            authentication,
            authorization,
            reviews,
            tokens: TokenCache::new(token_ttl.unwrap_or_default()),
            rights: AccessCache::new(rights_ttl),
            known: KnownTokens::new(KNOWN_TTL),
            at_once: Semaphore::new(REVIEWS_AT_ONCE),
            strangers: Semaphore::new(STRANGERS_AT_ONCE),
            metrics,
        }
    }

    /// Whose credentials they are. A token decides if there is one: a wrong one is not made good by a
    /// certificate.
    async fn identify(
        &self,
        authentication: &Authentication,
        credentials: &Credentials<'_>,
    ) -> Result<Option<Identity>, BackendError> {
        let Some(token) = credentials.token else { return Ok(credentials.certificate.clone()) };
        if let Some(tokens) = &authentication.tokens {
            let table = Arc::clone(&tokens.borrow());
            if let Some(identity) = table.identify(token, Timestamp::now()) {
                return Ok(Some(identity));
            }
        }
        match (&authentication.token_review, &self.reviews) {
            // What looks like ours is nobody else's business.
            _ if token.starts_with(TOKEN_PREFIX) => Ok(None),
            (Some(TokenReviews { audiences, .. }), Some(reviews)) => {
                let review = async {
                    let _turn = self.turn(token).await?;
                    let found = reviews.review_token(token, audiences).await?;
                    if found.is_some() {
                        self.known.add(token).await;
                    }
                    Ok(found)
                };
                self.tokens.get(token, review).await
            }
            _ => Ok(None),
        }
    }

    /// The turn of a token to be reviewed.
    async fn turn(&self, token: &str) -> Result<Option<SemaphorePermit<'_>>, BackendError> {
        // An error would mean that a semaphore is closed, which none ever is.
        if self.known.has(token) {
            return Ok(self.at_once.acquire().await.ok());
        }
        match tokio::time::timeout(STRANGER_PATIENCE, self.strangers.acquire()).await {
            Ok(turn) => Ok(turn.ok()),
            Err(_elapsed) => Err(BackendError::Throttled { what: "reviewing a token".to_owned(), retry_after: None }),
        }
    }

    async fn decide(&self, identity: &Arc<Identity>, question: &Question<'_>) -> Result<Decision, BackendError> {
        match (&self.authorization, &self.reviews) {
            (Authorization::Everything, _) => Ok(Decision { allowed: true, reason: String::new() }),
            (Authorization::Policy(policy), _) => Ok(policy.decide(identity, question)),
            (Authorization::Backend { .. }, Some(reviews)) => {
                let review = async {
                    let _at_once = self.at_once.acquire().await;
                    reviews.review_access(identity, question).await
                };
                self.rights.get(identity, question, review).await
            }
            (Authorization::Backend { .. }, None) => {
                Ok(Decision { allowed: false, reason: "this backend knows no rights".to_owned() })
            }
        }
    }

    fn decides(&self) -> bool {
        !matches!(self.authorization, Authorization::Everything)
    }
}

impl Engine {
    /// Finds out who calls.
    ///
    /// # Errors
    /// Credentials that are missing or not known; a backend that can't be asked about them now.
    pub async fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Caller, AuthenticationError> {
        let access = &self.inner.access;
        let Some(authentication) = &access.authentication else { return Ok(Caller::default()) };
        match access.identify(authentication, credentials).await {
            Ok(Some(identity)) => {
                access.metrics.authenticated(identity.proof);
                Ok(Caller { identity: Arc::new(identity), until: Instant::now().checked_add(STREAM_MAX) })
            }
            Ok(None) => {
                access.metrics.unknown();
                let sent = match (credentials.token, &credentials.certificate) {
                    (Some(_), _) => "a token that is not known, not for this server, or expired",
                    (None, Some(_)) => "a certificate",
                    (None, None) => "no credentials",
                };
                tracing::info!(target: "longshore::audit", verb = "authenticate", allowed = false, reason = sent);
                Err(AuthenticationError::Unknown)
            }
            Err(error) => {
                access.metrics.undecided();
                tracing::warn!(%error, "it can't be found out whose a token is");
                Err(error.into())
            }
        }
    }

    /// Namespaces that the caller may use: those whose runs they may see.
    ///
    /// # Errors
    /// A backend that can't be asked about rights now.
    pub async fn namespaces(&self, caller: &Caller) -> Result<BTreeSet<NamespaceName>, EngineError> {
        let access = &self.inner.access;
        let mut seen = BTreeSet::new();
        for namespace in &self.inner.namespaces {
            let question = Question { verb: Verb::Get, namespace, workload: None };
            if access.decide(&caller.identity, &question).await?.allowed {
                seen.insert(namespace.clone());
            }
        }
        if access.decides() {
            access.metrics.decided(Verb::Get, !seen.is_empty());
            let reason = seen.iter().map(NamespaceName::as_str).collect::<Vec<_>>().join(",");
            audit(caller, Verb::Get, "namespaces/-", None, !seen.is_empty(), &reason);
        }
        Ok(seen)
    }

    /// The namespaces that are meant by `parent`, as far as the caller may see them.
    pub(super) async fn scope(&self, caller: &Caller, parent: &Parent) -> Result<Scope, EngineError> {
        match parent {
            Parent::All => Ok(Scope::Some(self.namespaces(caller).await?)),
            Parent::Namespace(namespace) => {
                self.may_in(caller, Verb::Get, namespace, None).await?;
                Ok(Scope::One(namespace.clone()))
            }
        }
    }

    /// Refuses what the caller may not do in `namespace`.
    pub(super) async fn may_in(
        &self,
        caller: &Caller,
        verb: Verb,
        namespace: &NamespaceName,
        workload: Option<Workload<'_>>,
    ) -> Result<(), EngineError> {
        let resource = format!("namespaces/{namespace}");
        self.known_to(caller, verb, namespace, &resource)?;
        match self.decided(caller, Question { verb, namespace, workload }, &resource).await? {
            Ok(()) => Ok(()),
            Err(Refused::Hidden) => Err(EngineError::NamespaceNotFound(namespace.clone())),
            Err(Refused::Denied) => Err(EngineError::PermissionDenied { verb, resource }),
        }
    }

    /// Refuses what the caller may not do with this run, whether there is one or not.
    pub(super) async fn may(
        &self,
        caller: &Caller,
        verb: Verb,
        name: &crate::domain::name::RunName,
    ) -> Result<(), EngineError> {
        let missing = || EngineError::RunNotFound(name.clone());
        let resource = name.to_string();
        self.known_to(caller, verb, &name.namespace, &resource).map_err(|_| missing())?;
        let question = Question { verb, namespace: &name.namespace, workload: None };
        match self.decided(caller, question, &resource).await? {
            Ok(()) => Ok(()),
            Err(Refused::Hidden) => Err(missing()),
            Err(Refused::Denied) => Err(EngineError::PermissionDenied { verb, resource }),
        }
    }

    /// Refuses a namespace that is not there; who asks for one is told in the audit as well.
    fn known_to(
        &self,
        caller: &Caller,
        verb: Verb,
        namespace: &NamespaceName,
        resource: &str,
    ) -> Result<(), EngineError> {
        let known = self.known(namespace);
        if known.is_err() && self.inner.access.decides() {
            self.inner.access.metrics.decided(verb, false);
            audit(caller, verb, resource, None, false, "there is no such namespace");
        }
        known
    }

    /// Whether the caller may be told of this run, which is there already: it is theirs, or they may
    /// see it.
    pub(super) async fn may_be_told(
        &self,
        caller: &Caller,
        namespace: &NamespaceName,
        submitter: &str,
    ) -> Result<bool, EngineError> {
        let access = &self.inner.access;
        if !access.decides() || caller.identity.user == submitter {
            return Ok(true);
        }
        let question = Question { verb: Verb::Get, namespace, workload: None };
        Ok(access.decide(&caller.identity, &question).await?.allowed)
    }

    async fn decided(
        &self,
        caller: &Caller,
        question: Question<'_>,
        resource: &str,
    ) -> Result<Result<(), Refused>, EngineError> {
        let access = &self.inner.access;
        if !access.decides() {
            return Ok(Ok(()));
        }
        let Question { verb, namespace, workload } = question;
        let decision = access.decide(&caller.identity, &question).await?;
        access.metrics.decided(verb, decision.allowed);
        audit(caller, verb, resource, workload, decision.allowed, &decision.reason);
        // Who is let submit or follow need not see more than that. Stopping and deleting is of what one sees.
        if decision.allowed && !matches!(verb, Verb::Cancel | Verb::Delete) {
            return Ok(Ok(()));
        }
        let seen = match verb {
            Verb::Get => false,
            _ => {
                let question = Question { verb: Verb::Get, namespace, workload: None };
                access.decide(&caller.identity, &question).await?.allowed
            }
        };
        Ok(match (seen, decision.allowed) {
            (true, true) => Ok(()),
            (true, false) => Err(Refused::Denied),
            (false, _) => Err(Refused::Hidden),
        })
    }
}

fn audit(caller: &Caller, verb: Verb, resource: &str, workload: Option<Workload<'_>>, allowed: bool, reason: &str) {
    let workload = match workload {
        None => "",
        Some(Workload::Container) => "container",
        Some(Workload::Profile(profile)) => profile,
    };
    let Identity { user, proof, .. } = &*caller.identity;
    let (user, proof, verb) = (user.as_str(), proof.as_str(), verb.as_str());
    tracing::info!(target: "longshore::audit", user, proof, verb, resource, workload, allowed, reason);
}

/// Waits until the caller has to show who they are again.
pub(super) async fn stale(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Caller {
    /// Who calls, where nothing proved it.
    #[must_use]
    pub fn unproven(user: &str) -> Self {
        let identity = Identity { user: user.to_owned(), proof: Proof::None, ..Identity::default() };
        Self { identity: Arc::new(identity), until: None }
    }
}
