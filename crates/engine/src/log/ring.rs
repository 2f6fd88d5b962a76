//! What of an attempt's output is kept for its subscribers: a bounded ring, and how it ended.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use longshore_backend::LogItem;
use longshore_domain::log::{Beginning, LogPosition, OutputSummary};

/// Bytes that a ring keeps for its subscribers.
const RING_BYTES: usize = 2 * 1024 * 1024;
/// What an item costs beside its bytes.
const ITEM_BYTES: usize = 96;
/// Lines of the two streams change places by less than this.
const DISORDER: SignedDuration = SignedDuration::from_secs(2);

/// Lines, bytes and hash of an output that is read whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputTally {
    lines: u64,
    bytes: u64,
    hash: Sha256,
}

impl OutputTally {
    pub(crate) fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.lines += u64::from(data.ends_with(b"\n"));
        self.hash.update(data);
    }

    /// Whether this, read from `beginning` to the end without a gap, is the whole output.
    pub(crate) fn is_whole(&self, beginning: Beginning) -> bool {
        beginning.is_whole(self.lines, self.bytes)
    }

    pub(crate) fn end(self) -> OutputSummary {
        let sha256 = data_encoding::HEXLOWER.encode(&self.hash.finalize());
        OutputSummary { lines: self.lines, bytes: self.bytes, sha256 }
    }
}

/// How an output ended.
#[derive(Clone, Debug)]
pub(crate) enum FeedEnd {
    /// All that there was has been reported; its summary if that is known to be the whole output.
    Complete(Option<OutputSummary>),
    /// The rest can't be had; the sentence says why. A gap was reported before.
    Lost(String),
}

/// One attempt's output on its way to its subscribers.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    version: watch::Sender<u64>,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Ring {
    items: VecDeque<LogItem>,
    /// Number of the first item that is kept; 0 is the start of the output.
    first: u64,
    bytes: usize,
    end: Option<FeedEnd>,
    /// Whether all that was read so far is known to be all there was.
    unrotated: bool,
}

/// What a subscriber gets at its place.
#[derive(Debug)]
pub(crate) enum FeedRead {
    /// These, and the place after them.
    Items(Vec<LogItem>, u64),
    /// Nothing new yet.
    Wait,
    /// Its place has left the ring: it has to catch up by itself.
    Behind,
    /// Nothing more will come.
    End(FeedEnd),
}

impl Feed {
    /// An empty one; its end cancels `cancel`.
    pub(super) fn new(cancel: CancellationToken) -> Self {
        Self { ring: Mutex::default(), version: watch::Sender::new(0), cancel }
    }

    /// Up to about `max_bytes` from place `at` on.
    pub(crate) fn take(&self, at: u64, max_bytes: usize) -> FeedRead {
        let ring = self.lock();
        if at < ring.first {
            return FeedRead::Behind;
        }
        let mut items = Vec::new();
        let mut bytes = 0;
        let skip = usize::try_from(at - ring.first).unwrap_or(usize::MAX);
        for item in ring.items.iter().skip(skip) {
            let size = item_bytes(item);
            if !items.is_empty() && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            items.push(item.clone());
        }
        if !items.is_empty() {
            let next = at + items.len() as u64;
            return FeedRead::Items(items, next);
        }
        ring.end.clone().map_or(FeedRead::Wait, FeedRead::End)
    }

    /// The place just after `position`, if it is in the ring; the start for `None`, if it is there
    /// still.
    pub(crate) fn place_after(&self, position: Option<&LogPosition>) -> Option<u64> {
        let ring = self.lock();
        let Some(position) = position else {
            return (ring.first == 0).then_some(0);
        };
        let ends_there = |item: &LogItem| matches!(item, LogItem::Piece(piece) if piece.end() == *position);
        let oldest = ring.items.iter().find_map(|item| match item {
            LogItem::Piece(piece) => Some(piece.time),
            LogItem::Gap(_) => None,
        })?;
        if oldest.duration_since(position.time) > DISORDER {
            return None;
        }
        // From the end: who looks for a place has just read up to about there.
        let index = ring.items.iter().rposition(ends_there)?;
        Some(ring.first + index as u64 + 1)
    }

    /// Whether nothing more will come.
    pub(crate) fn ended(&self) -> Option<FeedEnd> {
        self.lock().end.clone()
    }

    /// Changes whenever there is something new.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Whether nothing of this output has been rotated away so far, as far as it was read.
    pub(super) fn is_unrotated(&self) -> bool {
        self.lock().unrotated
    }

    pub(super) fn push(&self, items: Vec<LogItem>, unrotated: bool) {
        let mut ring = self.lock();
        ring.unrotated = unrotated;
        for item in items {
            ring.bytes += item_bytes(&item) + ITEM_BYTES;
            ring.items.push_back(item);
        }
        while ring.bytes > RING_BYTES {
            let Some(item) = ring.items.pop_front() else { break };
            ring.bytes -= item_bytes(&item) + ITEM_BYTES;
            ring.first += 1;
        }
        drop(ring);
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn finish(&self, end: FeedEnd) {
        self.lock().end = Some(end);
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn item_bytes(item: &LogItem) -> usize {
    match item {
        LogItem::Piece(piece) => piece.data.len(),
        LogItem::Gap(_) => 0,
    }
}
