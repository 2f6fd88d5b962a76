//! Results: read from the output once its program has ended, checked against the profile, and given to callers.

mod alone;
mod contracts;
mod get;
mod output;
mod reading;
#[cfg(test)]
mod tests;

pub(crate) use reading::{ReadRequest, Reading};
