//! Why a use case failed. What a caller gets of it: docs/architecture.md, "Errors".

use longshore_backend::BackendError;
use longshore_domain::access::Verb;
use longshore_domain::name::{NamespaceName, RunName};
use longshore_domain::notation::violation::Violations;
use longshore_domain::run::RunState;

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
    #[error(
        "you have {live} live runs{}, and the limit is {max}; wait until some have ended, or cancel some", further(*.new)
    )]
    TooManyRuns {
        /// How many there are.
        live: usize,
        /// How many would be added.
        new: usize,
        /// How many there may be.
        max: usize,
    },
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// How many more are asked for, if it is more than the one that SubmitRun asks for.
fn further(new: usize) -> String {
    if new > 1 { format!(" and ask for {new} more") } else { String::new() }
}

/// What may be submitted in place of what may not.
fn instead(profiles: &[String]) -> String {
    match profiles {
        [] => String::new(),
        [one] => format!("; you may submit runs of profile `{one}`"),
        many => format!("; you may submit runs of the profiles `{}`", many.join("`, `")),
    }
}
