//! Where searched bytes stand in the whole output, which has others between them.

use std::collections::VecDeque;

/// How many places are remembered. More of them within one candidate make the places before them
/// inexact, which only an error's position can show: where an object begins is noted when it is seen.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
pub(super) struct Offsets {
    /// From which searched position on how many others came before, in order.
    shifts: VecDeque<(u64, u64)>,
}

impl Offsets {
    /// The first searched byte is byte `at` of the output.
    pub(super) fn new(at: u64) -> Self {
        Self { shifts: VecDeque::from([(0, at)]) }
    }

    /// Notes that `len` others come before searched position `pos`, the next one.
    pub(super) fn pass_over(&mut self, pos: u64, len: u64) {
        let (last, shift) = self.shifts.back().copied().unwrap_or_default();
        if last == pos {
            self.shifts.pop_back();
        } else if self.shifts.len() == REMEMBERED {
            self.shifts.pop_front();
        }
        self.shifts.push_back((pos, shift + len));
    }

    /// Byte of the output at searched position `pos`.
    pub(super) fn at(&self, pos: u64) -> u64 {
        // Most outputs have one stream.
        if self.shifts.len() == 1 {
            return pos + self.shifts.front().map_or(0, |(_, shift)| *shift);
        }
        let after = self.shifts.partition_point(|(from, _)| *from <= pos);
        pos + self.shifts.get(after.saturating_sub(1)).map_or(0, |(_, shift)| *shift)
    }

    /// Forgets what is only needed before `pos`.
    pub(super) fn forget(&mut self, pos: u64) {
        while self.shifts.get(1).is_some_and(|(from, _)| *from <= pos) {
            self.shifts.pop_front();
        }
    }
}
