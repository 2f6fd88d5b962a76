//! What calls take together: of the process, of one caller, of one connection. Each bound that holds for one thing
//! holds for all of them here, so that their product is known: `docs/security.md` has it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::sizes::{ANSWER_WHOLE_MAX, MESSAGE_MAX, STREAM_WHOLE_MAX, WINDOW};
use longshore_engine::RESULTS_AT_ONCE;

/// How much may be in use at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// By all together.
    pub process: usize,
    /// By one caller: a user, or an address where it is not known who calls.
    pub caller: usize,
    /// By one connection.
    pub connection: usize,
}

const MIB: usize = 1024 * 1024;

/// Calls that have not ended.
pub(crate) const CALLS: Shares = Shares { process: 2048, caller: 1024, connection: 1024 };
/// Those of them that are open to everybody, such as watches of health.
pub(crate) const OPEN_CALLS: Shares = Shares { process: 512, caller: 64, connection: 32 };
/// Followed logs and watches, if the configuration does not say how many of them a caller may have.
pub(crate) const STREAMS: Shares = Shares { process: 1024, caller: 256, connection: 1024 };
/// Bytes of requests, from their first byte until they are done with; as they are once decompressed.
pub(crate) const REQUESTS: Shares = Shares { process: 48 * MIB, caller: 24 * MIB, connection: 16 * MIB };
/// Bytes of large answers that were not yet taken.
pub(crate) const ANSWERS: Shares = Shares { process: 64 * MIB, caller: 32 * MIB, connection: 24 * MIB };

/// What may be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at once, of each port.
    pub connections: usize,
    /// Those of them from one address.
    pub connections_per_address: usize,
    /// Followed logs and watches of one caller at once.
    pub streams_per_caller: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { connections: 1024, connections_per_address: 256, streams_per_caller: STREAMS.caller }
    }
}

/// What a call takes beside its messages, in bytes: its state in HTTP/2, its task, its span.
const CALL: usize = 16 * 1024;
/// What a connection takes beside its calls and what was sent over it, in bytes, TLS included.
const CONNECTION: usize = 48 * 1024;
/// What a run takes that is known, in bytes.
const RUN: usize = 4 * 1024;
/// The process before anybody calls, in bytes.
const PROCESS: usize = 24 * MIB;

/// One row of what the process can take at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRow {
    /// Of what.
    pub what: &'static str,
    /// How many there may be.
    pub count: usize,
    /// Bytes of each.
    pub each: usize,
}

/// What the process can take at most with default limits, so many processors, and so many runs; `result_max` is the
/// largest result, in bytes. The rows add up.
#[must_use]
pub fn worst_case(processors: usize, runs: usize, result_max: usize) -> Vec<BudgetRow> {
    let ServeLimits { connections, .. } = ServeLimits::default();
    let row = |what, count, each| BudgetRow { what, count, each };
    vec![
        row("the process itself", 1, PROCESS),
        row("connections, with what is sent ahead", connections, CONNECTION + WINDOW as usize),
        row("calls, with a small answer", CALLS.process, CALL + ANSWER_WHOLE_MAX),
        row("followed logs and watches, with a message more", STREAMS.process, STREAM_WHOLE_MAX),
        row("requests as they came, and as they were read", 2, REQUESTS.process),
        // As it is merged, as it is stored, and both encodings of its digest.
        row("specs that are checked, in four forms", processors, 4 * MESSAGE_MAX),
        row("large answers", 1, ANSWERS.process),
        row("stored results that are read", RESULTS_AT_ONCE, result_max),
        row("runs", runs, RUN),
    ]
}

/// Who takes something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Consumer {
    /// Who showed who they are.
    User(Arc<str>),
    /// Any caller; `None`: not over a network.
    Address(Option<IpAddr>),
}

/// Who takes something, and over which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) caller: Consumer,
    /// Its number.
    pub(crate) connection: u64,
}

/// The network that an address is counted as: of IPv6 the first half, since each host has all of the second.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// Whose share is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Process,
    Caller,
    Connection,
}

impl Full {
    /// For a sentence: `… of {}`.
    pub(crate) fn of(self) -> &'static str {
        match self {
            Self::Process => "all callers",
            Self::Caller => "one caller",
            Self::Connection => "one connection",
        }
    }
}

/// All that is counted.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) calls: Ledger,
    pub(crate) open_calls: Ledger,
    pub(crate) streams: Ledger,
    pub(crate) requests: Ledger,
    pub(crate) answers: Ledger,
}

impl Budget {
    pub(crate) fn new(limits: ServeLimits) -> Self {
        Self {
            calls: Ledger::new(CALLS),
            open_calls: Ledger::new(OPEN_CALLS),
            streams: Ledger::new(Shares { caller: limits.streams_per_caller, ..STREAMS }),
            requests: Ledger::new(REQUESTS),
            answers: Ledger::new(ANSWERS),
        }
    }
}

/// What is in use of one thing.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<BudgetState>);

#[derive(Debug)]
struct BudgetState {
    shares: Shares,
    used: Mutex<BudgetUse>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct BudgetUse {
    process: usize,
    callers: HashMap<Consumer, usize>,
    connections: HashMap<u64, usize>,
}

impl Ledger {
    pub(crate) fn new(shares: Shares) -> Self {
        Self(Arc::new(BudgetState { shares, used: Mutex::default(), freed: Notify::new() }))
    }

    /// Takes so much, and gives it back when what is returned is dropped.
    ///
    /// # Errors
    /// Whose share has no room for it now.
    pub(crate) fn take(&self, who: &Who, amount: usize) -> Result<Hold, Full> {
        let BudgetState { shares, .. } = *self.0;
        let mut used = self.0.used();
        let caller = used.callers.get(&who.caller).copied().unwrap_or_default() + amount;
        let connection = used.connections.get(&who.connection).copied().unwrap_or_default() + amount;
        let process = used.process + amount;
        let full = [
            (connection > shares.connection, Full::Connection),
            (caller > shares.caller, Full::Caller),
            (process > shares.process, Full::Process),
        ];
        if let Some((_, full)) = full.into_iter().find(|(is_full, _)| *is_full) {
            return Err(full);
        }
        used.process = process;
        used.callers.insert(who.caller.clone(), caller);
        used.connections.insert(who.connection, connection);
        Ok(Hold { ledger: self.clone(), who: who.clone(), amount })
    }

    /// As [`Self::take`], but waits until there is room, for `patience` at most.
    pub(crate) async fn take_within(self, who: Who, amount: usize, patience: Duration) -> Result<Hold, Full> {
        let give_up = tokio::time::sleep(patience);
        tokio::pin!(give_up);
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // From now on nothing that is given back is missed.
            freed.as_mut().enable();
            let full = match self.take(&who, amount) {
                Ok(hold) => return Ok(hold),
                Err(full) => full,
            };
            tokio::select! {
                () = freed => {}
                () = &mut give_up => return Err(full),
            }
        }
    }

    /// How much is in use by all together.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.used().process
    }
}

impl BudgetState {
    // Nothing can panic while the lock is held.
    fn used(&self) -> MutexGuard<'_, BudgetUse> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Ledger,
    who: Who,
    amount: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut used = self.ledger.0.used();
        used.process -= self.amount;
        lower(&mut used.callers, &self.who.caller, self.amount);
        lower(&mut used.connections, &self.who.connection, self.amount);
        drop(used);
        self.ledger.0.freed.notify_waiters();
    }
}

fn lower<K: std::hash::Hash + Eq>(used: &mut HashMap<K, usize>, key: &K, amount: usize) {
    if let Some(left) = used.get_mut(key) {
        *left -= amount;
        if *left == 0 {
            used.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: &str, connection: u64) -> Who {
        Who { caller: Consumer::User(user.into()), connection }
    }

    #[test]
    fn each_share_is_bounded_and_nothing_is_lost() {
        let ledger = Ledger::new(Shares { process: 10, caller: 6, connection: 4 });
        let first = ledger.take(&who("a", 1), 4).unwrap();
        assert_eq!(ledger.take(&who("a", 1), 1).unwrap_err(), Full::Connection);
        let second = ledger.take(&who("a", 2), 2).unwrap();
        assert_eq!(ledger.take(&who("a", 2), 1).unwrap_err(), Full::Caller);
        let third = ledger.take(&who("b", 3), 4).unwrap();
        assert_eq!(ledger.take(&who("c", 4), 1).unwrap_err(), Full::Process);
        drop((first, second, third));
        assert_eq!(ledger.used(), 0);
        let used = ledger.0.used();
        assert!(used.callers.is_empty() && used.connections.is_empty(), "{used:?}");
    }

    #[test]
    fn a_host_cannot_choose_who_it_is() {
        let network = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:0:7:1:2:3:4"), "2001:db8:0:7::");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gets_what_is_given_back_or_gives_up() {
        let ledger = Ledger::new(Shares { process: 4, caller: 4, connection: 4 });
        let held = ledger.take(&who("a", 1), 3).unwrap();
        let patience = Duration::from_secs(2);
        let refused = ledger.clone().take_within(who("b", 2), 2, patience).await;
        assert_eq!(refused.unwrap_err(), Full::Process);
        let waiting = ledger.clone().take_within(who("b", 2), 2, patience);
        let (taken, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            drop(held);
        });
        taken.unwrap();
    }
}
