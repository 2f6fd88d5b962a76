//! What a program of a run sees of this machine, and how it is shut in there.
//! Knows no run: paths, mounts and options come in.

pub(crate) mod bwrap;
pub(crate) mod find;
pub(crate) mod program;
pub(crate) mod sight;
