//! What runs inside a run.

pub mod shim;
