//! Why streams end before what they report has.

/// Why a stream has to be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// The server is shutting down.
    Draining,
    /// The caller reads too slowly.
    Slow,
    /// The stream is as old as it may become.
    MaxAge,
}
