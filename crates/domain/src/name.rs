//! Names of resources, and the names of Kubernetes objects that follow from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::notation::violation::Violation;

/// Longest run id: with the Job's prefix and a Pod's suffix it stays within a DNS label of 63.
pub const RUN_ID_MAX: usize = 48;
/// Characters of a generated id behind its prefix: 80 bits.
const GENERATED_CHARACTERS: usize = 16;
/// Longest batch id: with `-` and an index of three digits it is a run id.
pub const BATCH_ID_MAX: usize = RUN_ID_MAX - 4;
/// Longest request id.
pub const REQUEST_ID_MAX: usize = 128;

/// Longshore's unit of tenancy: a configured name such as `default`. A DNS label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceName(String);

impl NamespaceName {
    /// Checks `text` against the rule of a DNS label (RFC 1123), at most 63 characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if crate::notation::syntax::is_dns_label(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Namespace(shown(text)))
        }
    }

    /// The namespace that always exists.
    #[must_use]
    pub fn default_namespace() -> Self {
        Self("default".to_owned())
    }

    /// The bare name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of a run within its namespace: `[a-z]([a-z0-9-]{0,46}[a-z0-9])?`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Checks the syntax; reserved prefixes pass, since existing runs have them.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let well_formed = matches!(bytes.first(), Some(b'a'..=b'z'))
            && bytes.len() <= RUN_ID_MAX
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !text.ends_with('-');
        if well_formed { Ok(Self(text.to_owned())) } else { Err(NameError::RunId(shown(text))) }
    }

    /// As [`RunId::parse`], for an id that a caller sends: the prefixes `q-` and `u-` are refused. An id in the form
    /// of [`RunId::from_uuid`] passes: a client that generates it by itself may repeat its call safely.
    pub fn parse_chosen(text: &str) -> Result<Self, NameError> {
        let is_reserved = text.starts_with("q-") || text.starts_with("u-") && !is_generated(text);
        if is_reserved { Err(NameError::ReservedRunId(shown(text))) } else { Self::parse(text) }
    }

    /// The id of the run that `request_id` stands for: `q-` and base32 of the first 160 bits of a
    /// tagged SHA-256 of namespace and request id.
    pub fn from_request_id(namespace: &NamespaceName, request_id: &str) -> Result<Self, NameError> {
        let printable = request_id.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if request_id.is_empty() || request_id.len() > REQUEST_ID_MAX || !printable {
            return Err(NameError::RequestId(shown(request_id)));
        }
        let mut hash = Sha256::new();
        hash.update(b"longshore.dev/request-id/v1\0");
        hash.update(namespace.as_str().as_bytes());
        hash.update(b"\0");
        hash.update(request_id.as_bytes());
        let digest = hash.finalize();
        let text = data_encoding::BASE32_NOPAD.encode(&digest[..20]).to_ascii_lowercase();
        Ok(Self(format!("q-{text}")))
    }

    /// The id made of a generated UUIDv7: `u-` and 16 base32 characters (0-9, a-v) of its 48 bits of milliseconds and
    /// its last 32 random bits. It sorts by time. Two may be equal, if rarely: draw again where the id is taken.
    #[must_use]
    pub fn from_uuid(uuid: &[u8; 16]) -> Self {
        let [t0, t1, t2, t3, t4, t5, .., r0, r1, r2, r3] = *uuid;
        let bits = [t0, t1, t2, t3, t4, t5, r0, r1, r2, r3];
        Self(format!("u-{}", data_encoding::BASE32HEX_NOPAD.encode(&bits).to_ascii_lowercase()))
    }

    /// The bare id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the Job of attempt `number` (from 1): `run-<id>`, `run2-<id>`, …
    #[must_use]
    pub fn job_name(&self, number: u32) -> String {
        if number <= 1 { format!("run-{}", self.0) } else { format!("run{number}-{}", self.0) }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of runs that were submitted together; theirs are made of it. As a [`RunId`] that a caller chooses, but shorter,
/// and with no reserved prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(RunId);

impl BatchId {
    /// Checks the syntax.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let is_reserved = text.starts_with("q-") || text.starts_with("u-");
        match RunId::parse(text) {
            Ok(id) if !is_reserved && text.len() <= BATCH_ID_MAX => Ok(Self(id)),
            _ => Err(NameError::BatchId(shown(text))),
        }
    }

    /// The bare id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Id of the run at `index`, from 0, below 1,000.
    #[must_use]
    pub fn run_id(&self, index: u32) -> RunId {
        RunId(format!("{self}-{index}"))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `text` has the form of a generated id.
fn is_generated(text: &str) -> bool {
    let drawn = text.strip_prefix("u-").unwrap_or_default().as_bytes();
    drawn.len() == GENERATED_CHARACTERS && drawn.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'))
}

/// Resource name of a run: `namespaces/{namespace}/runs/{run}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunName {
    /// Where it lives.
    pub namespace: NamespaceName,
    /// Which it is.
    pub run: RunId,
}

impl RunName {
    /// Reads `namespaces/{namespace}/runs/{run}`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("namespaces"), Some(namespace), Some("runs"), Some(run), None) => {
                Ok(Self { namespace: NamespaceName::parse(namespace)?, run: RunId::parse(run)? })
            }
            _ => Err(NameError::RunName(shown(text))),
        }
    }

    /// Resource name of attempt `number`: `…/attempts/{number}`.
    #[must_use]
    pub fn attempt(&self, number: u32) -> String {
        format!("{self}/attempts/{number}")
    }
}

impl FromStr for RunName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespaces/{}/runs/{}", self.namespace, self.run)
    }
}

impl fmt::Debug for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What `parent` of List and Watch names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// `namespaces/-`: all that the caller may see.
    All,
    /// `namespaces/{namespace}`.
    Namespace(NamespaceName),
}

impl Parent {
    /// Reads `namespaces/{namespace}` or `namespaces/-`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("namespaces/") {
            Some("-") => Ok(Self::All),
            Some(name) if !name.contains('/') => NamespaceName::parse(name).map(Self::Namespace),
            _ => Err(NameError::Parent(shown(text))),
        }
    }

    /// Whether runs of `namespace` are meant.
    #[must_use]
    pub fn contains(&self, namespace: &NamespaceName) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => own == namespace,
        }
    }
}

/// A name that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error(
        "`{0}` is not a valid namespace name: expected 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit"
    )]
    Namespace(String),
    /// Not a run id.
    #[error(
        "`{0}` is not a valid run id: expected 1 to {RUN_ID_MAX} lower-case letters, digits and `-`, starting with a letter and not ending with `-`"
    )]
    RunId(String),
    /// A prefix that only Longshore gives.
    #[error(
        "`{0}` cannot be chosen: ids that begin with `q-` follow from a request_id, ids that begin with `u-` are generated; choose another id"
    )]
    ReservedRunId(String),
    /// Not a batch id.
    #[error(
        "`{0}` is not a valid batch id: expected 1 to {BATCH_ID_MAX} lower-case letters, digits and `-`, starting with a letter but not with `q-` or `u-`, and not ending with `-`"
    )]
    BatchId(String),
    /// Not a request id.
    #[error("`{0}` is not a valid request id: expected 1 to {REQUEST_ID_MAX} printable ASCII characters")]
    RequestId(String),
    /// Not a run's resource name.
    #[error("`{0}` is not the name of a run: expected `namespaces/{{namespace}}/runs/{{run}}`")]
    RunName(String),
    /// Not a parent.
    #[error("`{0}` is not a valid parent: expected `namespaces/{{namespace}}`")]
    Parent(String),
}

impl NameError {
    /// This error as the violation of `field`.
    #[must_use]
    pub fn at(&self, field: &str) -> Violation {
        Violation::new(field, self.to_string())
    }
}

/// What a message shows of text that came from outside: escaped, and cut at 80 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_by_the_rule() {
        for good in ["a", "a1", "nightly-report-7", &"a".repeat(48)] {
            assert!(RunId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "1a", "A", "a_b", "a.b", "ä", &"a".repeat(49), "a/b", "a\0"] {
            assert!(RunId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn runs_of_a_batch_have_ids_made_of_its_own() {
        let longest = "b".repeat(BATCH_ID_MAX);
        for good in ["b", "nightly-1", &longest] {
            let batch = BatchId::parse(good).unwrap();
            let last = batch.run_id(999);
            assert_eq!((batch.run_id(0).as_str(), last.as_str()), (&*format!("{good}-0"), &*format!("{good}-999")));
            assert_eq!(RunId::parse_chosen(last.as_str()), Ok(last));
        }
        for bad in ["", "1", "a-", "q-a", "u-a", "u-0123456789abcdef", &"b".repeat(BATCH_ID_MAX + 1)] {
            assert!(BatchId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reserved_prefixes_cannot_be_chosen_but_can_be_read() {
        for id in ["q-abc", "u-abc", "u-0123456789abcdef0", "u-0123456789abcdew", "q-0123456789abcdef"] {
            assert!(RunId::parse_chosen(id).is_err(), "{id}");
            assert!(RunId::parse(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn generated_ids_are_short_and_sort_by_time() {
        let id = |millis: u64, random: u8| {
            let mut uuid = [random; 16];
            uuid[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
            RunId::from_uuid(&uuid)
        };
        let moments = [0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, (1 << 48) - 1];
        let ids: Vec<RunId> =
            moments.iter().zip([9, 0, 255, 3, 255, 0, 7]).map(|(at, random)| id(*at, random)).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for id in &ids {
            assert_eq!(id.as_str().len(), 18);
            assert_eq!(RunId::parse_chosen(id.as_str()).as_ref(), Ok(id), "a client may generate it");
        }
        assert_ne!(id(7, 1), id(7, 2));
    }

    #[test]
    fn request_ids_give_stable_ids_bound_to_their_namespace() {
        let one = NamespaceName::parse("one").unwrap();
        let two = NamespaceName::parse("two").unwrap();
        let id = RunId::from_request_id(&one, "order 17").unwrap();
        assert_eq!(id, RunId::from_request_id(&one, "order 17").unwrap());
        assert_ne!(id, RunId::from_request_id(&two, "order 17").unwrap());
        assert_eq!(id.as_str().len(), 34);
        assert!(RunId::parse(id.as_str()).is_ok());
        assert!(RunId::from_request_id(&one, "").is_err());
        assert!(RunId::from_request_id(&one, "ü").is_err());
        assert!(RunId::from_request_id(&one, &"x".repeat(129)).is_err());
    }

    #[test]
    fn names_round_trip() {
        let name = RunName::parse("namespaces/default/runs/a-1").unwrap();
        assert_eq!(name.to_string(), "namespaces/default/runs/a-1");
        for bad in ["", "runs/a", "namespaces/default/runs/", "namespaces//runs/a", "namespaces/a/runs/b/c"] {
            assert!(RunName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_first_attempt_can_be_called_like_a_second() {
        let id = RunId::parse("x").unwrap();
        assert_eq!(id.job_name(1), "run-x");
        assert_eq!(id.job_name(2), "run2-x");
        assert!(id.job_name(1).len() + RUN_ID_MAX < 63);
    }
}
