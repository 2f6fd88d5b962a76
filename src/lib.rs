//! Longshore: turns run requests into Kubernetes Jobs and reports their true state.
//!
//! [`domain`] decides, without I/O. The feature `client` adds what a program needs that uses a server: `proto`, the API,
//! and `client`. Everything else is behind the feature `daemon`, which is on by default.

pub use longshore_domain as domain;

#[cfg(feature = "daemon")]
pub mod app;
#[cfg(feature = "daemon")]
pub mod backend {
    //! What executes runs: the roles, and the implementations.
    pub use longshore_backend::*;
    pub use longshore_kubernetes as kubernetes;
    pub use longshore_local as local;
}
#[cfg(feature = "client")]
pub use longshore_api as proto;
#[cfg(feature = "daemon")]
pub use longshore_cli as cli;
#[cfg(feature = "client")]
pub use longshore_client as client;
#[cfg(feature = "daemon")]
pub use longshore_config as config;
#[cfg(feature = "daemon")]
pub use longshore_engine as engine;
#[cfg(feature = "daemon")]
pub use longshore_grpc as grpc;
#[cfg(feature = "daemon")]
pub mod runner {
    //! What runs inside a run.
    pub use longshore_kubernetes::canary;
    pub use longshore_local::shim;
    pub use longshore_local::shim::enter;
    #[cfg(feature = "fuzzing")]
    pub use longshore_sql::check_sql;
    pub use longshore_sql::{RunnerEnv, SQL_INPUT_SCHEMA, SQL_RESULT_SCHEMA, run_sql};
}
#[cfg(feature = "daemon")]
pub use longshore_local::sys;
#[cfg(feature = "daemon")]
pub use longshore_runtime as runtime;
