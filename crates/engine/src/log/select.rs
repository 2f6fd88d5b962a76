//! What of an output is asked for.

use super::query::{LogQuery, LogStart};
use longshore_domain::log::{LogGap, LogGapCause, LogPiece, LogStream};

/// Whether a line begins with the marker. Its first piece may end within it; of something that is
/// random, half is enough to distinguish it.
pub(super) fn is_marked(data: &[u8], marker: &str) -> bool {
    let marker = marker.as_bytes();
    data.starts_with(marker) || data.len() > marker.len() / 2 && marker.starts_with(data)
}

pub(super) fn is_asked_for(query: &LogQuery, piece: &LogPiece) -> bool {
    let of_stream = match (query.stream, piece.stream) {
        (Some(wanted), Some(stream)) => wanted == stream,
        (Some(wanted), None) => wanted == LogStream::Stdout,
        (None, _) => true,
    };
    let in_time = match query.start {
        LogStart::Since(since) => piece.time >= since,
        _ => true,
    };
    of_stream && in_time
}

/// Whether a gap is of what was asked for: what comes before a time that was asked for is not.
pub(super) fn is_of_interest(query: &LogQuery, gap: &LogGap) -> bool {
    match query.start {
        LogStart::Since(since) if gap.cause == LogGapCause::NotFollowed => gap.to_time.is_none_or(|to| to > since),
        _ => true,
    }
}
