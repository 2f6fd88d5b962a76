//! Who may be started, and who waits: so many runs are executed at once, first come, first served.
//!
//! The directories of runs are the truth here, too: what runs has a place, and what nothing was begun for
//! waits, in the order of creation. So a restart keeps the order.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::facts::Contents;
use crate::blocking::lock;
use longshore_domain::name::RunName;

#[derive(Debug)]
pub(crate) struct Queue {
    max: usize,
    state: Mutex<QueueState>,
    /// Held while a run is given its turn, or is to be stopped in place of that.
    turn: Mutex<()>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whether it is known what runs. Until then nobody gets a place.
    open: bool,
    /// Who has a place.
    placed: HashSet<RunName>,
    /// Who goes from one attempt to the next just now: their files seem to be over meanwhile.
    beginning: HashSet<RunName>,
    /// Who waits, in order.
    waiting: BTreeSet<(Timestamp, RunName)>,
    /// The same by name.
    since: HashMap<RunName, Timestamp>,
}

impl QueueState {
    fn wait(&mut self, name: &RunName, since: Timestamp) {
        if !self.since.contains_key(name) {
            self.since.insert(name.clone(), since);
            self.waiting.insert((since, name.clone()));
        }
    }

    fn wait_no_more(&mut self, name: &RunName) {
        if let Some(since) = self.since.remove(name) {
            self.waiting.remove(&(since, name.clone()));
        }
    }
}

impl Queue {
    /// One with so many places.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, state: Mutex::default(), turn: Mutex::default(), changed: Notify::new() }
    }

    /// From now on it is known what runs, and places are given away.
    pub(crate) fn open(&self) {
        lock(&self.state).open = true;
        self.changed.notify_one();
    }

    /// A run is about to be created: it gets a place, unless it has to wait. Answers whether it is new here.
    pub(crate) fn join(&self, name: &RunName, since: Timestamp) -> bool {
        let mut state = lock(&self.state);
        if state.placed.contains(name) || state.since.contains_key(name) {
            return false;
        }
        if state.open && state.waiting.is_empty() && state.placed.len() < self.max {
            state.placed.insert(name.clone());
        } else {
            state.wait(name, since);
        }
        true
    }

    /// A further attempt of a run is about to begin: it gets a place, unless it has to wait. Until [`Self::begun`] what is
    /// read of it counts for nothing.
    pub(crate) fn begin(&self, name: &RunName, since: Timestamp) {
        lock(&self.state).beginning.insert(name.clone());
        self.join(name, since);
    }

    /// It has begun, or could not.
    pub(crate) fn begun(&self, name: &RunName, has_begun: bool) {
        lock(&self.state).beginning.remove(name);
        if !has_begun {
            self.leave(name);
        }
    }

    /// What was just read of a run says whether it has a place, or waits.
    pub(crate) fn observe(&self, contents: &Contents) {
        let name = &contents.name;
        let mut state = lock(&self.state);
        if state.beginning.contains(name) {
            return;
        }
        if contents.takes_place() {
            state.wait_no_more(name);
            if !state.placed.contains(name) {
                state.placed.insert(name.clone());
            }
        } else if !contents.may_wait() {
            drop(state);
            self.leave(name);
        } else if contents.stop.is_there() || contents.ordered {
            // It is not to start any more.
            state.wait_no_more(name);
        } else if !state.placed.contains(name) {
            state.wait(name, contents.submission().create_time);
        }
    }

    /// Nothing of a run runs, or will run.
    pub(crate) fn leave(&self, name: &RunName) {
        let mut state = lock(&self.state);
        state.wait_no_more(name);
        if state.placed.remove(name) && !state.waiting.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Whether the run has a place.
    pub(crate) fn has_place(&self, name: &RunName) -> bool {
        lock(&self.state).placed.contains(name)
    }

    /// Who is next, if there is a place; those in `passed` are passed over.
    pub(crate) fn next(&self, passed: &HashSet<RunName>) -> Option<RunName> {
        let state = lock(&self.state);
        if !state.open || state.placed.len() >= self.max {
            return None;
        }
        state.waiting.iter().map(|(_, name)| name).find(|name| !passed.contains(*name)).cloned()
    }

    /// Gives a run its place if `begin` says that it may begin.
    pub(crate) fn admit<T, E>(
        &self,
        name: &RunName,
        begin: impl FnOnce() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let _turn = lock(&self.turn);
        let begun = begin()?;
        if begun.is_some() {
            let mut state = lock(&self.state);
            state.wait_no_more(name);
            state.placed.insert(name.clone());
        }
        Ok(begun)
    }

    /// Does something while nobody is given their turn, if that is needed.
    pub(crate) fn hold<T>(&self, is_needed: bool, work: impl FnOnce() -> T) -> T {
        let _turn = is_needed.then(|| lock(&self.turn));
        work()
    }

    /// Completes once somebody may have their turn. Safe to cancel.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Why a run waits.
    pub(crate) fn why(&self) -> String {
        format!("it waits for its turn: at most {} runs are executed at once (local.max_concurrent_runs)", self.max)
    }

    /// What a run that was submitted now would wait for. `None`: it would not wait.
    pub(crate) fn expected_wait(&self) -> Option<String> {
        let state = lock(&self.state);
        if state.waiting.is_empty() && state.placed.len() < self.max {
            return None;
        }
        let (max, before) = (self.max, state.waiting.len());
        Some(format!(
            "it would be QUEUED: at most {max} runs are executed at once (local.max_concurrent_runs), and {before} wait before it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::created;
    use super::*;
    use crate::sys::{Cause, Probe, Unknown};
    use longshore_domain::run::rundir::{Admitted, Exit, ProcessIdentity};

    fn name(id: &str) -> RunName {
        RunName::parse(&format!("namespaces/default/runs/{id}")).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn waiting(id: &str) -> Contents {
        Contents { name: name(id), ..created() }
    }

    fn running(id: &str) -> Contents {
        let shim = ProcessIdentity { pid: 7, start_time: 1, boot_id: "b".to_owned(), time: at(2) };
        Contents { shim: Probe::There(shim), shim_alive: Probe::There(()), ..waiting(id) }
    }

    fn over(id: &str) -> Contents {
        Contents { exit: Probe::There(Exit::not_started(at(4))), shim_alive: Probe::Gone, ..running(id) }
    }

    /// All who get their turn now, in order.
    fn turns(queue: &Queue) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(name) = queue.next(&HashSet::new()) {
            queue.admit(&name, || Ok::<_, ()>(Some(()))).unwrap();
            names.push(name.run.to_string());
        }
        names
    }

    #[test]
    fn first_come_first_served() {
        let queue = Queue::new(2);
        queue.open();
        for (second, id) in [(1, "a"), (2, "b"), (4, "d"), (3, "c"), (5, "e")] {
            queue.join(&name(id), at(second));
        }
        assert!(queue.has_place(&name("a")) && queue.has_place(&name("b")) && !queue.has_place(&name("c")));
        assert_eq!(turns(&queue), Vec::<String>::new());
        queue.observe(&over("b"));
        // One that comes as a place is free does not pass those who wait.
        queue.join(&name("f"), at(6));
        assert_eq!(turns(&queue), ["c"]);
        // A stop takes one out of the queue.
        let stop = Unknown { what: "`stop`".to_owned(), why: "broken".to_owned(), kind: Cause::Refused };
        queue.observe(&Contents { stop: Probe::Unknown(stop), ..waiting("d") });
        assert!(queue.next(&HashSet::new()).is_none(), "no place is free");
        queue.observe(&Contents { ordered: true, ..waiting("d") });
        queue.leave(&name("a"));
        queue.leave(&name("c"));
        assert_eq!(turns(&queue), ["e", "f"]);
    }

    #[test]
    fn nobody_has_a_turn_before_it_is_known_what_runs() {
        let queue = Queue::new(1);
        queue.observe(&waiting("b"));
        queue.join(&name("c"), at(9));
        assert!(queue.next(&HashSet::new()).is_none());
        queue.observe(&running("a"));
        queue.open();
        assert_eq!(turns(&queue), Vec::<String>::new());
        queue.observe(&over("a"));
        assert_eq!(turns(&queue), ["b"]);
    }

    #[test]
    fn what_cannot_be_looked_at_has_its_place_and_what_cannot_be_begun_holds_up_nobody() {
        let queue = Queue::new(2);
        let why = Unknown { what: "it".to_owned(), why: "no answer".to_owned(), kind: Cause::Refused };
        queue.observe(&Contents::unexamined(&name("a"), String::new(), &why));
        queue.observe(&waiting("b"));
        queue.observe(&waiting("c"));
        queue.open();
        let first = queue.next(&HashSet::new()).unwrap();
        assert_eq!(first, name("b"));
        assert_eq!(queue.admit(&first, || Err::<Option<()>, _>("no room")), Err("no room"));
        assert_eq!(queue.admit(&first, || Ok::<Option<()>, ()>(None)), Ok(None));
        assert_eq!(queue.next(&HashSet::from([first])), Some(name("c")));
        assert_eq!(turns(&queue), ["b"]);
    }

    #[test]
    fn one_that_was_let_go_on_keeps_its_place() {
        let queue = Queue::new(1);
        queue.open();
        // By the file alone, as after a restart.
        queue.observe(&Contents { admitted: Probe::There(Admitted { time: at(3) }), ..waiting("a") });
        queue.observe(&waiting("b"));
        assert!(queue.has_place(&name("a")) && !queue.has_place(&name("b")));
        // Nothing was begun yet for one that has a place.
        queue.leave(&name("a"));
        assert_eq!(turns(&queue), ["b"]);
        queue.observe(&waiting("b"));
        assert!(queue.has_place(&name("b")));
    }
}
