//! The clock that retention goes by. It begins with the time of the wall, as the state directory is made,
//! and from then on advances only while the machine runs: `/proc/uptime` counts that, and no clock that
//! somebody sets wrong, or that is wrong until the network is there, makes a run expire. The price: what
//! the machine is off does not count.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::sys::{Probe, Sys};
use longshore_domain::name::RunName;

/// Where the clock stood, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ClockMark {
    time: Timestamp,
    boot_id: String,
    /// Since that boot.
    uptime: Duration,
}

/// The clock.
#[derive(Debug)]
pub(crate) struct RetentionClock {
    file: PathBuf,
    /// What it showed as it was opened.
    base: Timestamp,
    opened: Instant,
}

impl RetentionClock {
    /// Goes on where the mark in `file` left it. Without a mark it begins anew: it never went faster than
    /// the wall clock, so it is not behind then.
    pub(crate) fn open(sys: &Sys, file: &Path) -> Self {
        let mark = match sys.read_json::<ClockMark>(file) {
            Probe::There(mark) => Some(mark),
            Probe::Gone => None,
            Probe::Unknown(unknown) => {
                tracing::warn!(%unknown, "the retention clock starts again");
                None
            }
        };
        let base = resumed(mark, present(sys), Timestamp::now());
        Self { file: file.to_owned(), base, opened: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        add(self.base, self.opened.elapsed())
    }

    /// Notes where it stands. What passes after the last mark before the machine goes down does not count.
    pub(crate) fn mark(&self, sys: &Sys) -> std::io::Result<()> {
        let Some((boot_id, uptime)) = present(sys) else { return Ok(()) };
        let mark = ClockMark { time: self.now(), boot_id, uptime };
        let staged = self.file.with_extension("new");
        match sys.unlink(&staged) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sys.write_new(&staged, &serde_json::to_vec(&mark)?, 0o600)?;
        sys.rename(&staged, &self.file)
    }
}

fn present(sys: &Sys) -> Option<(String, Duration)> {
    Some((sys.boot_id().ok()?.to_owned(), sys.uptime().ok()?))
}

fn resumed(mark: Option<ClockMark>, present: Option<(String, Duration)>, wall: Timestamp) -> Timestamp {
    match (mark, present) {
        (None, _) => wall,
        (Some(mark), Some((boot_id, uptime))) if boot_id == mark.boot_id => {
            add(mark.time, uptime.saturating_sub(mark.uptime))
        }
        (Some(mark), _) => mark.time,
    }
}

/// What finished runs may take, whatever their retention; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// How many there may be.
    pub runs: Option<usize>,
    /// What their directories may take together, in bytes.
    pub bytes: Option<u64>,
}

/// A finished run that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FinishedRun<'a> {
    /// When it became terminal.
    pub(crate) finished: Timestamp,
    pub(crate) name: &'a RunName,
    /// What its directory takes.
    pub(crate) bytes: u64,
}

impl Room {
    /// Those for which there is no room: the oldest.
    pub(crate) fn surplus(self, mut kept: Vec<FinishedRun<'_>>) -> Vec<FinishedRun<'_>> {
        let mut bytes = kept.iter().fold(0, |sum: u64, run| sum.saturating_add(run.bytes));
        let mut runs = kept.len();
        let fits = |runs: usize, bytes: u64| {
            self.runs.is_none_or(|max| runs <= max) && self.bytes.is_none_or(|max| bytes <= max)
        };
        if fits(runs, bytes) {
            return Vec::new();
        }
        kept.sort_unstable();
        let mut surplus = 0;
        while surplus < kept.len() && !fits(runs, bytes) {
            (runs, bytes) = (runs - 1, bytes.saturating_sub(kept[surplus].bytes));
            surplus += 1;
        }
        kept.truncate(surplus);
        kept
    }
}

/// `time` and `passed`, or the end of time.
pub(crate) fn add(time: Timestamp, passed: Duration) -> Timestamp {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    time.checked_add(passed).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn no_jump_of_the_wall_clock_moves_it() {
        let present = |boot: &str, uptime: u64| Some((boot.to_owned(), Duration::from_secs(uptime)));
        let mark = || Some(ClockMark { time: at(1_000), boot_id: "a".to_owned(), uptime: Duration::from_secs(50) });
        let days = 30 * 86_400;
        for wall in [0, 1_000, 1_000 + days] {
            assert_eq!(resumed(mark(), present("a", 50), at(wall)), at(1_000));
            assert_eq!(resumed(mark(), present("a", 60), at(wall)), at(1_010));
            assert_eq!(resumed(mark(), present("b", 10_000), at(wall)), at(1_000), "off, or booted since");
            assert_eq!(resumed(mark(), None, at(wall)), at(1_000));
            assert_eq!(resumed(None, present("a", 50), at(wall)), at(wall), "the first start");
        }
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room() {
        let names: Vec<RunName> =
            (0..4).map(|n| RunName::parse(&format!("namespaces/default/runs/r{n}")).unwrap()).collect();
        let kept = |order: [i64; 4]| -> Vec<FinishedRun<'_>> {
            order
                .iter()
                .zip(&names)
                .map(|(at_second, name)| FinishedRun { finished: at(*at_second), name, bytes: 10 })
                .collect()
        };
        let table = [
            (None, None, 0),
            (Some(4), Some(40), 0),
            (Some(3), None, 1),
            (Some(0), None, 4),
            (None, Some(39), 1),
            (None, Some(20), 2),
            (Some(3), Some(19), 3),
            (None, Some(0), 4),
        ];
        for (runs, bytes, expected) in table {
            let surplus = Room { runs, bytes }.surplus(kept([3, 1, 4, 2]));
            let went: Vec<_> = surplus.iter().map(|kept| kept.finished.as_second()).collect();
            assert_eq!(went, (1..=expected).collect::<Vec<i64>>(), "{runs:?} {bytes:?}");
        }
    }

    #[test]
    fn it_goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".retention");
        let sys = Sys::default();
        let mark =
            ClockMark { time: at(1_000), boot_id: sys.boot_id().unwrap().to_owned(), uptime: sys.uptime().unwrap() };
        std::fs::write(&file, serde_json::to_vec(&mark).unwrap()).unwrap();
        let clock = RetentionClock::open(&sys, &file);
        assert!(clock.now() >= at(1_000) && clock.now() < at(100_000));
        clock.mark(&sys).unwrap();
        clock.mark(&sys).unwrap();
        let before = clock.now();
        let second = RetentionClock::open(&sys, &file);
        assert!(second.now().duration_since(before).as_secs().abs() < 10_000 && second.now() < at(100_000));
    }
}
