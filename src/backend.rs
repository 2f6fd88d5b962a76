//! What executes runs: the roles, and the implementations.

pub use longshore_backend::*;

pub mod kubernetes;
pub mod local;
