//! Tells of every run directory and its changes. What the kernel says is a hint only: the truth is
//! read again each time, and looked at now and then without any hint.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use rustix::fs::inotify::WatchFlags;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::facts::{Contents, Stand};
use super::inotify::{Change, Inotify};
use super::{Local, blocking};
use crate::backend::BackendError;
use crate::domain::facts::FactsEvent;
use crate::domain::name::{NamespaceName, RunId, RunName};
use crate::domain::rundir::{ExitReason, Released};

/// How many events may wait for the consumer.
const QUEUE: usize = 256;
/// How often live runs are looked at unasked: a shim that is killed says nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every how many looks all names are read again, and what has expired is removed.
const LOOKS_PER_SCAN: u32 = 5;
/// How long a run of which nothing lives may be unreadable before its retention begins. It may become
/// readable after that, too.
const LET_GO_AFTER: Duration = Duration::from_secs(5);
/// How long after the grace a shim may take to end its run, before this process does.
const SLACK: Duration = Duration::from_secs(10);
/// How many runs are read at once.
const READS: usize = 8;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn watch(local: Arc<Local>) -> BoxStream<'static, FactsEvent> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    super::task("local-watch", async move {
        let mut known = HashMap::new();
        loop {
            let Err(stopped) = watch_until_broken(&local, &mut known, &sender).await;
            let Stopped::Broken(why) = stopped else { return };
            if sender.send(FactsEvent::Broken(why)).await.is_err() {
                return;
            }
            if report_unknown(&local, &mut known, &sender).await.is_err() {
                return;
            }
            sleep(PAUSE).await;
        }
    });
    ReceiverStream::new(receiver).boxed()
}

/// While the watch is broken: reports what of live runs can't be looked at. All else waits for its end.
async fn report_unknown(
    local: &Arc<Local>,
    known: &mut HashMap<RunName, Known>,
    sender: &mpsc::Sender<FactsEvent>,
) -> Result<(), Stopped> {
    for (name, known) in known.iter_mut().filter(|(_, known)| known.is_live()) {
        let Ok(Some(contents)) = local.read(name).await else { continue };
        if contents.unread.is_empty() || contents == known.contents {
            continue;
        }
        known.contents = contents;
        let facts = known.contents.facts(&local.node);
        sender.send(FactsEvent::Upsert(Box::new(facts))).await.map_err(|_| Stopped::Unheard)?;
    }
    Ok(())
}

/// Why a watch ended.
enum Stopped {
    /// Nobody listens any more.
    Unheard,
    /// Something failed.
    Broken(String),
}

impl From<BackendError> for Stopped {
    fn from(error: BackendError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("watching the state directory: {error}"))
    }
}

/// A run as it was reported.
struct Known {
    contents: Arc<Contents>,
    /// Whether it was reported since the watch began, or was mended.
    reported: bool,
    /// Since when it has no shim, or when one was started last.
    unattended: Option<Instant>,
    /// Since when nothing of it lives, and how it ended can't be read.
    stuck: Option<Instant>,
    /// Since when its program may have been running.
    started: Option<Instant>,
    /// Since when the order to end it stands.
    ordered: Option<Instant>,
}

impl Known {
    /// Whether something may still change by itself, or be looked at that could not be.
    fn is_live(&self) -> bool {
        !matches!(self.contents.stand(), Stand::Over | Stand::Lost) || !self.contents.unread.is_empty()
    }

    /// Whether its shim has not ended it in time, and for which reason it should have. Counted from when
    /// this process saw the start or the order, so that no clock that jumps ends anything.
    fn overdue(&self) -> Option<ExitReason> {
        let run = self.contents.run.there()?;
        let patience = run.execution.termination_grace + SLACK;
        if self.ordered.is_some_and(|since| since.elapsed() > patience) {
            return Some(ExitReason::Error);
        }
        let timeout = run.execution.run_timeout.saturating_add(patience);
        self.started.is_some_and(|since| since.elapsed() > timeout).then_some(ExitReason::DeadlineExceeded)
    }

    /// Whether nothing more is to be done, nor to be found out.
    fn is_settled(&self) -> bool {
        self.contents.released.is_there() && !self.is_live()
    }
}

/// What a watch of the kernel's is for.
enum Place {
    Root,
    Namespace(NamespaceName),
    Run(RunName),
}

struct Watcher<'a> {
    local: &'a Arc<Local>,
    known: &'a mut HashMap<RunName, Known>,
    sender: &'a mpsc::Sender<FactsEvent>,
    inotify: Inotify,
    places: HashMap<i32, Place>,
    /// The watch of each run that has one.
    watches: HashMap<RunName, i32>,
    /// What has the name of a run and is none, so that each is complained about once.
    foreign: BTreeSet<RunName>,
    /// Runs of which something can't be read.
    unreadable: BTreeSet<RunName>,
    /// Whether this is the first look: then a run without a shim was left by a crash.
    adopting: bool,
}

async fn watch_until_broken(
    local: &Arc<Local>,
    known: &mut HashMap<RunName, Known>,
    sender: &mpsc::Sender<FactsEvent>,
) -> Result<std::convert::Infallible, Stopped> {
    let inotify = Inotify::new()?;
    let (places, watches, foreign, unreadable) = Default::default();
    // What was known before stays known: it is gone only once a look says so.
    known.values_mut().for_each(|known| known.reported = false);
    let mut watcher = Watcher { local, known, sender, inotify, places, watches, foreign, unreadable, adopting: true };
    watcher.scan().await?;
    watcher.tell(FactsEvent::Synced).await?;
    watcher.adopting = false;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            () = sender.closed() => return Err(Stopped::Unheard),
            changes = watcher.inotify.changes() => watcher.follow(changes?).await?,
            _ = look.tick() => {
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(LOOKS_PER_SCAN) {
                    watcher.sweep().await?;
                    watcher.scan().await?;
                } else {
                    watcher.look().await?;
                }
            }
        }
    }
}

impl Watcher<'_> {
    async fn tell(&self, event: FactsEvent) -> Result<(), Stopped> {
        self.sender.send(event).await.map_err(|_| Stopped::Unheard)
    }

    /// Reads what is there by name; runs that are known, and can't change, are not read again.
    async fn scan(&mut self) -> Result<(), Stopped> {
        let entries = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let root = self.inotify.add(self.local.store.root(), entries)?;
        self.places.insert(root, Place::Root);
        let local = Arc::clone(self.local);
        let namespaces = blocking("reading the state directory", move || local.store.namespaces()).await?;
        let mut names = BTreeSet::new();
        for namespace in namespaces {
            let moves = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE | WatchFlags::ONLYDIR;
            // Without one its changes are found by the next scan.
            if let Ok(watch) = self.inotify.add(&self.local.store.namespace_dir(&namespace), moves) {
                self.places.insert(watch, Place::Namespace(namespace.clone()));
            }
            let local = Arc::clone(self.local);
            names.extend(blocking("reading a namespace", move || local.store.runs(&namespace)).await?);
        }
        // What is not listed any more is looked at, too: only that says that it is gone.
        let missing: Vec<RunName> = self.known.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let due = |name: &RunName| self.known.get(name).is_none_or(|known| !known.reported || !known.is_settled());
        let due = names.into_iter().filter(due).chain(missing).collect();
        self.refresh_all(due).await
    }

    async fn look(&mut self) -> Result<(), Stopped> {
        let live = self.known.iter().filter(|(_, known)| known.is_live()).map(|(name, _)| name.clone()).collect();
        self.refresh_all(live).await
    }

    /// Reads runs, several at once: one that does not answer holds up no other for long.
    async fn refresh_all(&mut self, names: Vec<RunName>) -> Result<(), Stopped> {
        // Before they are read: then no change after that is missed.
        names.iter().for_each(|name| self.listen(name));
        let local = Arc::clone(self.local);
        let read = |name: RunName| {
            let local = Arc::clone(&local);
            async move { (local.read(&name).await, name) }
        };
        let mut reads = stream::iter(names).map(read).buffer_unordered(READS);
        while let Some((contents, name)) = reads.next().await {
            self.take(name, contents).await?;
        }
        Ok(())
    }

    async fn follow(&mut self, changes: Vec<Change>) -> Result<(), Stopped> {
        let mut changed = BTreeSet::new();
        let mut rescan = false;
        for change in changes {
            match self.places.get(&change.watch) {
                Some(Place::Run(name)) => drop(changed.insert(name.clone())),
                Some(Place::Namespace(namespace)) => {
                    let run = change.name.as_deref().and_then(|name| RunId::parse(name).ok());
                    changed.extend(run.map(|run| RunName { namespace: namespace.clone(), run }));
                }
                Some(Place::Root) => rescan = true,
                None => rescan |= change.overflow,
            }
        }
        if rescan {
            self.scan().await?;
        }
        self.refresh_all(changed.into_iter().collect()).await
    }

    /// Reports a run that was read, if it has changed, and sees to it that it is attended.
    async fn take(&mut self, name: RunName, read: Result<Option<Arc<Contents>>, BackendError>) -> Result<(), Stopped> {
        let contents = match read {
            Ok(contents) => contents,
            Err(error @ BackendError::Corrupt { .. }) => {
                if self.foreign.insert(name.clone()) {
                    tracing::warn!(run = %name, %error, "something in the state directory is left out");
                }
                return Ok(());
            }
            // Not even what this run is could be found out, for lack of something that passes.
            Err(error) => return Err(error.into()),
        };
        self.foreign.remove(&name);
        match contents.as_ref().is_some_and(|contents| !contents.unread.is_empty()) {
            true => self.unreadable.insert(name.clone()),
            false => self.unreadable.remove(&name),
        };
        self.local.metrics.unreadable.set(i64::try_from(self.unreadable.len()).unwrap_or(i64::MAX));
        let Some(contents) = contents else {
            self.unlisten(&name);
            return match self.known.remove(&name) {
                Some(_) => self.tell(FactsEvent::Gone(name)).await,
                None => Ok(()),
            };
        };
        let unattended = self.attend(&name, &contents).await?;
        let before = self.known.get(&name);
        let changed = before.is_none_or(|known| known.contents != contents);
        let report = changed || before.is_some_and(|known| !known.reported);
        if changed && let Some(unknown) = contents.unread.first() {
            tracing::warn!(run = %name, %unknown, "a run can't be read as a whole; what is known of it stays");
        }
        let is_stuck = contents.unknown().is_some() && contents.is_idle() && !contents.released.is_there();
        let stuck = is_stuck.then(|| before.and_then(|known| known.stuck).unwrap_or_else(Instant::now));
        let lives = matches!(contents.stand(), Stand::Starting | Stand::Running | Stand::Unknown);
        let since = |is_so: bool, before: Option<Instant>| is_so.then(|| before.unwrap_or_else(Instant::now));
        let started = since(lives && !contents.started.is_gone(), before.and_then(|known| known.started));
        let ordered = since(lives && contents.ordered, before.and_then(|known| known.ordered));
        let known = Known { contents: Arc::clone(&contents), reported: true, unattended, stuck, started, ordered };
        if let Some(reason) = known.overdue() {
            let (local, contents) = (Arc::clone(self.local), Arc::clone(&contents));
            // It takes a while, in which the others are looked at.
            super::task("local-enforcer", async move {
                let name = contents.name.clone();
                let ended = blocking("ending what its shim does not end", move || local.enforce(&contents, reason));
                if let Err(error) = ended.await {
                    tracing::warn!(run = %name, %error, "a run whose shim does not end it could not be ended; trying again");
                }
            });
        }
        if known.is_settled() {
            self.unlisten(&name);
        }
        self.known.insert(name, known);
        if report {
            self.tell(FactsEvent::Upsert(Box::new(contents.facts(&self.local.node)))).await?;
        }
        Ok(())
    }

    /// Sees to it that a run has a shim, and that a dead one left nothing running. Answers since when
    /// the run has none: whoever created it is given a while to start one.
    async fn attend(&self, name: &RunName, contents: &Arc<Contents>) -> Result<Option<Instant>, Stopped> {
        let (local, contents) = (Arc::clone(self.local), Arc::clone(contents));
        match contents.stand() {
            Stand::Starting | Stand::Running | Stand::Over | Stand::Unknown => return Ok(None),
            Stand::Lost => {
                if self.known.get(name).is_none_or(|known| known.contents.stand() != Stand::Lost) {
                    let end = move || {
                        local.end_by_force(&contents);
                        Ok(())
                    };
                    blocking("ending what a lost run left", end).await?;
                }
                return Ok(None);
            }
            Stand::Unattended => {}
        }
        let since = self.known.get(name).and_then(|known| known.unattended);
        match since {
            Some(since) if since.elapsed() < LOOK_EVERY => Ok(Some(since)),
            None if !self.adopting => Ok(Some(Instant::now())),
            Some(_) | None => {
                let start = move || {
                    local.attend(&contents);
                    Ok(())
                };
                blocking("starting a shim", start).await?;
                Ok(Some(Instant::now()))
            }
        }
    }

    /// Watches the run's directory, unless nothing can change there any more. Without a watch (the
    /// system may have none left) a live run is still looked at each second.
    fn listen(&mut self, name: &RunName) {
        if self.watches.contains_key(name) || self.known.get(name).is_some_and(Known::is_settled) {
            return;
        }
        let what = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        if let Ok(watch) = self.inotify.add(&self.local.store.dir(name), what) {
            self.places.insert(watch, Place::Run(name.clone()));
            self.watches.insert(name.clone(), watch);
        }
    }

    fn unlisten(&mut self, name: &RunName) {
        if let Some(watch) = self.watches.remove(name) {
            self.inotify.remove(watch);
            self.places.remove(&watch);
        }
    }

    /// Removes runs whose time has come, and what was abandoned half made.
    async fn sweep(&self) -> Result<(), Stopped> {
        let now = Timestamp::now();
        let kept = self.local.clock.now();
        let is_due = |released: &Released| released.expire_time <= now && released.kept_until <= kept;
        let expired = |known: &&Known| known.contents.released.there().is_some_and(is_due);
        let names: Vec<RunName> =
            self.known.values().filter(expired).map(|known| known.contents.name.clone()).collect();
        let is_stuck = |known: &&Known| known.stuck.is_some_and(|since| since.elapsed() >= LET_GO_AFTER);
        let stuck: Vec<_> = self.known.values().filter(is_stuck).map(|known| Arc::clone(&known.contents)).collect();
        let local = Arc::clone(self.local);
        Ok(blocking("sweeping", move || {
            if let Err(error) = local.clock.mark(local.store.sys()) {
                tracing::debug!(%error, "the time can't be noted in the state directory");
            }
            for contents in stuck {
                if let Err(error) = local.let_go(&contents) {
                    tracing::debug!(run = %contents.name, %error, "a run that can't be read can't be let go of either");
                }
            }
            for name in names {
                match local.remove(&name) {
                    Ok(()) | Err(BackendError::NotFound(_)) => {}
                    // It is tried again; the others are not to wait for it.
                    Err(error) => tracing::debug!(run = %name, %error, "an expired run can't be removed"),
                }
            }
            local.store.sweep()
        })
        .await?)
    }
}
