//! Output: read once for all that follow it (the hub, its feeds and their upstreams), and streamed to callers.

mod attempts;
mod event;
mod gate;
mod hub;
mod open;
mod query;
mod read;
mod ring;
mod select;
mod show;
mod source;
mod stage;
mod stream;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upstream;

pub use event::{LogEndReason, LogEvent};
pub(crate) use hub::Hub;
pub use query::{AttemptSelector, LogQuery, LogStart};
pub(crate) use ring::{Feed, FeedEnd, FeedRead};
pub(crate) use source::source_of;
pub(crate) use upstream::Chunk;
