//! Runs as Jobs: what is written, what is read back, and what is done to them.

pub mod facts;
pub(crate) mod identity;
pub(crate) mod index;
pub(crate) mod labels;
pub mod manifest;
pub(crate) mod memory;
pub(crate) mod orphans;
pub(crate) mod runs;
pub(crate) mod start;
pub(crate) mod watch;
