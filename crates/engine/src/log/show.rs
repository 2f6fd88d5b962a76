//! What of an output a caller is given, in events.

use super::event::LogEvent;
use super::select::{is_asked_for, is_marked, is_of_interest};
use super::stream::{StreamStop, Streamer};
use longshore_backend::LogItem;
use longshore_domain::log::cursor::LogCursor;
use longshore_domain::log::{CHECK_START, LogPiece, LogPosition, check};

/// Bytes of output in one event.
pub(super) const EVENT_BYTES: usize = 64 * 1024;

impl Streamer {
    /// Sends items in order, in events of at most [`EVENT_BYTES`].
    pub(super) async fn items(&mut self, items: Vec<LogItem>) -> Result<(), StreamStop> {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for item in items {
            let piece = match item {
                LogItem::Piece(piece) => piece,
                LogItem::Gap(gap) if !is_of_interest(&self.query, &gap) => continue,
                LogItem::Gap(gap) => {
                    self.pieces(std::mem::take(&mut pieces)).await?;
                    bytes = 0;
                    self.tally = None;
                    if !self.lost_tail.is_news(&gap) {
                        continue;
                    }
                    self.send(LogEvent::Gap { attempt: self.attempt, gap }).await?;
                    continue;
                }
            };
            if bytes + piece.data.len() > EVENT_BYTES {
                self.pieces(std::mem::take(&mut pieces)).await?;
                bytes = 0;
            }
            bytes += piece.data.len();
            if let Some(tally) = &mut self.tally {
                tally.add(&piece.data);
            }
            pieces.push(piece);
        }
        self.pieces(pieces).await
    }

    async fn pieces(&mut self, pieces: Vec<LogPiece>) -> Result<(), StreamStop> {
        let mut shown = Vec::with_capacity(pieces.len());
        for mut piece in pieces {
            if piece.offset == 0 && is_marked(&piece.data, &self.marker) != self.marked {
                self.shown(std::mem::take(&mut shown)).await?;
                self.marked = !self.marked;
            }
            let skipped = self.marked && self.query.skip_result_lines;
            let asked_for = !skipped && is_asked_for(&self.query, &piece);
            match &mut self.left {
                Some(left) if asked_for => {
                    if (piece.data.len() as u64) > *left {
                        piece = cut(&piece, *left, self.position);
                    }
                    *left -= piece.data.len() as u64;
                }
                _ => {}
            }
            self.position = Some(piece.end());
            self.lost_tail.output();
            if asked_for {
                shown.push(piece);
            }
            if self.left == Some(0) {
                break;
            }
        }
        self.shown(shown).await
    }

    async fn shown(&mut self, pieces: Vec<LogPiece>) -> Result<(), StreamStop> {
        if !pieces.is_empty() {
            let (attempt, marked) = (self.attempt, self.marked);
            let cursor = LogCursor::new(&self.run_uid, attempt, self.position).encode();
            let bytes = pieces.iter().map(|piece| piece.data.len() as u64).sum();
            self.send(LogEvent::Pieces { attempt, pieces, marked, cursor }).await?;
            self.hub.metrics().sent(bytes);
        }
        self.sent = self.position;
        Ok(())
    }
}

/// The first `bytes` of a piece, whose line was read up to `before`.
fn cut(piece: &LogPiece, bytes: u64, before: Option<LogPosition>) -> LogPiece {
    let data = piece.data.slice(..usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.data.len()));
    let is_same_line = |p: &LogPosition| (p.time, p.ordinal, p.offset) == (piece.time, piece.ordinal, piece.offset);
    let state = before.filter(|p| piece.offset > 0 && is_same_line(p)).map_or(CHECK_START, |p| p.check);
    LogPiece { check: check(state, &data), data, ends_line: false, ..piece.clone() }
}
