//! The use cases: submit, read, cancel, delete. Knows the domain and the backend's roles, no wire and no
//! concrete backend.

mod access;
mod engine;
mod error;
mod feed;
mod logs;
mod metrics;
mod observed;
mod reconciler;
mod reconnect;
mod results;
mod run;
mod table;

pub use access::{
    AccessConfig, AccessMetrics, AuthenticationConfig, AuthenticationError, AuthorizationConfig, Caller,
    PresentedCredentials,
};
pub use engine::{Engine, EngineConfig, RESULTS_AT_ONCE, Readiness};
pub use error::EngineError;
pub use logs::{AttemptSelector, LogEndReason, LogEvent, LogQuery, LogStart};
pub use metrics::EngineMetrics;
pub use reconnect::ReconnectReason;
pub use run::{
    List, RemovalCause, RunFilter, RunPage, Submit, Submitted, SubmittedWorkload, UnreadSpec, WatchEvent, Watched,
};
