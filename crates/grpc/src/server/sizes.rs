//! How large messages and what is sent ahead of them may be. Knows nothing else.

/// Largest message in either direction, in bytes: what clients take by default. Larger things come
/// in pieces.
pub const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// Largest request, in bytes, of all methods but those that carry specs.
pub const REQUEST_MAX: usize = 64 * 1024;
/// Methods whose requests may be as large as [`MESSAGE_MAX`].
const LARGE_REQUESTS: [&str; 2] = ["/longshore.v1.RunService/SubmitRun", "/longshore.v1.RunService/BatchSubmitRuns"];

/// Largest request of a method, by its path, in bytes.
#[must_use]
pub fn message_max(path: &str) -> usize {
    if LARGE_REQUESTS.contains(&path) { MESSAGE_MAX } else { REQUEST_MAX }
}

/// What a client may send ahead of what is read, in bytes: of one call, and of one connection. Each connection may make
/// us hold that much.
pub(crate) const WINDOW: u32 = 64 * 1024;
/// Largest message that goes whole, and is not counted, of calls that answer once: there may be as many as calls.
pub(crate) const ANSWER_WHOLE_MAX: usize = 8 * 1024;
/// The same of streams: 64 KiB of output, and what is said of it.
pub(crate) const STREAM_WHOLE_MAX: usize = 80 * 1024;
