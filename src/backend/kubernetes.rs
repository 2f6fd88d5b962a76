//! Runs as Jobs of a Kubernetes cluster.

pub mod facts;
pub mod manifest;
pub mod names;
mod stored;
#[cfg(test)]
pub(crate) mod support;
