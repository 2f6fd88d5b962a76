//! Longshore: turns run requests into Kubernetes Jobs and tells the truth about them.
//!
//! [`domain`] decides, without I/O; everything else is behind the feature `daemon`.

pub use longshore_domain as domain;

#[cfg(feature = "daemon")]
pub mod app;
#[cfg(feature = "daemon")]
pub mod backend;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod engine;
#[cfg(feature = "daemon")]
pub mod grpc;
#[cfg(feature = "daemon")]
pub use longshore_api as proto;
#[cfg(feature = "daemon")]
pub mod runner;
#[cfg(feature = "daemon")]
pub use longshore_runtime as runtime;
#[cfg(feature = "daemon")]
pub mod sys;
