//! Runs: submitted, read, cancelled, deleted.

mod batch;
mod cancel;
mod delete;
pub(crate) mod driver;
mod etag;
mod matching;
mod read;
pub(crate) mod submit;
mod submitted;

pub use batch::{BatchSpecs, BatchSubmit, BatchSubmitted};
pub use matching::{Matched, Matching};
pub use read::{List, RunFilter, Watched};
pub use submit::{Submit, SubmittedWorkload, UnreadSpec};
pub use submitted::Submitted;
#[cfg(test)]
pub(crate) use submitted::submit_outcome;
