//! Runs: submitted, read, cancelled, deleted.

mod cancel;
mod delete;
mod etag;
mod read;
pub(crate) mod submit;

pub use read::{List, RemovalCause, RunFilter, RunPage, WatchEvent, Watched};
pub use submit::{Submit, Submitted, SubmittedWorkload, UnreadSpec};
