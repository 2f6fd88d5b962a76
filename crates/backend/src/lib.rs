//! What Longshore needs of the thing that executes runs, as roles.
//! Knows the domain only.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use longshore_domain::access::{Decision, Identity, Question};
use longshore_domain::log::{LogGap, LogPiece, LogPosition};
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::run::digest::PayloadDigest;
use longshore_domain::run::facts::{FactsEvent, RunFacts, Submission};
use longshore_domain::run::plan::Action;
use longshore_domain::run::profile::{Capabilities, InputDelivery, Program};
use longshore_domain::run::spec::{File, Input};

/// A backend, by its roles.
#[derive(Clone)]
pub struct Backend {
    /// What it can do.
    pub capabilities: Arc<Capabilities>,
    /// Creates, observes and acts on runs.
    pub runs: Arc<dyn Runs>,
    /// Reads their output.
    pub logs: Arc<dyn Logs>,
    /// Knows users and their rights, if it does.
    pub reviews: Option<Arc<dyn Reviews>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

/// Creates, observes and acts on runs.
///
/// Every call ends within a bound of its own (30 s at most) and may be repeated: creating twice
/// finds the first, acting twice is acting once.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Creates the run, its first attempt included, or finds what has its name.
    ///
    /// After an answer other than `Err` the run is durable. A replay ([`Created::Exists`] of the
    /// same digest) must complete what a crash left undone, such as a missing input Secret: the
    /// engine calls [`Runs::complete`] for that.
    async fn create(&self, launch: &Launch) -> Result<Created, BackendError>;

    /// Completes the creation of a run that is there already: writes what is missing of its input.
    async fn complete(&self, launch: &Launch) -> Result<(), BackendError>;

    /// What would be created, without values of input, files and secrets, and what the backend
    /// says to it. Creates nothing.
    async fn preview(&self, launch: &Launch) -> Result<Preview, BackendError>;

    /// Reads one run from the authority, not from a cache. `None`: there is none.
    async fn get(&self, name: &RunName) -> Result<Option<RunFacts>, BackendError>;

    /// Does one thing to the run with this name and uid. `NotFound` if it is gone or is another.
    async fn act(&self, name: &RunName, uid: &str, action: &Action) -> Result<(), BackendError>;

    /// Reads bytes of a result that is kept beside the record (see [`Action::StoreResult`]).
    async fn read_result(&self, name: &RunName, uid: &str) -> Result<Option<Vec<u8>>, BackendError>;

    /// Reports every run of this installation, beginning with those that are there. Never ends and
    /// heals itself: after `Broken` everything is reported again, up to the next `Synced`, and runs
    /// that vanished in between are reported as `Gone` before it.
    fn watch(&self) -> BoxStream<'static, FactsEvent>;
}

/// Reads the output of runs.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Whether the start of a log is taken away while its program writes on, so that a late reader
    /// may get its end only. One that does not is a file on this machine, and a follow of it brings
    /// all that is written.
    fn rotates(&self) -> bool;

    /// Opens the output of one attempt's container.
    ///
    /// Without `follow` the stream ends at the end of what is there; with it, when the backend ends
    /// it, which means nothing: only facts report the end of a run. An item `Err` ends the stream;
    /// read again from the last position.
    async fn open(
        &self,
        source: &LogSource,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError>;
}

/// Knows whose a token is, and what a user may do.
#[async_trait]
pub trait Reviews: Send + Sync {
    /// Whose `token` is. `None`: nobody's, or it is for none of `audiences`.
    async fn review_token(&self, token: &str, audiences: &[String]) -> Result<Option<Identity>, BackendError>;

    /// Whether who is known as `identity` may do what is asked.
    async fn review_access(&self, identity: &Identity, question: &Question<'_>) -> Result<Decision, BackendError>;
}

/// Whose output is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogSource {
    /// The run.
    pub run: RunName,
    /// Uid of the run.
    pub run_uid: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Uid of the Pod, or identity of the process.
    pub attempt_uid: String,
    /// Name of the Pod. Local: empty.
    pub pod: String,
    /// Container; ours is `run`.
    pub container: String,
}

/// How output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Where to go on. `None`: at the start.
    pub from: Option<LogPosition>,
    /// Whether to wait for more.
    pub follow: bool,
    /// Whether the log's file ended at `from`, and the program has ended too, so that a later file
    /// goes on just there.
    pub at_file_end: bool,
}

/// What a log stream yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// Output.
    Piece(LogPiece),
    /// Output that can't be had any more.
    Gap(LogGap),
}

/// Everything that is needed to create a run's objects.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its name.
    pub name: RunName,
    /// What is kept with it.
    pub submission: Submission,
    /// How the program is executed.
    pub program: Program,
    /// How it gets its input.
    pub input_delivery: InputDelivery,
    /// Its input.
    pub input: Option<Input>,
    /// Its files.
    pub files: Vec<File>,
    /// Keys of the effective annotations that reach the Pod.
    pub pod_annotations: Vec<String>,
}

impl Launch {
    /// The payload's digest.
    #[must_use]
    pub fn digest(&self) -> &PayloadDigest {
        &self.submission.digest
    }
}

/// What [`Runs::create`] found.
#[derive(Clone, Debug)]
pub enum Created {
    /// The run is new.
    New(Box<RunFacts>),
    /// A run of this installation has the name; its digest may be another.
    Exists(Box<RunFacts>),
    /// Something that is not ours has the name.
    Taken {
        /// What it is, for people: `Job run-x of another owner`.
        what: String,
    },
}

/// What [`Runs::preview`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What would be created, as YAML, without values.
    pub manifest: String,
    /// What the backend says to it.
    pub verdicts: Vec<DryRunVerdict>,
}

/// What a backend says to a dry run of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRunVerdict {
    /// `Job`, `Pod` or `Process`.
    pub kind: &'static str,
    /// Whether it would be accepted.
    pub accepted: bool,
    /// In the backend's own words.
    pub message: String,
}

/// Why a call to a backend failed. What of the API server's answers becomes which, and what a caller
/// gets of it: docs/architecture.md, "Errors".
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// There is no such object.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The Kubernetes namespace of a namespace is missing or not usable; the sentence says how to
    /// fix it.
    #[error("{0}")]
    NamespaceNotReady(String),
    /// It changed meanwhile; the caller may read again and repeat.
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    /// The backend refused the object as malformed.
    #[error("{what} was refused: {message}")]
    Rejected {
        /// What was tried.
        what: String,
        /// In the backend's own words.
        message: String,
    },
    /// What a field names is not there, or not for runs.
    #[error("{field}: {message}")]
    InvalidField {
        /// Path of the field, as in the proto.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A quota is used up.
    #[error("{what}: {message}")]
    Exhausted {
        /// What was tried.
        what: String,
        /// In the backend's own words.
        message: String,
    },
    /// Our own rights are short.
    #[error("{what}: Longshore lacks a right: {message}")]
    Denied {
        /// What was tried.
        what: String,
        /// In the backend's own words.
        message: String,
    },
    /// Admission refused the object.
    #[error("{what} was refused by admission: {message}")]
    AdmissionDenied {
        /// What was tried.
        what: String,
        /// In the backend's own words.
        message: String,
    },
    /// Too many requests.
    #[error("{what}: the cluster asks to slow down")]
    Throttled {
        /// What was tried.
        what: String,
        /// When to try again, if the backend said.
        retry_after: Option<Duration>,
    },
    /// The backend can't be reached, or did not answer in time.
    #[error("{what}: {message}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// Why.
        message: String,
    },
    /// This machine's files or processes refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on what.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Where a log should be, the backend answers that it can't read it.
    #[error("{what}: its node answers: {message}")]
    Unreadable {
        /// What was tried.
        what: String,
        /// In the backend's own words.
        message: String,
    },
    /// What was found can't be what we wrote.
    #[error("{what} is not readable: {message}")]
    Corrupt {
        /// What was read.
        what: String,
        /// Why.
        message: String,
    },
}

impl BackendError {
    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Throttled { .. } | Self::Unavailable { .. } | Self::Io { .. })
    }

    /// As a caller may read it: without the backend's words about our own account and its rights, and
    /// without files of the server's machine, which are for the log.
    #[must_use]
    pub fn for_caller(&self) -> String {
        match self {
            Self::Denied { what, .. } => format!("{what}: Longshore lacks a right; its log says which"),
            Self::Io { what: _, source } => {
                format!("the server's own files or processes failed ({}); its log says where", source.kind())
            }
            Self::Corrupt { .. } => "what the server has stored of it cannot be read; its log says why".to_owned(),
            other => other.to_string(),
        }
    }
}

/// The namespaces that are configured, and where they live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceMap {
    entries: std::collections::BTreeMap<NamespaceName, String>,
}

impl NamespaceMap {
    /// From (namespace, Kubernetes namespace) pairs.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (NamespaceName, String)>) -> Self {
        Self { entries: entries.into_iter().collect() }
    }

    /// The Kubernetes namespace of `namespace`.
    #[must_use]
    pub fn target(&self, namespace: &NamespaceName) -> Option<&str> {
        self.entries.get(namespace).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&NamespaceName, &str)> {
        self.entries.iter().map(|(n, t)| (n, t.as_str()))
    }
}
