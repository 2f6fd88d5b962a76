//! Who may call: TLS, authentication and authorization as typed, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use strum::VariantArray;

use super::faults::ConfigFaults;
use longshore_domain::access::{Pattern, Policy, Rule, TokenReviews, Verb};
use longshore_runtime::tls::TlsFiles;

/// How long answers of the cluster about tokens and rights count, unless configured.
const CACHE_TTL: Duration = Duration::from_secs(10);
/// At most: so long may a token that was revoked go on being taken.
const CACHE_TTL_MAX: Duration = Duration::from_secs(300);
/// What tokens have to be for, unless configured.
const AUDIENCE: &str = "longshore";

/// How callers are known besides by their certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Hashed static tokens.
    pub token_file: Option<PathBuf>,
    /// Kubernetes is asked about tokens.
    pub token_review: Option<TokenReviews>,
}

/// What decides about rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// The rules of the configuration.
    Policy(Policy),
    /// Kubernetes, by LocalSubjectAccessReview; an answer counts for so long.
    Kubernetes {
        /// How long.
        cache_ttl: Duration,
    },
}

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Speak TLS with these files.
    pub tls: Option<TlsFiles>,
    /// Tokens.
    pub authentication: Authentication,
    /// Rights; `None` without authentication only.
    pub authorization: Option<Authorization>,
}

impl Access {
    /// Whether callers have to show who they are.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        let Authentication { token_file, token_review } = &self.authentication;
        token_file.is_some() || token_review.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsFile {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthenticationFile {
    token_file: Option<PathBuf>,
    token_review: Option<TokenReviewFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TokenReviewFile {
    audiences: Option<Vec<String>>,
    cache_ttl: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthorizationFile {
    mode: Option<String>,
    cache_ttl: Option<String>,
    rules: Vec<RuleFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleFile {
    users: Vec<String>,
    groups: Vec<String>,
    namespaces: Vec<String>,
    verbs: Vec<String>,
    profiles: Option<Vec<String>>,
}

/// What the three sections mean together.
pub(super) fn resolve(
    tls: TlsFile,
    authentication: AuthenticationFile,
    authorization: AuthorizationFile,
    faults: &mut ConfigFaults,
) -> Access {
    let tls = tls.resolve(faults);
    let authentication = authentication.resolve(faults);
    let mut access = Access { tls, authentication, authorization: None };
    access.authorization = authorization.resolve(access.authenticates(), faults);
    access
}

impl TlsFile {
    fn resolve(self, faults: &mut ConfigFaults) -> Option<TlsFiles> {
        let Self { cert_file, key_file, client_ca_file } = self;
        match (cert_file, key_file) {
            (Some(cert), Some(key)) => return Some(TlsFiles { cert, key, client_ca: client_ca_file }),
            (None, None) if client_ca_file.is_none() => {}
            (None, None) => faults.add("tls.client_ca_file", "needs tls.cert_file and tls.key_file"),
            (Some(_), None) => faults.add("tls.cert_file", "needs tls.key_file"),
            (None, Some(_)) => faults.add("tls.key_file", "needs tls.cert_file"),
        }
        None
    }
}

impl AuthenticationFile {
    fn resolve(self, faults: &mut ConfigFaults) -> Authentication {
        let token_review = self.token_review.map(|TokenReviewFile { audiences, cache_ttl }| {
            let audiences = audiences.unwrap_or_else(|| vec![AUDIENCE.to_owned()]);
            let key = "authentication.token_review";
            if audiences.is_empty() || audiences.iter().any(String::is_empty) {
                // A token for any audience is one that somebody else may have been given.
                faults.add(&format!("{key}.audiences"), "needs at least one audience, such as `longshore`");
            }
            TokenReviews { audiences, cache_ttl: ttl(&format!("{key}.cache_ttl"), cache_ttl.as_deref(), faults) }
        });
        Authentication { token_file: self.token_file, token_review }
    }
}

impl AuthorizationFile {
    fn resolve(self, authenticates: bool, faults: &mut ConfigFaults) -> Option<Authorization> {
        let Self { mode, cache_ttl, rules } = self;
        let Some(mode) = mode else {
            if authenticates {
                let why = "is needed once callers are authenticated: `policy` (rules in this file) or `kubernetes` (rights in the Kubernetes namespaces of runs)";
                faults.add("authorization.mode", why);
            } else if !rules.is_empty() {
                faults.add("authorization.rules", "need authorization.mode = \"policy\"");
            }
            return None;
        };
        if !authenticates {
            let why =
                "needs authentication: authentication.token_file, authentication.token_review or tls.client_ca_file";
            faults.add("authorization.mode", why);
        }
        let is_policy = faults.choice("authorization.mode", &mode, &[("policy", true), ("kubernetes", false)])?;
        if is_policy {
            let rules = rules.into_iter().enumerate().map(|(index, rule)| rule.resolve(index, faults)).collect();
            return Some(Authorization::Policy(Policy { rules }));
        }
        if !rules.is_empty() {
            faults.add("authorization.rules", "are for mode `policy` only: in mode `kubernetes` RoleBindings decide");
        }
        Some(Authorization::Kubernetes { cache_ttl: ttl("authorization.cache_ttl", cache_ttl.as_deref(), faults) })
    }
}

impl RuleFile {
    fn resolve(self, index: usize, faults: &mut ConfigFaults) -> Rule {
        let key = format!("authorization.rules[{index}]");
        if self.users.is_empty() && self.groups.is_empty() {
            faults.add(&key, "needs users or groups");
        }
        if self.namespaces.is_empty() {
            faults.add(&format!("{key}.namespaces"), "needs at least one namespace, or `*` for all");
        }
        if self.verbs.is_empty() {
            faults.add(&format!("{key}.verbs"), format!("needs at least one of {}, or `*` for all", verbs_in_words()));
        }
        let verbs = self.verbs.iter().enumerate().flat_map(|(at, text)| match (text.as_str(), text.parse()) {
            ("*", _) => Verb::VARIANTS.to_vec(),
            (_, Ok(verb)) => vec![verb],
            (_, Err(_)) => {
                faults.add(&format!("{key}.verbs[{at}]"), format!("`{text}` is not one of {}, `*`", verbs_in_words()));
                Vec::new()
            }
        });
        let verbs = verbs.collect();
        let mut patterns = |name: &str, texts: Vec<String>| {
            let parsed = texts.into_iter().enumerate().filter_map(|(at, text)| match Pattern::parse(&text) {
                Ok(pattern) => Some(pattern),
                Err(why) => {
                    faults.add(&format!("{key}.{name}[{at}]"), format!("`{text}` {why}"));
                    None
                }
            });
            parsed.collect()
        };
        Rule {
            users: patterns("users", self.users),
            groups: patterns("groups", self.groups),
            namespaces: patterns("namespaces", self.namespaces),
            verbs,
            profiles: self.profiles,
        }
    }
}

fn verbs_in_words() -> String {
    Verb::VARIANTS.iter().map(|verb| format!("`{verb}`")).collect::<Vec<_>>().join(", ")
}

fn ttl(key: &str, text: Option<&str>, faults: &mut ConfigFaults) -> Duration {
    let ttl = text.and_then(|text| faults.duration(key, text)).unwrap_or(CACHE_TTL);
    if ttl > CACHE_TTL_MAX {
        faults.add(key, "is above 5m: a token that was revoked would still be accepted for that long");
    }
    ttl
}
