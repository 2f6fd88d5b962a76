//! What Longshore decides, without any I/O: no runtime, network, clock or logger.
//!
//! ```text
//! RunSpec ── resolve ──► EffectiveSpec ── (backend) ──► RunFacts ── judge ──► Verdict ── derive ──► Run
//!                                                                             └── plan ──► Action
//! ```

pub mod access;
pub mod log;
pub mod name;
pub mod notation;
pub mod page;
pub mod reconcile;
pub mod result;
pub mod run;
pub mod selector;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
