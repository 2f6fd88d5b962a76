//! What a caller asks of an output.

use jiff::Timestamp;

use longshore_domain::log::LogStream;
use longshore_domain::name::RunName;

/// See [`Engine::stream_logs`](crate::Engine::stream_logs).
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Whose.
    pub name: RunName,
    /// Which attempts.
    pub attempts: AttemptSelector,
    /// Container; ours is `run`.
    pub container: String,
    /// One stream only.
    pub stream: Option<LogStream>,
    /// Whether to wait for more.
    pub follow: bool,
    /// Where to begin.
    pub start: LogStart,
    /// End after this many bytes.
    pub limit_bytes: Option<u64>,
    /// Whether lines that carry the result are neither sent nor counted.
    pub skip_result_lines: bool,
}

/// Which attempts' output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptSelector {
    /// The latest.
    Latest,
    /// This one, from 1.
    Number(u32),
    /// All, oldest first.
    All,
}

/// Where output is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// The start.
    Beginning,
    /// Just after what this cursor stands for.
    Cursor(String),
    /// At most this many lines from the end of what is there.
    Tail(u64),
    /// Lines at or after this time.
    Since(Timestamp),
}
