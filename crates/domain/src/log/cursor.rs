//! The opaque cursor of a log stream: a place in a run's output that any replica understands.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::log::LogPosition;

/// Version of the layout below. The checksum stands last in every version.
const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;
/// Version, hash of the run's uid, attempt, flags.
const START_LEN: usize = 1 + 8 + 4 + 1;
/// Second, nanosecond, ordinal, offset, check.
const POSITION_LEN: usize = 8 + 4 + 4 + 8 + 4;

const HAS_POSITION: u8 = 1;
const LINE_DONE: u8 = 2;

/// A place in a run's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// The first 8 bytes of a tagged SHA-256 of the run's uid.
    pub run_uid_hash: [u8; 8],
    /// Attempt, from 1.
    pub attempt: u32,
    /// Where in its output. `None`: at its start.
    pub position: Option<LogPosition>,
}

/// Why a text is not a cursor for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// No server made this.
    #[error("the cursor is malformed")]
    Malformed,
    /// Another version of the server made this.
    #[error("the cursor has version {0}, which this server does not know")]
    UnknownVersion(u8),
    /// It was made for another run, or for one of the same name that was deleted since.
    #[error("the cursor belongs to another run")]
    ForeignRun,
}

impl LogCursor {
    /// A place in the output of the run with this uid.
    #[must_use]
    pub fn new(run_uid: &str, attempt: u32, position: Option<LogPosition>) -> Self {
        Self { run_uid_hash: run_hash(run_uid), attempt, position }
    }

    /// As text: base64url without padding.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { run_uid_hash, attempt, position } = self;
        let mut bytes = Vec::with_capacity(START_LEN + POSITION_LEN + CHECKSUM_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(run_uid_hash);
        bytes.extend_from_slice(&attempt.to_be_bytes());
        match position {
            None => bytes.push(0),
            Some(LogPosition { time, ordinal, offset, line_done, check }) => {
                bytes.push(if *line_done { HAS_POSITION | LINE_DONE } else { HAS_POSITION });
                bytes.extend_from_slice(&time.as_second().to_be_bytes());
                bytes.extend_from_slice(&time.subsec_nanosecond().to_be_bytes());
                bytes.extend_from_slice(&ordinal.to_be_bytes());
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.extend_from_slice(&check.to_be_bytes());
            }
        }
        bytes.extend_from_slice(&checksum(&bytes));
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads what [`LogCursor::encode`] made for the run with this uid.
    pub fn decode(text: &str, run_uid: &str) -> Result<Self, CursorError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| CursorError::Malformed)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(CursorError::Malformed)?;
        if *sum != checksum(body) {
            return Err(CursorError::Malformed);
        }
        let mut fields = CursorFields(body);
        match fields.take::<1>() {
            Some([VERSION]) => {}
            Some([version]) => return Err(CursorError::UnknownVersion(version)),
            None => return Err(CursorError::Malformed),
        }
        let cursor = fields.cursor().filter(|_| fields.0.is_empty()).ok_or(CursorError::Malformed)?;
        if cursor.run_uid_hash != run_hash(run_uid) {
            return Err(CursorError::ForeignRun);
        }
        Ok(cursor)
    }
}

/// The fields that were not read yet.
struct CursorFields<'a>(&'a [u8]);

impl CursorFields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn cursor(&mut self) -> Option<LogCursor> {
        let run_uid_hash = self.take()?;
        let attempt = u32::from_be_bytes(self.take()?);
        let position = match self.take::<1>()? {
            [0] => None,
            [HAS_POSITION] => Some(self.position(false)?),
            [flags] if flags == HAS_POSITION | LINE_DONE => Some(self.position(true)?),
            _ => return None,
        };
        Some(LogCursor { run_uid_hash, attempt, position })
    }

    fn position(&mut self, line_done: bool) -> Option<LogPosition> {
        let second = i64::from_be_bytes(self.take()?);
        let nanosecond = i32::from_be_bytes(self.take()?);
        let time = Timestamp::new(second, nanosecond).ok()?;
        // A time is also made of others, such as a second more and less nanoseconds; a place has one cursor.
        if (time.as_second(), time.subsec_nanosecond()) != (second, nanosecond) {
            return None;
        }
        Some(LogPosition {
            time,
            ordinal: u32::from_be_bytes(self.take()?),
            offset: u64::from_be_bytes(self.take()?),
            line_done,
            check: u32::from_be_bytes(self.take()?),
        })
    }
}

fn run_hash(run_uid: &str) -> [u8; 8] {
    tagged(b"longshore.dev/log-cursor-run/v1\0", run_uid.as_bytes())
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    tagged(b"longshore.dev/log-cursor/v1\0", body)
}

/// The first bytes of a SHA-256.
fn tagged<const N: usize>(tag: &[u8], bytes: &[u8]) -> [u8; N] {
    let digest = Sha256::new().chain_update(tag).chain_update(bytes).finalize();
    let mut first = [0; N];
    first.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_has_one_cursor() {
        let time = Timestamp::new(5, 7).unwrap();
        let position = LogPosition { time, ordinal: 0, offset: 0, line_done: false, check: 0 };
        let text = LogCursor::new("uid", 1, Some(position)).encode();
        assert!(LogCursor::decode(&text, "uid").is_ok());
        // The same time, made of a second more and a negative number of nanoseconds.
        let mut body = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        body.truncate(body.len() - CHECKSUM_LEN);
        body[START_LEN..START_LEN + 8].copy_from_slice(&6_i64.to_be_bytes());
        body[START_LEN + 8..START_LEN + 12].copy_from_slice(&(7 - 1_000_000_000_i32).to_be_bytes());
        body.extend(checksum(&body));
        assert_eq!(LogCursor::decode(&BASE64URL_NOPAD.encode(&body), "uid"), Err(CursorError::Malformed));
    }

    const RUN: &str = "0192f3c1-5a0e-7b5e-8d8a-000000000001";

    fn position(second: i64, nanosecond: i32) -> LogPosition {
        LogPosition {
            time: Timestamp::new(second, nanosecond).unwrap(),
            ordinal: 3,
            offset: 17,
            line_done: false,
            check: 0xdead_beef,
        }
    }

    #[test]
    fn the_layout_is_pinned() {
        let cursor = LogCursor::new(RUN, 2, Some(position(1_795_251_120, 5)));
        let text = cursor.encode();
        assert_eq!(text, "ARwe4dO4KKTJAAAAAgEAAAAAawFbsAAAAAUAAAADAAAAAAAAABHerb7vJ2aHaA");
        assert_eq!(LogCursor::decode(&text, RUN), Ok(cursor));
    }

    #[test]
    fn a_cursor_is_bound_to_its_run() {
        let text = LogCursor::new(RUN, 1, None).encode();
        assert_eq!(LogCursor::decode(&text, "another"), Err(CursorError::ForeignRun));
    }

    #[test]
    fn a_later_version_is_distinguished_from_nonsense() {
        let mut bytes = vec![9, 1, 2, 3];
        bytes.extend_from_slice(&checksum(&bytes));
        let text = BASE64URL_NOPAD.encode(&bytes);
        assert_eq!(LogCursor::decode(&text, RUN), Err(CursorError::UnknownVersion(9)));
        assert_eq!(LogCursor::decode("", RUN), Err(CursorError::Malformed));
        assert_eq!(LogCursor::decode("AUDU", RUN), Err(CursorError::Malformed));
    }

    #[test]
    fn a_body_of_the_wrong_length_is_malformed() {
        let whole = BASE64URL_NOPAD.decode(LogCursor::new(RUN, 1, Some(position(5, 5))).encode().as_bytes()).unwrap();
        let body = &whole[..whole.len() - CHECKSUM_LEN];
        for len in 0..=body.len() + 1 {
            let mut bytes: Vec<u8> = body.iter().copied().chain([0]).take(len).collect();
            bytes.extend_from_slice(&checksum(&bytes));
            let read = LogCursor::decode(&BASE64URL_NOPAD.encode(&bytes), RUN);
            assert_eq!(read.is_ok(), len == body.len(), "length {len}");
        }
    }

    proptest! {
        #[test]
        fn every_cursor_survives(
            attempt: u32, second in -1_000i64..4_000_000_000, nanosecond in 0..1_000_000_000i32,
            ordinal: u32, offset: u64, line_done: bool, check: u32,
        ) {
            let time = Timestamp::new(second, nanosecond).unwrap();
            let position = LogPosition { time, ordinal, offset, line_done, check };
            let cursor = LogCursor::new(RUN, attempt, Some(position));
            prop_assert_eq!(LogCursor::decode(&cursor.encode(), RUN), Ok(cursor));
        }

        #[test]
        fn no_text_is_mistaken_for_a_cursor(text in "[A-Za-z0-9_-]{0,80}|.{0,40}") {
            prop_assert!(LogCursor::decode(&text, RUN).is_err());
        }

        #[test]
        fn a_changed_character_is_noticed(at in 0usize..60, to in "[A-Za-z0-9_-]") {
            let text = LogCursor::new(RUN, 1, Some(position(1_795_251_120, 5))).encode();
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != text);
            prop_assert_eq!(LogCursor::decode(&changed, RUN), Err(CursorError::Malformed));
        }
    }
}
