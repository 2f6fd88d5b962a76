//! What the kernel says of files and processes of this machine, in three kinds: there, gone, or
//! unknown. A question that failed is not an answer: only what the kernel says is gone is gone.
//!
//! The local backend and its shim ask through [`Sys`] alone, so that a test can let each of its system
//! calls fail in turn. Knows of the domain no more than how a process is identified.

mod calls;
#[cfg(test)]
pub(crate) mod fault;
pub mod file;
pub mod keyring;
mod probe;
pub mod process;
pub mod seccomp;

pub use calls::Sys;
pub use file::look;
pub use probe::{Cause, Probe, Unknown};
