//! What a program of a run sees of this machine, and how it is shut in there.
//! Knows no run: paths, mounts and options come in.

pub(crate) mod bwrap;
pub(crate) mod find;
pub(crate) mod options;
pub(crate) mod probe;
pub(crate) mod program;
pub(crate) mod sight;
pub(crate) mod system;
pub(crate) mod trial;
