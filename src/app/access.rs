//! Who may call: refuses what would be open to everybody, and makes of the configuration what the
//! engine asks.

use std::path::PathBuf;

use anyhow::bail;

use crate::backend::Backend;
use crate::config::{self, Access, Config, TokenFile};
use crate::engine::{AccessConfig, AuthenticationConfig, AuthorizationConfig};
use crate::runtime::files::Files;

/// Why a configuration is not served with, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}. {way_out}")]
pub(super) struct Refusal {
    /// Why.
    pub(super) what: String,
    /// What to do about it.
    pub(super) way_out: String,
}

/// Refuses to serve beyond loopback what should not be. Otherwise says who can call.
pub(super) fn check_exposure(config: &Config) -> Result<&'static str, Refusal> {
    let Config { listen, access, insecure_no_auth, insecure_plaintext, .. } = config;
    let refused = |what: &str, way_out: &str| {
        Err(Refusal { what: format!("refusing to serve on {listen} {what}"), way_out: way_out.to_owned() })
    };
    if listen.ip().is_loopback() {
        return Ok("only this machine reaches it");
    }
    if *insecure_no_auth && !access.authenticates() {
        return Ok("anyone who reaches it may call, as `insecure_no_auth` says");
    }
    if !access.authenticates() {
        return refused(
            "without authentication: anyone who reaches it could run programs",
            "Configure [authentication] or tls.client_ca_file, listen on 127.0.0.1, or say --insecure-no-auth if \
             something in front of it lets only the right callers through",
        );
    }
    if access.tls.is_none() && !insecure_plaintext {
        return refused(
            "without TLS: tokens would travel in clear",
            "Configure [tls], listen on 127.0.0.1, or say --insecure-plaintext if something in front of it speaks TLS",
        );
    }
    Ok("callers are authenticated")
}

/// Refuses what only a cluster can be asked where there is none; `has_reviews`: whether `backend` can.
pub(super) fn check_reviews(access: &Access, backend: &str, has_reviews: bool) -> Result<(), Refusal> {
    let by_cluster = matches!(access.authorization, Some(config::Authorization::Kubernetes { .. }));
    let keys = [
        ("authentication.token_review", access.authentication.token_review.is_some()),
        ("authorization.mode = \"kubernetes\"", by_cluster),
    ];
    match keys.iter().find(|(_, is_set)| *is_set && !has_reviews) {
        None => Ok(()),
        Some((key, _)) => Err(Refusal {
            what: format!("{key} needs the kubernetes backend; this is `{backend}`"),
            way_out: "Configure authentication.token_file or tls.client_ca_file, with authorization.mode = \"policy\""
                .to_owned(),
        }),
    }
}

/// What the engine asks; a file of tokens is read again whenever it changes.
pub(super) fn configure(access: &Access, backend: &Backend, files: &Files) -> anyhow::Result<AccessConfig> {
    if !access.authenticates() {
        return Ok(AccessConfig::default());
    }
    check_reviews(access, backend.capabilities.backend, backend.reviews.is_some())?;
    let config::Authentication { token_file, token_review } = &access.authentication;
    let authorization = match &access.authorization {
        Some(config::Authorization::Policy(policy)) => AuthorizationConfig::Policy(policy.clone()),
        Some(config::Authorization::Kubernetes { cache_ttl }) => AuthorizationConfig::Backend { cache_ttl: *cache_ttl },
        None => bail!("authorization.mode is needed once callers are authenticated"),
    };
    let follow = |path: PathBuf| files.follow("tokens", vec![path.clone()], move || TokenFile::read(&path));
    let tokens = token_file.clone().map(follow).transpose()?;
    let authentication = AuthenticationConfig { tokens, token_review: token_review.clone() };
    Ok(AccessConfig { authentication: Some(authentication), authorization })
}
