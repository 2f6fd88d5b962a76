//! Failures that a test plans: the n-th system call fails, once or from then on.
//!
//! A seam of our own instead of crate `fail`, whose points are of the whole process and known by name:
//! here each backend that a test opens has its own, whatever runs beside it, and a test needs no list
//! of the calls: it lets the first fail, the second, and so on, until none is left.

use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calls: AtomicU64,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    armed: Option<(RangeInclusive<u64>, Errno)>,
    fired: Option<&'static str>,
}

impl Faults {
    /// Calls of these numbers fail, counted from 0 and from now on.
    pub(crate) fn arm(&self, numbers: RangeInclusive<u64>, errno: Errno) {
        let mut plan = self.plan();
        self.calls.store(0, Ordering::SeqCst);
        *plan = Plan { armed: Some((numbers, errno)), fired: None };
    }

    /// None fails any more. Answers the name of the last that did.
    pub(crate) fn disarm(&self) -> Option<&'static str> {
        std::mem::take(&mut *self.plan()).fired
    }

    /// How many calls there were, since calls were made to fail.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
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
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
