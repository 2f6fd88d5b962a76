//! The use cases: submit, read, cancel, delete. Knows the domain and the backend's roles, no wire and no
//! concrete backend.

mod access;
mod engine;
mod error;
mod log;
mod metrics;
mod observed;
mod reconcile;
mod reconnect;
mod result;
mod run;

pub use access::{
    AccessConfig, AccessMetrics, AuthenticationConfig, AuthenticationError, AuthorizationConfig, Caller,
    PresentedCredentials,
};
pub use engine::{Engine, EngineConfig, RESULTS_AT_ONCE};
pub use error::EngineError;
pub use log::{AttemptSelector, LogEndReason, LogEvent, LogQuery, LogStart};
pub use metrics::EngineMetrics;
pub use reconcile::{Page, Readiness, RemovalCause, WatchEvent};
pub use reconnect::ReconnectReason;
pub use run::{
    BatchSpecs, BatchSubmit, BatchSubmitted, List, Matched, Matching, RunFilter, Submit, Submitted, SubmittedWorkload,
    UnreadSpec, Watched,
};
