//! Who is known by what, and what an answer of the backend costs. The rest through gRPC.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use longshore_domain::access::Verb;
use longshore_domain::access::{Proof, TokenDigest, TokenEntry};
use longshore_domain::name::NamespaceName;

/// Knows the token `cluster`, of `robot`, who may see everything and nothing else.
#[derive(Default)]
struct Cluster {
    asked: AtomicUsize,
    broken: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Reviews for Cluster {
    async fn review_token(&self, token: &str, audiences: &[String]) -> Result<Option<Identity>, BackendError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(audiences, ["longshore"]);
        if self.broken.load(Ordering::SeqCst) {
            return Err(BackendError::Unavailable { what: "x".to_owned(), message: "y".to_owned() });
        }
        let robot = Identity { user: "robot".to_owned(), proof: Proof::TokenReview, ..Identity::default() };
        Ok((token == "cluster").then_some(robot))
    }

    async fn review_access(&self, _: &Identity, question: &Question<'_>) -> Result<Decision, BackendError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Decision { allowed: question.verb == Verb::Get, reason: String::new() })
    }
}

fn tokens() -> watch::Receiver<Arc<TokenTable>> {
    let entry =
        TokenEntry { digest: TokenDigest::of("static"), user: "ci".to_owned(), groups: Vec::new(), expire_time: None };
    watch::channel(Arc::new(TokenTable::new(vec![entry]))).1
}

fn access(cluster: &Arc<Cluster>) -> (AccessControl, AuthenticationConfig) {
    let token_review = TokenReviews { audiences: vec!["longshore".to_owned()], cache_ttl: Duration::from_secs(60) };
    let authentication = AuthenticationConfig { tokens: Some(tokens()), token_review: Some(token_review) };
    let config = AccessConfig {
        authentication: Some(authentication.clone()),
        authorization: AuthorizationConfig::Backend { cache_ttl: Duration::from_secs(60) },
    };
    let reviews: Arc<dyn Reviews> = Arc::<Cluster>::clone(cluster);
    (AccessControl::new(config, Some(reviews), AccessMetrics::default()), authentication)
}

fn with_token(token: &str) -> PresentedCredentials<'_> {
    PresentedCredentials { token: Some(token), ..PresentedCredentials::default() }
}

fn certificate() -> Identity {
    Identity { user: "alice".to_owned(), proof: Proof::ClientCertificate, ..Identity::default() }
}

#[tokio::test]
async fn a_token_decides_before_a_certificate() {
    let cluster = Arc::new(Cluster::default());
    let (access, authentication) = access(&cluster);
    let user = async |credentials: PresentedCredentials<'_>| {
        access.identify(&authentication, &credentials).await.unwrap().map(|identity| identity.user)
    };
    assert_eq!(user(with_token("static")).await.as_deref(), Some("ci"));
    assert_eq!(cluster.asked.load(Ordering::SeqCst), 0, "the cluster is not asked about what is known");
    assert_eq!(user(with_token("cluster")).await.as_deref(), Some("robot"));
    assert_eq!(user(with_token("nobody's")).await, None);
    assert_eq!(user(PresentedCredentials::default()).await, None);
    let both = |token| PresentedCredentials { token, certificate: Some(certificate()), flaw: None };
    assert_eq!(user(both(None)).await.as_deref(), Some("alice"));
    assert_eq!(user(both(Some("static"))).await.as_deref(), Some("ci"));
    assert_eq!(user(both(Some("nobody's"))).await, None, "a certificate does not make a wrong token good");
}

#[tokio::test]
async fn an_answer_counts_for_a_while_and_a_failure_does_not() {
    let cluster = Arc::new(Cluster::default());
    let (access, authentication) = access(&cluster);
    cluster.broken.store(true, Ordering::SeqCst);
    assert!(access.identify(&authentication, &with_token("cluster")).await.is_err());
    cluster.broken.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(access.identify(&authentication, &with_token("cluster")).await.unwrap().is_some());
        assert!(access.identify(&authentication, &with_token("nobody's")).await.unwrap().is_none());
    }
    assert_eq!(cluster.asked.load(Ordering::SeqCst), 3, "one failure, one known, one not");
}

#[tokio::test]
async fn rights_are_asked_once_for_each_question() {
    let cluster = Arc::new(Cluster::default());
    let (access, _) = access(&cluster);
    let namespace = NamespaceName::default_namespace();
    let (robot, alice) = (Arc::new(Identity::default()), Arc::new(certificate()));
    for _ in 0..2 {
        for (identity, verb, allowed) in
            [(&robot, Verb::Get, true), (&robot, Verb::Cancel, false), (&alice, Verb::Get, true)]
        {
            let question = Question { verb, namespace: &namespace, workload: None };
            assert_eq!(access.decide(identity, &question).await.unwrap().allowed, allowed);
        }
    }
    assert_eq!(cluster.asked.load(Ordering::SeqCst), 3);
}
