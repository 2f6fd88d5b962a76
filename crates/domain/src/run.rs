//! Runs: what is asked for, what is seen of them, and what follows from both.

pub mod batch;
mod budget;
pub mod derive;
pub mod digest;
pub mod facts;
pub mod failure;
pub(crate) mod fields;
pub mod plan;
pub mod profile;
pub mod record;
pub mod resolve;
pub(crate) mod resolved;
pub mod retry;
pub mod rules;
pub mod rundir;
mod settled;
pub mod spec;
pub mod stored;
pub mod validate;
pub mod verdict;
mod view;

pub use view::*;
