//! Failures that a test plans: the n-th system call fails, once or from then on; or one of them hangs.
//!
//! A seam of our own instead of crate `fail`, whose points are of the whole process and known by name:
//! here each backend that a test opens has its own, whatever runs beside it, and a test needs no list
//! of the calls: it lets the first fail, the second, and so on, until none is left.

use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calls: AtomicU64,
    plan: Mutex<FaultPlan>,
    /// Notified when a call need not hang any longer.
    goes_on: Condvar,
}

#[derive(Debug, Default)]
struct FaultPlan {
    armed: Option<(RangeInclusive<u64>, Errno)>,
    refused: Option<(&'static str, Errno)>,
    fired: Option<&'static str>,
    hang: Hang,
}

/// What becomes of a call that is to hang.
#[derive(Debug, Default)]
enum Hang {
    #[default]
    None,
    /// The next of this name is to.
    Next(&'static str),
    /// One does.
    Hangs,
}

impl Faults {
    /// Calls of these numbers fail, counted from 0 and from now on.
    pub(crate) fn arm(&self, numbers: RangeInclusive<u64>, errno: Errno) {
        let mut plan = self.plan();
        self.calls.store(0, Ordering::SeqCst);
        *plan = FaultPlan { armed: Some((numbers, errno)), ..FaultPlan::default() };
    }

    /// All calls of this name fail from now on.
    pub(crate) fn refuse(&self, name: &'static str, errno: Errno) {
        *self.plan() = FaultPlan { refused: Some((name, errno)), ..FaultPlan::default() };
    }

    /// None fails any more. Answers the name of the last that did.
    pub(crate) fn disarm(&self) -> Option<&'static str> {
        std::mem::take(&mut *self.plan()).fired
    }

    /// How many calls there were, since calls were made to fail.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The next call of this name hangs until [`Faults::go_on`].
    pub(crate) fn hang(&self, name: &'static str) {
        self.plan().hang = Hang::Next(name);
    }

    /// Whether a call hangs.
    pub(crate) fn hangs(&self) -> bool {
        matches!(self.plan().hang, Hang::Hangs)
    }

    /// Nothing hangs any more.
    pub(crate) fn go_on(&self) {
        self.plan().hang = Hang::None;
        self.goes_on.notify_all();
    }

    pub(super) fn call(&self, name: &'static str) -> io::Result<()> {
        let mut plan = self.plan();
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some((numbers, errno)) = &plan.armed
            && numbers.contains(&number)
        {
            let errno = *errno;
            plan.fired = Some(name);
            return Err(errno.into());
        }
        if let Some((refused, errno)) = plan.refused
            && refused == name
        {
            return Err(errno.into());
        }
        if matches!(plan.hang, Hang::Next(next) if next == name) {
            plan.hang = Hang::Hangs;
            let hangs = |plan: &mut FaultPlan| matches!(plan.hang, Hang::Hangs);
            drop(self.goes_on.wait_while(plan, hangs).unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, FaultPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
