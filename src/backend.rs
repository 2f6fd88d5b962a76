//! What executes runs: the roles, and the implementations.

pub use longshore_backend::*;

pub use longshore_kubernetes as kubernetes;
pub mod local;
