//! The questions that each call asks: who makes it, and may they. Every decision is reported in one
//! line of the log, target `longshore::audit`; no token ever is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::{AuthenticationError, Caller, PresentedCredentials};
use crate::Engine;
use crate::error::EngineError;
use longshore_domain::access::{Decision, Identity, Question, Verb, WorkloadRight};
use longshore_domain::name::{NamespaceName, Parent, RunName};

/// How long a stream may go on before its caller has to show who they are again.
const STREAM_MAX: Duration = Duration::from_secs(3600);

/// Longest image that is reported, in bytes.
const IMAGE_LOGGED_MAX: usize = 512;

/// Whether a call may be made.
enum CallAccess {
    Granted,
    /// Not, and the namespace may not even be seen.
    Hidden,
    /// Not, but it may be seen.
    Denied,
}

/// The namespaces that a listing or watch is about.
#[derive(Clone, Debug)]
pub(crate) enum NamespaceScope {
    One(NamespaceName),
    Some(BTreeSet<NamespaceName>),
}

impl NamespaceScope {
    pub(crate) fn contains(&self, run: &RunName) -> bool {
        match self {
            Self::One(namespace) => *namespace == run.namespace,
            Self::Some(namespaces) => namespaces.contains(&run.namespace),
        }
    }
}

impl Engine {
    /// Finds out who calls; what their call requires is for the one who knows the call to add.
    ///
    /// # Errors
    /// Credentials that are missing or not known; a backend that can't be asked about them now.
    pub async fn authenticate(&self, credentials: &PresentedCredentials<'_>) -> Result<Caller, AuthenticationError> {
        let access = &self.inner.access;
        let Some(authentication) = &access.authentication else { return Ok(Caller::default()) };
        match access.identify(authentication, credentials).await {
            Ok(Some(identity)) => {
                access.metrics.authenticated(identity.proof);
                Ok(Caller { identity: Arc::new(identity), verb: None, until: Instant::now().checked_add(STREAM_MAX) })
            }
            Ok(None) => {
                access.metrics.unknown();
                let sent = match credentials.token {
                    Some(_) => "a token that is not known, not for this server, or expired",
                    None => credentials.flaw.unwrap_or("no credentials"),
                };
                tracing::info!(target: "longshore::audit", verb = "authenticate", allowed = false, reason = sent);
                Err(AuthenticationError::Unknown)
            }
            Err(error) => {
                access.metrics.undecided();
                tracing::warn!(%error, "a token can't be reviewed");
                Err(error.into())
            }
        }
    }

    /// Namespaces that the caller may use: those whose runs they may see.
    ///
    /// # Errors
    /// A backend that can't be asked about rights now.
    pub async fn namespaces(&self, caller: &Caller) -> Result<BTreeSet<NamespaceName>, EngineError> {
        self.namespaces_to(caller, Verb::Get).await
    }

    /// Namespaces in which the caller may do this.
    async fn namespaces_to(&self, caller: &Caller, verb: Verb) -> Result<BTreeSet<NamespaceName>, EngineError> {
        let access = &self.inner.access;
        let mut seen = BTreeSet::new();
        for namespace in &self.inner.namespaces {
            let question = Question { verb, namespace, workload: None };
            if access.decide(&caller.identity, &question).await?.allowed {
                seen.insert(namespace.clone());
            }
        }
        if access.decides() {
            access.metrics.decided(verb, !seen.is_empty());
            let reason = seen.iter().map(NamespaceName::as_str).collect::<Vec<_>>().join(",");
            audit(caller, verb, "namespaces/-", None, !seen.is_empty(), &reason);
        }
        Ok(seen)
    }

    /// The namespaces that are meant by `parent`, as far as the caller may make this call there.
    pub(crate) async fn scope(&self, caller: &Caller, parent: &Parent) -> Result<NamespaceScope, EngineError> {
        match parent {
            Parent::All => Ok(NamespaceScope::Some(match self.required_by(caller) {
                Some(verb) => self.namespaces_to(caller, verb).await?,
                None => BTreeSet::new(),
            })),
            Parent::Namespace(namespace) => {
                self.authorize_namespace(caller, namespace).await?;
                Ok(NamespaceScope::One(namespace.clone()))
            }
        }
    }

    /// What the caller's call requires.
    fn required_by(&self, caller: &Caller) -> Option<Verb> {
        // Where nobody decides any verb will do.
        let verb = caller.verb.or_else(|| (!self.inner.access.decides()).then_some(Verb::Get));
        if verb.is_none() {
            tracing::error!("a call of a method that requires no verb needs one; it was refused");
        }
        verb
    }

    /// Refuses a caller who may not make this call in `namespace`.
    pub(crate) async fn authorize_namespace(
        &self,
        caller: &Caller,
        namespace: &NamespaceName,
    ) -> Result<(), EngineError> {
        self.authorize_in(caller, namespace, None, &format!("namespaces/{namespace}")).await
    }

    /// Refuses a caller who may not submit `workload`; `run` is the id of what would come of it, or what the ids of a
    /// batch have in common; `None`: nothing would.
    pub(crate) async fn authorize_submit(
        &self,
        caller: &Caller,
        namespace: &NamespaceName,
        run: Option<&str>,
        workload: WorkloadRight<'_>,
    ) -> Result<(), EngineError> {
        let run = run.map(|run| format!("/runs/{run}")).unwrap_or_default();
        self.authorize_in(caller, namespace, Some(workload), &format!("namespaces/{namespace}{run}")).await
    }

    async fn authorize_in(
        &self,
        caller: &Caller,
        namespace: &NamespaceName,
        workload: Option<WorkloadRight<'_>>,
        resource: &str,
    ) -> Result<(), EngineError> {
        let verb = self.required_by(caller).ok_or_else(|| EngineError::NamespaceNotFound(namespace.clone()))?;
        let question = Question { verb, namespace, workload };
        self.known_to(caller, verb, namespace, resource)?;
        match self.decided(caller, question, resource).await? {
            CallAccess::Granted => Ok(()),
            CallAccess::Hidden => Err(EngineError::NamespaceNotFound(namespace.clone())),
            CallAccess::Denied => Err(EngineError::PermissionDenied {
                verb,
                action: question.action(),
                resource: format!("namespaces/{namespace}"),
                profiles: match verb {
                    Verb::Submit => self.inner.access.profiles_of(&caller.identity, namespace),
                    Verb::Get | Verb::Logs | Verb::Cancel | Verb::Delete => Vec::new(),
                },
            }),
        }
    }

    /// Refuses a caller who may not make this call of this run, whether there is one or not.
    pub(crate) async fn authorize(&self, caller: &Caller, name: &RunName) -> Result<(), EngineError> {
        let missing = || EngineError::RunNotFound(name.clone());
        let verb = self.required_by(caller).ok_or_else(missing)?;
        let resource = name.to_string();
        self.known_to(caller, verb, &name.namespace, &resource).map_err(|_| missing())?;
        let question = Question { verb, namespace: &name.namespace, workload: None };
        match self.decided(caller, question, &resource).await? {
            CallAccess::Granted => Ok(()),
            CallAccess::Hidden => Err(missing()),
            CallAccess::Denied => {
                let action = question.action();
                Err(EngineError::PermissionDenied { verb, action, resource, profiles: Vec::new() })
            }
        }
    }

    /// Refuses a namespace that is not there; a caller that asks for one is in the audit as well.
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

    /// Whether the caller may view this run, which is there already: it is theirs, or they may see
    /// it.
    pub(crate) async fn may_view(
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
    ) -> Result<CallAccess, EngineError> {
        let access = &self.inner.access;
        if !access.decides() {
            return Ok(CallAccess::Granted);
        }
        let Question { verb, namespace, workload } = question;
        let mut decision = access.decide(&caller.identity, &question).await?;
        // Who is let submit or follow need not see more than that. Stopping and deleting is of what one sees.
        let seen = match verb {
            Verb::Get => decision.allowed,
            Verb::Submit | Verb::Logs if decision.allowed => true,
            // Who may submit something there knows that there is such a namespace.
            Verb::Submit if !access.profiles_of(&caller.identity, namespace).is_empty() => true,
            Verb::Submit | Verb::Logs | Verb::Cancel | Verb::Delete => {
                let question = Question { verb: Verb::Get, namespace, workload: None };
                access.decide(&caller.identity, &question).await?.allowed
            }
        };
        if decision.allowed && !seen {
            decision = Decision { allowed: false, reason: format!("{}; but runs may not be viewed", decision.reason) };
        }
        access.metrics.decided(verb, decision.allowed);
        audit(caller, verb, resource, workload, decision.allowed, &decision.reason);
        Ok(match (decision.allowed, seen) {
            (true, _) => CallAccess::Granted,
            (false, true) => CallAccess::Denied,
            (false, false) => CallAccess::Hidden,
        })
    }
}

fn audit(
    caller: &Caller,
    verb: Verb,
    resource: &str,
    workload: Option<WorkloadRight<'_>>,
    allowed: bool,
    reason: &str,
) {
    let (profile, image) = match workload {
        None => (None, None),
        Some(WorkloadRight::Profile(profile)) => (Some(profile), None),
        Some(WorkloadRight::Container(image)) => (None, Some(image).filter(|image| may_be_image(image))),
    };
    let Identity { user, proof, .. } = &*caller.identity;
    let (user, proof, verb) = (user.as_str(), proof.as_str(), verb.as_str());
    tracing::info!(target: "longshore::audit", user, proof, verb, resource, profile, image, allowed, reason);
}

/// Whether this goes into the log as an image: it is asked about before the spec is judged.
fn may_be_image(text: &str) -> bool {
    !text.is_empty() && text.len() <= IMAGE_LOGGED_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
