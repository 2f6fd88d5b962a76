//! Who may call: refuses what would be open to everybody, and makes of the configuration what the
//! engine asks.

use std::path::PathBuf;

use anyhow::bail;

use crate::backend::Backend;
use crate::config::{self, Access, Config, TokenFile};
use crate::engine::{AccessConfig, Authentication, Authorization};
use crate::runtime::files::Files;

/// Refuses to serve beyond loopback what should not be.
pub(super) fn check_exposure(config: &Config) -> anyhow::Result<()> {
    let Config { listen, access, insecure_no_auth, insecure_plaintext, .. } = config;
    if listen.ip().is_loopback() || *insecure_no_auth && !access.authenticates() {
        return Ok(());
    }
    if !access.authenticates() {
        bail!(
            "refusing to serve on {listen} without authentication: whoever reaches it could run programs. Configure \
             [authentication] or tls.client_ca_file, listen on 127.0.0.1, or say --insecure-no-auth if something in \
             front of it lets only the right callers through"
        );
    }
    if access.tls.is_none() && !insecure_plaintext {
        bail!(
            "refusing to serve on {listen} without TLS: tokens would travel in clear. Configure [tls], listen on \
             127.0.0.1, or say --insecure-plaintext if something in front of it speaks TLS"
        );
    }
    Ok(())
}

/// What the engine asks; a file of tokens is read again whenever it changes.
pub(super) fn configure(access: &Access, backend: &Backend, files: &Files) -> anyhow::Result<AccessConfig> {
    if !access.authenticates() {
        return Ok(AccessConfig::default());
    }
    let config::Authentication { token_file, token_review } = &access.authentication;
    let knows = |key: &str| match &backend.reviews {
        Some(_) => Ok(()),
        None => bail!("{key} needs the kubernetes backend; this is `{}`", backend.capabilities.backend),
    };
    if token_review.is_some() {
        knows("authentication.token_review")?;
    }
    let authorization = match &access.authorization {
        Some(config::Authorization::Policy(policy)) => Authorization::Policy(policy.clone()),
        Some(config::Authorization::Kubernetes { cache_ttl }) => {
            knows("authorization.mode = \"kubernetes\"")?;
            Authorization::Backend { cache_ttl: *cache_ttl }
        }
        None => bail!("authorization.mode is needed once callers are authenticated"),
    };
    let follow = |path: PathBuf| files.follow("tokens", vec![path.clone()], move || TokenFile::read(&path));
    let tokens = token_file.clone().map(follow).transpose()?;
    let authentication = Authentication { tokens, token_review: token_review.clone() };
    Ok(AccessConfig { authentication: Some(authentication), authorization })
}
