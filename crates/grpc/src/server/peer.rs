//! A connection as its calls see it: where it comes from, and since when nothing is called over it. Knows the budget's
//! networks, no socket.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::server::budget::network;

/// How long a connection may take to say its first word. hyper waits for that without end.
pub(crate) const FIRST_WORD: Duration = Duration::from_secs(10);
/// How long a connection may be without a call if nobody ever showed over it who they are.
pub(crate) const STRANGER_IDLE: Duration = Duration::from_secs(30);
/// The same if somebody did. Clients open another one when they need it.
pub(crate) const IDLE: Duration = Duration::from_secs(15 * 60);

/// A connection as its calls see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    address: Option<SocketAddr>,
    number: u64,
    activity: Arc<Mutex<Activity>>,
}

#[derive(Debug)]
struct Activity {
    /// Calls that are open.
    calls: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
    /// Whether it is known who calls.
    known: bool,
    /// Whether it said anything.
    spoke: bool,
}

impl Peer {
    pub(crate) fn new(address: Option<SocketAddr>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let activity = Activity { calls: 0, since: Instant::now(), known: false, spoke: false };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { address, number, activity: Arc::new(Mutex::new(activity)) }
    }

    /// Where it comes from.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The network that it is counted as.
    pub(crate) fn network(&self) -> Option<IpAddr> {
        self.address.map(|address| network(address.ip()))
    }

    /// What no other connection has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Somebody showed who they are.
    pub(crate) fn known(&self) {
        self.activity().known = true;
    }

    /// A call begins.
    pub(crate) fn call(&self) -> OpenCall {
        self.activity().calls += 1;
        OpenCall(self.clone())
    }

    /// When the connection is to be closed, as it is now.
    pub(crate) fn idle_until(&self) -> Option<Instant> {
        let Activity { calls, since, known, spoke } = *self.activity();
        let limit = match (spoke, known) {
            (false, _) => FIRST_WORD,
            (true, false) => STRANGER_IDLE,
            (true, true) => IDLE,
        };
        (calls == 0).then(|| since + limit)
    }

    /// It said something.
    pub(crate) fn spoke(&self) {
        self.activity().spoke = true;
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call; over when dropped.
#[derive(Debug)]
pub(crate) struct OpenCall(Peer);

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.calls -= 1;
        activity.since = Instant::now();
    }
}
