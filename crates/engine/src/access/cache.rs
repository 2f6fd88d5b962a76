//! Answers of the backend about tokens and rights, for a short and bounded time. Anyone who asks
//! the same meanwhile waits for the one answer; what could not be answered is not kept.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use longshore_backend::BackendError;
use longshore_domain::access::{Decision, Identity, Question, TokenDigest, Verb};
use longshore_domain::name::NamespaceName;

/// Answers kept at most.
const CAPACITY: u64 = 10_000;

fn cache<K, V>(ttl: Duration) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(CAPACITY).time_to_live(ttl).build()
}

/// Whose tokens are, by their hashes.
pub(super) struct TokenCache(Cache<TokenDigest, Option<Identity>>);

impl TokenCache {
    pub(super) fn new(ttl: Duration) -> Self {
        Self(cache(ttl))
    }

    pub(super) async fn get(
        &self,
        token: TokenDigest,
        review: impl Future<Output = Result<Option<Identity>, BackendError>>,
    ) -> Result<Option<Identity>, BackendError> {
        self.0.try_get_with(token, review).await.map_err(shared)
    }
}

/// What a decision of the backend depends on; it knows no profiles.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct DecisionKey {
    identity: Arc<Identity>,
    verb: Verb,
    namespace: NamespaceName,
}

/// Tokens that were good not long ago.
pub(super) struct KnownTokens(Cache<TokenDigest, ()>);

impl KnownTokens {
    pub(super) fn new(ttl: Duration) -> Self {
        Self(cache(ttl))
    }

    pub(super) async fn add(&self, token: TokenDigest) {
        self.0.insert(token, ()).await;
    }

    pub(super) fn has(&self, token: TokenDigest) -> bool {
        self.0.contains_key(&token)
    }
}

/// What callers may do.
pub(super) struct AccessCache(Cache<DecisionKey, Decision>);

impl AccessCache {
    pub(super) fn new(ttl: Duration) -> Self {
        Self(cache(ttl))
    }

    pub(super) async fn get(
        &self,
        identity: &Arc<Identity>,
        question: &Question<'_>,
        review: impl Future<Output = Result<Decision, BackendError>>,
    ) -> Result<Decision, BackendError> {
        let asked =
            DecisionKey { identity: Arc::clone(identity), verb: question.verb, namespace: question.namespace.clone() };
        self.0.try_get_with(asked, review).await.map_err(shared)
    }
}

/// An error that several waited for.
fn shared(error: Arc<BackendError>) -> BackendError {
    Arc::try_unwrap(error).unwrap_or_else(|error| match &*error {
        BackendError::Denied { what, message } => BackendError::Denied { what: what.clone(), message: message.clone() },
        other => BackendError::Unavailable { what: "asking about rights".to_owned(), message: other.to_string() },
    })
}
