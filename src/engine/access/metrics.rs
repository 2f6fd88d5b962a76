//! Counts who was let in and who was not.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::access::{Proof, Verb};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AuthenticationLabels {
    proof: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AuthorizationLabels {
    verb: &'static str,
    allowed: &'static str,
}

/// Metrics of access. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AccessMetrics {
    authentications: Family<AuthenticationLabels, Counter>,
    authorizations: Family<AuthorizationLabels, Counter>,
}

impl AccessMetrics {
    /// Registers them; the registry gives the prefix.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "authentications",
            "Calls by what proved who called, and whether it was known",
            metrics.authentications.clone(),
        );
        registry.register(
            "authorizations",
            "Decisions about what callers may do, by verb",
            metrics.authorizations.clone(),
        );
        metrics
    }

    pub(super) fn authenticated(&self, proof: Proof) {
        self.authentication(proof.as_str(), "known");
    }

    pub(super) fn unknown(&self) {
        self.authentication(Proof::None.as_str(), "unknown");
    }

    /// It could not be found out.
    pub(super) fn undecided(&self) {
        self.authentication(Proof::None.as_str(), "error");
    }

    fn authentication(&self, proof: &'static str, outcome: &'static str) {
        self.authentications.get_or_create(&AuthenticationLabels { proof, outcome }).inc();
    }

    pub(super) fn decided(&self, verb: Verb, allowed: bool) {
        let allowed = if allowed { "true" } else { "false" };
        self.authorizations.get_or_create(&AuthorizationLabels { verb: verb.as_str(), allowed }).inc();
    }
}
