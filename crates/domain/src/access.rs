//! Who calls, and what they may do: identities, static tokens, and the policy of a configuration.
//! Knows no wire, no file and no cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use super::name::NamespaceName;

mod policy;
mod tokens;

pub use policy::{Pattern, Policy, Rule};
pub use tokens::{TOKEN_PREFIX, TokenDigest, TokenEntry, TokenTable};

/// Who calls, in Kubernetes' own terms: a user name and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// User name; empty where nobody is authenticated.
    pub user: String,
    /// Unique among all users there ever were; empty if not known.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else the authenticator reports an authorizer.
    pub extra: BTreeMap<String, Vec<String>>,
    /// What proved it.
    pub proof: Proof,
}

/// What proved an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Proof {
    /// Nothing: there is no authentication.
    #[default]
    None,
    /// A static token.
    TokenFile,
    /// A token that Kubernetes knows.
    TokenReview,
    /// A client certificate.
    ClientCertificate,
}

impl Proof {
    /// For logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a caller wants to do in a namespace.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Verb {
    /// Submit runs.
    Submit,
    /// See runs: get, list, watch, wait for them, read their results.
    Get,
    /// Read their output.
    Logs,
    /// Stop them.
    Cancel,
    /// Delete finished ones.
    Delete,
}

impl Verb {
    /// As it is written in a policy and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a backend is asked about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReviews {
    /// A token has to be for one of these.
    pub audiences: Vec<String>,
    /// How long an answer counts.
    pub cache_ttl: Duration,
}

/// What a submit wants to execute, as far as rights care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadRight<'a> {
    /// An image of the caller's own choice, as it was typed.
    Container(&'a str),
    /// A profile.
    Profile(&'a str),
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// What is wanted.
    pub verb: Verb,
    /// Where.
    pub namespace: &'a NamespaceName,
    /// For a submit: what is to be executed.
    pub workload: Option<WorkloadRight<'a>>,
}

impl Question<'_> {
    /// What is wanted in words, before what it is wanted of: `cancel`, `submit images of your own to`.
    #[must_use]
    pub fn action(&self) -> String {
        match (self.verb, self.workload) {
            (Verb::Submit, Some(WorkloadRight::Profile(profile))) => format!("submit runs of profile `{profile}` to"),
            (Verb::Submit, Some(WorkloadRight::Container(_))) => "submit images of your own to".to_owned(),
            (Verb::Submit, None) => "submit to".to_owned(),
            (Verb::Get, _) => "see".to_owned(),
            (Verb::Logs, _) => "read the output of".to_owned(),
            (Verb::Cancel, _) => "cancel".to_owned(),
            (Verb::Delete, _) => "delete".to_owned(),
        }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why, for the operator's log; never sent to the caller.
    pub reason: String,
}
