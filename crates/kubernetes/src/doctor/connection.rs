//! Whether the API server answers, which version it is, and whom it takes us for.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Api;
use kube::api::PostParams;
use kube::client::Body;

use super::check::API_SERVER;
use super::clock;
use crate::api::client::Cluster;
use crate::api::error::{CallError, chain};
use longshore_backend::BackendError;
use longshore_runtime::finding::Finding;

/// The oldest minor version of Kubernetes 1 where everything that is used is on by default.
const MINOR_MIN: u32 = 31;
/// Longest answer that is read.
const ANSWER_MAX: usize = 64 * 1024;

/// An API server that answered.
pub(super) struct Connected {
    pub(super) finding: Finding,
    pub(super) clock: Finding,
    /// Whom the API server takes us for, in words.
    pub(super) who: String,
}

/// What was answered to `GET /version`.
struct VersionAnswer {
    code: u16,
    /// The header `Date`.
    date: Option<String>,
    body: Vec<u8>,
    sent: Timestamp,
    received: Timestamp,
}

pub(super) async fn connect(cluster: &Cluster) -> Result<Connected, Finding> {
    let answer = ask_version(cluster).await.map_err(|cause| cause.finding(cluster))?;
    let clock = clock::judge(answer.date.as_deref(), answer.sent, answer.received);
    let who = match who_am_i(cluster).await {
        Ok(who) => who,
        Err(error) if error.code() == Some(401) => return Err(ConnectionFailure::Unauthorized.finding(cluster)),
        // Older servers, and those that let nobody ask: it is only for the message.
        Err(_) => None,
    };
    let finding = match answer.code {
        401 => return Err(ConnectionFailure::Unauthorized.finding(cluster)),
        200 => judge_version(&cluster.server, &answer.body, who.as_deref()),
        403 => Finding::warning(API_SERVER, &cluster.server, "reachable, but it does not report its version (403)")
            .fix(format!(
                "Longshore needs Kubernetes 1.{MINOR_MIN} or newer; bind system:public-info-viewer to see which it is"
            )),
        code => return Err(ConnectionFailure::Status(code).finding(cluster)),
    };
    Ok(Connected { finding, clock, who: who.unwrap_or_else(|| "the account of these credentials".to_owned()) })
}

async fn ask_version(cluster: &Cluster) -> Result<VersionAnswer, ConnectionFailure> {
    let asked = async {
        let request = http::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError)?;
        let sent = Timestamp::now();
        let response = cluster.client.send(request).await?;
        let received = Timestamp::now();
        let code = response.status().as_u16();
        let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(kube::Error::Service)?;
        Ok(VersionAnswer { code, date, body: body.to_bytes().to_vec(), sent, received })
    };
    match tokio::time::timeout(cluster.request_timeout, asked).await {
        Ok(answer) => answer.map_err(|error: kube::Error| cause_of(&error)),
        Err(_) => Err(ConnectionFailure::TimedOut(cluster.request_timeout)),
    }
}

async fn who_am_i(cluster: &Cluster) -> Result<Option<String>, CallError> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = cluster.call(api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username))
}

/// What the answer of `/version` says; as `who`, if that is known.
fn judge_version(server: &str, body: &[u8], who: Option<&str>) -> Finding {
    let Ok(info) = serde_json::from_slice::<Info>(body) else {
        return Finding::failed(API_SERVER, server, "something answers, but not as an API server of Kubernetes")
            .fix("is the address in the kubeconfig right? a proxy or a login page may answer instead");
    };
    let who = who.map(|who| format!(", as {who}")).unwrap_or_default();
    let reported = format!("Kubernetes {}{who}", info.git_version);
    // Some vendors write `29+`.
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    match (number(&info.major), number(&info.minor)) {
        (Some(1), Some(minor)) if minor < MINOR_MIN => Finding::warning(
            API_SERVER,
            server,
            format!("{reported}: older than 1.{MINOR_MIN}, the oldest that is supported"),
        )
        .fix(format!("upgrade the cluster to Kubernetes 1.{MINOR_MIN} or newer")),
        (Some(_), Some(_)) => Finding::ok(API_SERVER, server, reported),
        _ => Finding::warning(API_SERVER, server, format!("{reported}: a version that cannot be read"))
            .fix(format!("Longshore needs Kubernetes 1.{MINOR_MIN} or newer")),
    }
}

/// The finding for a configuration that names no usable cluster.
pub(super) fn unusable(error: &BackendError) -> Finding {
    Finding::failed(API_SERVER, "the cluster's configuration", error.to_string()).fix(
        "name a kubeconfig with --kubeconfig FILE (and --context NAME); `kubectl --kubeconfig FILE config view` shows \
         what is in it",
    )
}

/// Why there is no usable answer.
#[derive(Debug, PartialEq, Eq)]
enum ConnectionFailure {
    Refused,
    Unresolved(String),
    Tls(String),
    TimedOut(Duration),
    Unauthorized,
    /// The kubeconfig's credentials could not be had: a token file, a plugin.
    Credentials(String),
    Status(u16),
    Other(String),
}

impl ConnectionFailure {
    fn finding(&self, cluster: &Cluster) -> Finding {
        let (message, fix) = self.describe();
        Finding::failed(API_SERVER, &cluster.server, message).fix(fix)
    }

    fn describe(&self) -> (String, &'static str) {
        match self {
            Self::Refused => (
                "connection refused: nothing listens there".to_owned(),
                "is this the right cluster (--kubeconfig, --context), and does its API server run? `kubectl get --raw \
                 /readyz` with the same kubeconfig shows it. localhost:8080 is what tools take when they find no \
                 kubeconfig",
            ),
            Self::Unresolved(why) => (
                format!("its host name cannot be resolved: {why}"),
                "is the host name in the kubeconfig right, and does this machine's DNS know it (VPN)?",
            ),
            Self::Tls(why) => (
                format!("no TLS with it: {why}"),
                "certificate-authority in the kubeconfig must be what signed the API server's certificate, that \
                 certificate must name this host and be valid, and this machine's clock must be right",
            ),
            Self::TimedOut(bound) => (
                format!("no answer within {} s", bound.as_secs()),
                "a firewall, a VPN or a NetworkPolicy may swallow the packets: the daemon's Pod must be allowed out to \
                 the API server. `kubectl get --raw /version` from the same place shows it",
            ),
            Self::Unauthorized => (
                "it refuses these credentials (401 Unauthorized)".to_owned(),
                "the token or the client certificate has expired, was revoked, or is another cluster's: get a new \
                 kubeconfig; in the cluster, restart the Pod if its ServiceAccount was made anew",
            ),
            Self::Credentials(why) => (
                format!("the credentials of the kubeconfig cannot be obtained: {why}"),
                "is the token file there, and is the credential plugin that the kubeconfig names installed here?",
            ),
            Self::Status(code) => (
                format!("it answers {code} to GET /version"),
                "is the address in the kubeconfig that of an API server, and is that healthy? `kubectl get --raw \
                 '/readyz?verbose'` shows what is not",
            ),
            Self::Other(why) => (
                format!("no usable answer: {why}"),
                "`kubectl get --raw /version` with the same kubeconfig from the same place shows whether it is \
                 Longshore",
            ),
        }
    }
}

fn cause_of(error: &kube::Error) -> ConnectionFailure {
    if let kube::Error::Auth(error) = error {
        return ConnectionFailure::Credentials(chain(error));
    }
    if let Some(cause) = known_cause(error) {
        return cause;
    }
    // kube's own words for this are only the name of its variant.
    let text = match error {
        kube::Error::Service(cause) => chain(&**cause),
        other => chain(other),
    };
    if text.contains("dns error") { ConnectionFailure::Unresolved(text) } else { ConnectionFailure::Other(text) }
}

/// The first error in the chain that says by its type what it is.
fn known_cause(error: &(dyn StdError + 'static)) -> Option<ConnectionFailure> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(ConnectionFailure::Tls(tls.to_string()));
    }
    let next = match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Some(ConnectionFailure::Refused),
        // What it wraps is not its source, but the same error again.
        Some(error) => error.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => None,
    };
    known_cause(next.or_else(|| error.source())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_runtime::finding::Status;

    fn judged(major: &str, minor: &str) -> Finding {
        let body = serde_json::json!({
            "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.1"), "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        judge_version("https://a", body.to_string().as_bytes(), Some("alice"))
    }

    #[test]
    fn versions() {
        for (major, minor, status) in [
            ("1", "36", Status::Ok),
            ("1", "31", Status::Ok),
            ("1", "31+", Status::Ok),
            ("2", "0", Status::Ok),
            ("1", "30", Status::Warning),
            ("1", "29+", Status::Warning),
            ("", "", Status::Warning),
        ] {
            let finding = judged(major, minor);
            assert_eq!(finding.status, status, "{finding:?}");
            assert_eq!(finding.fix.is_empty(), status == Status::Ok, "{finding:?}");
            assert!(finding.message.contains("as alice"), "{finding:?}");
        }
        assert_eq!(judge_version("https://a", b"<html>", None).status, Status::Failed);
    }

    #[test]
    fn causes_are_found_below_what_wraps_them() {
        let service = |error: io::Error| kube::Error::Service(Box::new(io::Error::other(Wrapped(error))));
        let refused = service(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(cause_of(&refused), ConnectionFailure::Refused);
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        // As hyper-rustls wraps it: twice.
        let tls = service(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls)));
        assert!(matches!(cause_of(&tls), ConnectionFailure::Tls(why) if why.contains("xpired")));
        let dns = service(io::Error::other("dns error: no such host"));
        assert!(matches!(cause_of(&dns), ConnectionFailure::Unresolved(_)));
        assert!(matches!(cause_of(&service(io::Error::other("x"))), ConnectionFailure::Other(_)));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("connecting failed: {0}")]
    struct Wrapped(#[source] io::Error);
}
