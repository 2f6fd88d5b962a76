//! What Longshore decides, without any I/O: no runtime, network, clock or logger.
//!
//! ```text
//! RunSpec ── resolve ──► EffectiveSpec ── (backend) ──► RunFacts ── judge ──► Verdict ── derive ──► Run
//!                                                                             └── plan ──► Action
//! ```

pub mod access;
mod base64;
pub mod cursor;
pub mod derive;
pub mod digest;
pub mod facts;
pub mod failure;
pub mod log;
pub mod name;
pub mod page;
pub mod plan;
pub mod profile;
pub mod quantity;
pub mod record;
pub mod resolve;
mod resolved;
pub mod result;
pub mod rules;
pub mod run;
pub mod rundir;
pub mod schema;
pub mod selector;
pub mod spec;
pub mod stored;
pub mod syntax;
pub mod text;
pub mod validate;
pub mod verdict;
pub mod violation;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
