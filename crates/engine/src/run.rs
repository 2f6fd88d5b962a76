//! Runs: submitted, read, cancelled, deleted.

mod cancel;
mod delete;
pub(crate) mod driver;
mod etag;
mod read;
pub(crate) mod submit;

pub use read::{List, RunFilter, Watched};
pub use submit::{Submit, Submitted, SubmittedWorkload, UnreadSpec};
