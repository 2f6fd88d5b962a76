//! The use cases: submit, observe, stop. Knows the domain and the backend's roles, no wire and no
//! concrete backend.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use longshore_backend::{Backend, BackendError, Preview};
use longshore_domain::access::Verb;
use longshore_domain::failure::FailureClass;
use longshore_domain::log::{LogGap, LogPiece, LogStream, LogTruncationCause};
use longshore_domain::name::{NamespaceName, Parent, RunId, RunName};
use longshore_domain::profile::Profile;
use longshore_domain::rules::Rules;
use longshore_domain::run::{Run, RunState};
use longshore_domain::selector::LabelSelector;
use longshore_domain::spec::RunSpec;
use longshore_domain::violation::Violations;

mod access;
mod feed;
mod logs;
mod metrics;
mod observe;
mod observed;
mod reconciler;
mod results;
mod stop;
mod submit;
mod table;

use access::AccessControl;
pub use access::{
    AccessConfig, AccessMetrics, AuthenticationConfig, AuthenticationError, AuthorizationConfig, Caller,
    PresentedCredentials,
};
use feed::Hub;
pub use metrics::EngineMetrics;
use table::Table;

/// Stored results that are read at once, each of `max_result_bytes` at most.
pub const RESULTS_AT_ONCE: usize = 16;

/// Runs the use cases. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineConfig {
    /// Executes runs.
    pub backend: Backend,
    /// What specs are judged by.
    pub rules: Rules,
    /// Namespaces that are configured.
    pub namespaces: BTreeSet<NamespaceName>,
    /// Cancelled when the server shuts down: nothing is submitted any more, streams end with
    /// `Reconnect`.
    pub drain: CancellationToken,
    /// How long the output of a program that has ended may take to be read.
    pub result_deadline: Duration,
    /// Who may do what.
    pub access: AccessConfig,
    /// Counts that.
    pub access_metrics: AccessMetrics,
    /// Counts what happens.
    pub metrics: EngineMetrics,
}

#[derive(Debug)]
struct Inner {
    backend: Backend,
    rules: Rules,
    namespaces: BTreeSet<NamespaceName>,
    drain: CancellationToken,
    table: Arc<Table>,
    hub: Hub,
    reconciler: reconciler::Handle,
    ready: watch::Receiver<Readiness>,
    access: AccessControl,
    /// Turns of requests to be checked.
    checks: Arc<Semaphore>,
    /// Turns of stored results to be read.
    results_read: Semaphore,
    metrics: EngineMetrics,
}

/// Whether the engine knows all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet: the backend is being listed.
    Starting,
    /// It does.
    Ready,
    /// Not any more: the sentence says why.
    Broken(String),
}

/// See [`Engine::submit`].
#[derive(Debug)]
pub struct Submit {
    /// Where.
    pub namespace: NamespaceName,
    /// Id that the caller chose.
    pub run_id: Option<RunId>,
    /// Key that the id is derived from.
    pub request_id: Option<String>,
    /// What is to be executed.
    pub spec: UnreadSpec,
    /// What was found wrong while the rest of the request was read; reported together with what is wrong with the
    /// spec.
    pub violations: Violations,
    /// Only check.
    pub validate_only: bool,
}

/// A spec that is read only once its caller is known to have the right to submit it.
pub struct UnreadSpec {
    workload: Option<SubmittedWorkload>,
    read: Box<dyn FnOnce(&mut Violations) -> RunSpec + Send>,
}

impl UnreadSpec {
    /// `workload` is what rights are asked about; `read` makes the spec, and adds what is wrong with it.
    pub fn new(
        workload: Option<SubmittedWorkload>,
        read: impl FnOnce(&mut Violations) -> RunSpec + Send + 'static,
    ) -> Self {
        Self { workload, read: Box::new(read) }
    }

    /// The spec; what is wrong with it is added to `violations`.
    pub fn read(self, violations: &mut Violations) -> RunSpec {
        (self.read)(violations)
    }
}

impl std::fmt::Debug for UnreadSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnreadSpec").field("workload", &self.workload).finish_non_exhaustive()
    }
}

/// What a submit asks to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmittedWorkload {
    /// An image of the caller's own choice.
    Image(String),
    /// A profile.
    Profile(String),
}

/// See [`Engine::submit`].
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The run.
    pub run: Arc<Run>,
    /// Whether it was there already.
    pub replayed: bool,
    /// With `validate_only`: what would be made.
    pub preview: Option<Preview>,
}

/// Which runs are meant; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// States; empty: any.
    pub states: Vec<RunState>,
    /// Labels.
    pub labels: LabelSelector,
    /// Created at or after.
    pub from_create_time: Option<Timestamp>,
    /// Created before.
    pub to_create_time: Option<Timestamp>,
    /// Profile.
    pub profile: Option<String>,
    /// Class of the failure.
    pub failure_class: Option<FailureClass>,
}

/// See [`Engine::list`].
#[derive(Clone, Debug)]
pub struct List {
    /// Where.
    pub parent: Parent,
    /// Which.
    pub filter: RunFilter,
    /// At most this many; 0: 50; capped at 500.
    pub page_size: usize,
    /// From the page before; empty: the first.
    pub page_token: String,
}

/// See [`Engine::list`].
#[derive(Clone, Debug)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Arc<Run>>,
    /// For the next page.
    pub next_page_token: Option<String>,
}

/// Which runs [`Engine::watch`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// All that are there and will be.
    In(Parent),
    /// This one, and whatever run has its name after it.
    Run(RunName),
}

/// What a watch reports.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// There, new or changed.
    Run(Arc<Run>),
    /// A run that was sent before and does not belong to this watch any more.
    Removed {
        /// The run as last known; as it is now, if it only ceased to match.
        run: Arc<Run>,
        /// Why.
        cause: RemovalCause,
    },
    /// All that was there has been reported.
    Synced,
    /// Nothing new.
    Heartbeat,
    /// Call again.
    Reconnect(ReconnectReason),
}

/// Why a run left a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalCause {
    /// It is gone with its record.
    Deleted,
    /// It is there but no longer matches.
    Unmatched,
}

/// Why a stream has to be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// The server is shutting down.
    Draining,
    /// The caller reads too slowly.
    Slow,
    /// The stream is as old as it may become.
    MaxAge,
}

/// See [`Engine::stream_logs`].
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Whose.
    pub name: RunName,
    /// Which attempts.
    pub attempts: AttemptSelector,
    /// Container; ours is `run`.
    pub container: String,
    /// One stream only.
    pub stream: Option<LogStream>,
    /// Whether to wait for more.
    pub follow: bool,
    /// Where to begin.
    pub start: LogStart,
    /// End after this many bytes.
    pub limit_bytes: Option<u64>,
    /// Whether lines that carry the result are neither sent nor counted.
    pub skip_result_lines: bool,
}

/// Which attempts' output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptSelector {
    /// The latest.
    Latest,
    /// This one, from 1.
    Number(u32),
    /// All, oldest first.
    All,
}

/// Where output is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// The start.
    Beginning,
    /// Just after what this cursor stands for.
    Cursor(String),
    /// At most this many lines from the end of what is there.
    Tail(u64),
    /// Lines at or after this time.
    Since(Timestamp),
}

/// What a log stream reports. Ends in exactly one `End` or `Reconnect`.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// Output, at most 64 KiB.
    Pieces {
        /// Attempt.
        attempt: u32,
        /// The pieces.
        pieces: Vec<LogPiece>,
        /// Whether they are marked lines, which carry the result.
        marked: bool,
        /// Where to go on after them.
        cursor: String,
    },
    /// An attempt's output begins.
    AttemptStarted {
        /// Attempt.
        attempt: u32,
    },
    /// An attempt's output is complete.
    AttemptEnded {
        /// Attempt.
        attempt: u32,
        /// Exit code.
        exit_code: Option<i32>,
        /// If it was read whole: lines, bytes, SHA-256 in hex.
        whole: Option<(u64, u64, String)>,
    },
    /// Bytes that can't be had any more.
    Gap {
        /// Attempt.
        attempt: u32,
        /// What is missing.
        gap: LogGap,
    },
    /// The start was left out as asked.
    Truncated {
        /// Attempt.
        attempt: u32,
        /// Why.
        cause: LogTruncationCause,
        /// The same in a sentence.
        message: String,
    },
    /// Nothing new.
    Heartbeat {
        /// Where to go on.
        cursor: String,
    },
    /// Call again.
    Reconnect {
        /// Where to go on.
        cursor: String,
        /// Why.
        reason: ReconnectReason,
    },
    /// Complete.
    End {
        /// Where to go on.
        cursor: String,
        /// Why.
        reason: LogEndReason,
    },
}

/// Why a log stream is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEndReason {
    /// The run is over, and this was all.
    RunFinished,
    /// Without `follow`: this was all there is so far.
    CaughtUp,
    /// The limit is reached.
    ByteLimit,
}

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(Violations),
    /// There is no such run, or none that the caller may see.
    #[error("{0} does not exist")]
    RunNotFound(RunName),
    /// There is no such namespace, or none that the caller may see.
    #[error("namespace `{0}` not found, or you may not view it")]
    NamespaceNotFound(NamespaceName),
    /// The id stands for another payload.
    #[error(
        "{name} exists with another payload (stored sha256 {stored}, sent {sent}; differing: {})", .differing.join(", ")
    )]
    PayloadMismatch {
        /// The run.
        name: RunName,
        /// Its digest.
        stored: String,
        /// The digest of what was sent.
        sent: String,
        /// Top-level fields that differ.
        differing: Vec<String>,
    },
    /// Something that is not ours has the name.
    #[error("{name} cannot be created: its name is taken by {what}")]
    NameTaken {
        /// The run.
        name: RunName,
        /// What it is.
        what: String,
    },
    /// The run of this id is being deleted, and something still holds it.
    #[error("{0} is being deleted, and something still holds it; submit again once it is gone, or use another id")]
    DeleteInProgress(RunName),
    /// The run is still live.
    #[error("{name} is {}; cancel it first, or wait until it is terminal", .state.as_str())]
    NotTerminal {
        /// The run.
        name: RunName,
        /// Where it stands.
        state: RunState,
    },
    /// The etag is not the present one.
    #[error("{name} has changed: its etag is {present}, not the one sent")]
    EtagMismatch {
        /// The run.
        name: RunName,
        /// Its etag.
        present: String,
    },
    /// There is no such attempt.
    #[error("{name} has no attempt {attempt}; it has {present}")]
    NoSuchAttempt {
        /// The run.
        name: RunName,
        /// Asked for.
        attempt: u32,
        /// How many there are.
        present: u32,
    },
    /// The run has no result to read.
    #[error("{name} has no result: {why}")]
    NoResult {
        /// The run.
        name: RunName,
        /// Why.
        why: String,
    },
    /// The server is starting or draining.
    #[error("the server is {0}; try again")]
    NotServing(&'static str),
    /// The caller may see it, but not do this.
    #[error("you may not {action} {resource}{}", instead(.profiles))]
    PermissionDenied {
        /// What.
        verb: Verb,
        /// The same in words.
        action: String,
        /// A run or a namespace.
        resource: String,
        /// Profiles that may be submitted there, if it is about a submit and not all may.
        profiles: Vec<String>,
    },
    /// Too many at once.
    #[error("{0}")]
    RateLimited(String),
    /// The caller has as many live runs as they may.
    #[error("you have {live} live runs, and the limit is {max}; wait until some have ended, or cancel some")]
    TooManyRuns {
        /// How many there are.
        live: usize,
        /// How many there may be.
        max: usize,
    },
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What may be submitted in place of what may not.
fn instead(profiles: &[String]) -> String {
    match profiles {
        [] => String::new(),
        [one] => format!("; you may submit runs of profile `{one}`"),
        many => format!("; you may submit runs of the profiles `{}`", many.join("`, `")),
    }
}

impl Engine {
    /// Starts the reconciler: it adopts what is there and watches from then on, until the end of
    /// the process.
    #[must_use]
    pub fn start(config: EngineConfig) -> Self {
        let EngineConfig { backend, rules, namespaces, drain, result_deadline, access, access_metrics, metrics } =
            config;
        let access = AccessControl::new(access, backend.reviews.clone(), access_metrics);
        let table = Arc::new(Table::new(metrics.clone()));
        let hub = Hub::new(Arc::clone(&backend.logs), metrics.clone());
        let (reconciler, ready) =
            reconciler::start(&backend, Arc::clone(&table), hub.clone(), &rules, result_deadline, metrics.clone());
        let checks = Arc::new(Semaphore::new(submit::checks_at_once()));
        let results_read = Semaphore::new(RESULTS_AT_ONCE);
        let inner = Inner {
            backend,
            rules,
            namespaces,
            drain,
            table,
            hub,
            reconciler,
            ready,
            access,
            checks,
            results_read,
            metrics,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The rules that specs are judged by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    /// Whether all runs are known; changes are reported.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.inner.ready.clone()
    }

    /// Profiles that may be used in `namespace`, each with why it is not available on this
    /// backend, if it is not.
    ///
    /// # Errors
    /// If there is no such namespace, or none that the caller may see.
    pub async fn profiles(
        &self,
        caller: &Caller,
        namespace: &NamespaceName,
    ) -> Result<Vec<(Profile, Option<String>)>, EngineError> {
        self.authorize_namespace(caller, namespace).await?;
        let backend = self.inner.rules.capabilities.backend;
        let offered = |profile: &Profile| (profile.clone(), profile.unavailable_on(backend));
        Ok(self.inner.rules.profiles.values().map(offered).collect())
    }

    fn known(&self, namespace: &NamespaceName) -> Result<(), EngineError> {
        if self.inner.namespaces.contains(namespace) {
            Ok(())
        } else {
            Err(EngineError::NamespaceNotFound(namespace.clone()))
        }
    }

    /// Refuses what needs all runs to be known while they are not.
    fn synced(&self) -> Result<(), EngineError> {
        match &*self.inner.ready.borrow() {
            Readiness::Starting => Err(EngineError::NotServing("starting")),
            // What was known stays known: it is reported, though it may be late.
            Readiness::Ready | Readiness::Broken(_) => Ok(()),
        }
    }
}
