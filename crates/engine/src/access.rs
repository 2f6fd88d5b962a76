//! Who calls and what they may do: what is asked, and of whom.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use longshore_backend::{BackendError, Reviews};
use longshore_domain::access::{
    Decision, Identity, Policy, Question, TOKEN_PREFIX, TokenDigest, TokenReviews, TokenTable,
};
use longshore_domain::name::NamespaceName;

mod cache;
mod caller;
mod calls;
mod metrics;
#[cfg(test)]
mod tests;

use cache::{AccessCache, KnownTokens, TokenCache};
pub use caller::{AuthenticationError, Caller, PresentedCredentials};
pub use metrics::AccessMetrics;

/// Reviews at once, of rights and of tokens that were good before.
const REVIEWS_AT_ONCE: usize = 16;
/// Reviews at once of other tokens: anyone who makes up tokens takes no more of the API server than
/// that, and nothing of those who are known.
const STRANGERS_AT_ONCE: usize = 8;
/// How long a stranger waits for their turn.
const STRANGER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a token that was good is not a stranger.
const KNOWN_TTL: Duration = Duration::from_secs(3600);

/// How callers are known, and what decides about their rights.
#[derive(Clone, Debug, Default)]
pub struct AccessConfig {
    /// How callers are known; `None`: not at all, and everybody may do everything.
    pub authentication: Option<AuthenticationConfig>,
    /// What decides about their rights.
    pub authorization: AuthorizationConfig,
}

/// How callers are known. Client certificates are the transport's to check.
#[derive(Clone, Debug, Default)]
pub struct AuthenticationConfig {
    /// Static tokens, which may change.
    pub tokens: Option<watch::Receiver<Arc<TokenTable>>>,
    /// The backend is asked about tokens.
    pub token_review: Option<TokenReviews>,
}

/// What decides about rights.
#[derive(Clone, Debug, Default)]
pub enum AuthorizationConfig {
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

/// Knows callers and their rights.
pub(super) struct AccessControl {
    authentication: Option<AuthenticationConfig>,
    authorization: AuthorizationConfig,
    reviews: Option<Arc<dyn Reviews>>,
    tokens: TokenCache,
    rights: AccessCache,
    known: KnownTokens,
    at_once: Semaphore,
    strangers: Semaphore,
    metrics: AccessMetrics,
}

impl std::fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("authorization", &self.authorization).finish_non_exhaustive()
    }
}

impl AccessControl {
    pub(super) fn new(config: AccessConfig, reviews: Option<Arc<dyn Reviews>>, metrics: AccessMetrics) -> Self {
        let AccessConfig { authentication, authorization } = config;
        let token_ttl = authentication.as_ref().and_then(|a| a.token_review.as_ref()).map(|review| review.cache_ttl);
        let rights_ttl = match &authorization {
            AuthorizationConfig::Backend { cache_ttl } => *cache_ttl,
            AuthorizationConfig::Everything | AuthorizationConfig::Policy(_) => Duration::ZERO,
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
        authentication: &AuthenticationConfig,
        credentials: &PresentedCredentials<'_>,
    ) -> Result<Option<Identity>, BackendError> {
        let Some(token) = credentials.token else { return Ok(credentials.certificate.clone()) };
        let digest = TokenDigest::of(token);
        if let Some(tokens) = &authentication.tokens {
            let table = Arc::clone(&tokens.borrow());
            if let Some(identity) = table.identify(digest, Timestamp::now()) {
                return Ok(Some(identity));
            }
        }
        match (&authentication.token_review, &self.reviews) {
            // What looks like ours is nobody else's business.
            _ if token.starts_with(TOKEN_PREFIX) => Ok(None),
            (Some(TokenReviews { audiences, .. }), Some(reviews)) => {
                let review = async {
                    let _turn = self.turn(digest).await?;
                    let found = reviews.review_token(token, audiences).await?;
                    if found.is_some() {
                        self.known.add(digest).await;
                    }
                    Ok(found)
                };
                self.tokens.get(digest, review).await
            }
            _ => Ok(None),
        }
    }

    /// The turn of a token to be reviewed.
    async fn turn(&self, token: TokenDigest) -> Result<Option<SemaphorePermit<'_>>, BackendError> {
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
            (AuthorizationConfig::Everything, _) => Ok(Decision { allowed: true, reason: String::new() }),
            (AuthorizationConfig::Policy(policy), _) => Ok(policy.decide(identity, question)),
            (AuthorizationConfig::Backend { .. }, Some(reviews)) => {
                let review = async {
                    let _at_once = self.at_once.acquire().await;
                    reviews.review_access(identity, question).await
                };
                self.rights.get(identity, question, review).await
            }
            (AuthorizationConfig::Backend { .. }, None) => {
                Ok(Decision { allowed: false, reason: "this backend cannot authorize callers".to_owned() })
            }
        }
    }

    /// Profiles that may be submitted to this namespace, if that is known to be some and not all.
    fn profiles_of(&self, identity: &Identity, namespace: &NamespaceName) -> Vec<String> {
        match &self.authorization {
            AuthorizationConfig::Policy(policy) => {
                policy.profiles_of(identity, namespace).into_iter().map(str::to_owned).collect()
            }
            AuthorizationConfig::Everything | AuthorizationConfig::Backend { .. } => Vec::new(),
        }
    }

    fn decides(&self) -> bool {
        !matches!(self.authorization, AuthorizationConfig::Everything)
    }
}

/// Waits until the caller has to show who they are again.
pub(super) async fn stale(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
