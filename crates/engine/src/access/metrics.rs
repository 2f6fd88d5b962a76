//! Counts who was let in and who was not.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use strum::VariantArray;

use longshore_domain::access::{Proof, Verb};

const KNOWN: &str = "known";
const UNKNOWN: &str = "unknown";
const ERROR: &str = "error";
const TRUE: &str = "true";
const FALSE: &str = "false";

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
    /// Registers them, each series at zero; the registry gives the prefix.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for proof in [Proof::TokenFile, Proof::TokenReview, Proof::ClientCertificate] {
            let _ =
                metrics.authentications.get_or_create(&AuthenticationLabels { proof: proof.as_str(), outcome: KNOWN });
        }
        for outcome in [UNKNOWN, ERROR] {
            let proof = Proof::None.as_str();
            let _ = metrics.authentications.get_or_create(&AuthenticationLabels { proof, outcome });
        }
        for verb in Verb::VARIANTS.iter().map(|verb| verb.as_str()) {
            for allowed in [TRUE, FALSE] {
                let _ = metrics.authorizations.get_or_create(&AuthorizationLabels { verb, allowed });
            }
        }
        registry.register(
            "authentications",
            "Calls that had to show who makes them, by what proved it and whether it did",
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
        self.authentication(proof.as_str(), KNOWN);
    }

    pub(super) fn unknown(&self) {
        self.authentication(Proof::None.as_str(), UNKNOWN);
    }

    /// It could not be found out.
    pub(super) fn undecided(&self) {
        self.authentication(Proof::None.as_str(), ERROR);
    }

    fn authentication(&self, proof: &'static str, outcome: &'static str) {
        self.authentications.get_or_create(&AuthenticationLabels { proof, outcome }).inc();
    }

    pub(super) fn decided(&self, verb: Verb, allowed: bool) {
        let allowed = if allowed { TRUE } else { FALSE };
        self.authorizations.get_or_create(&AuthorizationLabels { verb: verb.as_str(), allowed }).inc();
    }
}
