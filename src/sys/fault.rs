//! Failures that a test plans: the n-th system call fails, once or from then on.
//!
//! A seam of our own instead of crate `fail`, whose points are of the whole process and known by name:
//! here each backend that a test opens has its own, whatever runs beside it, and a test needs no list
//! of the calls: it lets the first fail, the second, and so on, until none is left.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

/// Which call fails, and how.
#[derive(Debug)]
pub(crate) struct Faults {
    calls: AtomicU64,
    plan: Mutex<Plan>,
}

#[derive(Debug)]
struct Plan {
    first: u64,
    last: u64,
    errno: Errno,
    fired: Option<&'static str>,
}

impl Faults {
    /// Call number `nth`, from 0, fails.
    pub(crate) fn once(nth: u64, errno: Errno) -> Self {
        Self::between(nth, nth, errno)
    }

    fn between(first: u64, last: u64, errno: Errno) -> Self {
        Self { calls: AtomicU64::new(0), plan: Mutex::new(Plan { first, last, errno, fired: None }) }
    }

    /// The name of a call that failed.
    pub(crate) fn fired(&self) -> Option<&'static str> {
        self.plan().fired
    }

    pub(super) fn call(&self, name: &'static str) -> io::Result<()> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.plan();
        if (plan.first..=plan.last).contains(&number) {
            plan.fired = Some(name);
            return Err(plan.errno.into());
        }
        Ok(())
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
