//! Reports every run directory and its changes. What the kernel says is a hint only: the truth is
//! read again each time, and looked at now and then without any hint.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::facts::{Contents, DirectoryId, Stand};
use super::inotify::{Change, Inotify, ProcessEnd, WatchDescriptor, WatchMask};
use super::retention::FinishedRun;
use super::runs::LocalRuns;
use crate::blocking::{blocking, lock, task};
use crate::sys::{Cause, Probe, Unknown};
use longshore_backend::BackendError;
use longshore_domain::name::{NamespaceName, RunId, RunName};
use longshore_domain::run::facts::FactsEvent;
use longshore_domain::run::rundir::{ExitReason, Released};

/// How many events may wait for the consumer.
const QUEUE: usize = 256;
/// How often it is looked which live runs are due to be looked at. Each time are those of which something is
/// not known, or whose changes nobody reports.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a live run is looked at although all of its changes are reported.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// Every how many looks all names are read again, and what has expired is removed.
const LOOKS_PER_SCAN: u32 = 5;
/// Every how many of these what was abandoned half made is removed.
const SCANS_PER_SWEEP: u32 = 12;
/// How long a run of which nothing lives may be unreadable before its retention begins. It may become
/// readable after that, too.
const LET_GO_AFTER: Duration = Duration::from_secs(5);
/// How long after the grace a shim may take to end its run, before this process does.
const SLACK: Duration = Duration::from_secs(10);
/// How many runs are read at once.
const READS: usize = 8;
/// How long a namespace may not be listed before the others go on without it. What passes sooner is waited for, so
/// that none of its runs is left out.
const WITHOUT_AFTER: Duration = Duration::from_secs(5);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn watch(local: Arc<LocalRuns>) -> BoxStream<'static, FactsEvent> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    task("local-watch", async move {
        let (mut known, mut unlisted) = (HashMap::new(), HashMap::new());
        loop {
            let Err(stopped) = watch_until_broken(&local, &mut known, &mut unlisted, &sender).await;
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
    local: &Arc<LocalRuns>,
    known: &mut HashMap<RunName, Known>,
    sender: &mpsc::Sender<FactsEvent>,
) -> Result<(), Stopped> {
    for (name, known) in known.iter_mut().filter(|(_, known)| known.is_live()) {
        let Ok(Some(contents)) = local.read(name).await else { continue };
        if contents.unread.is_empty() || known.contents() == Some(&contents) {
            continue;
        }
        let facts = local.facts(&contents);
        known.state = ReportedState::Open(contents);
        sender.send(FactsEvent::Upsert(Box::new(facts))).await.map_err(|_| Stopped::Unheard)?;
    }
    Ok(())
}

/// Waits for changes that are reported; for ever, if none are.
async fn changes(inotify: &mut Option<Inotify>) -> std::io::Result<Vec<Change>> {
    match inotify {
        Some(inotify) => inotify.changes().await,
        None => std::future::pending().await,
    }
}

/// Whether this says that the machine is short of something, and nothing of what was looked at.
fn is_short(error: &BackendError) -> bool {
    let BackendError::Io { source, .. } = error else { return false };
    let unknown = source.get_ref().and_then(|cause| cause.downcast_ref::<Unknown>());
    unknown.is_some_and(|unknown| unknown.kind == Cause::Shortage)
}

/// As a gauge takes it.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
enum ReportedState {
    /// It may change.
    Open(Arc<Contents>),
    /// Nothing of it changes any more, and its directory has the rest.
    Settled(Box<Settled>),
}

/// What decides how long a run is kept.
struct Settled {
    id: Option<DirectoryId>,
    released: Released,
    /// When it became terminal.
    recorded: Timestamp,
    /// What its directory takes.
    bytes: u64,
}

struct Known {
    state: ReportedState,
    /// Whether it was reported since the watch began, or was repaired.
    reported: bool,
    /// Since when it has no shim, or when one was started last.
    unattended: Option<Instant>,
    /// Since when nothing of it lives, and how it ended can't be read.
    stuck: Option<Instant>,
    /// Since when its program may have been running.
    started: Option<Instant>,
    /// Since when the order to end it stands.
    ordered: Option<Instant>,
    /// When it was looked at last.
    looked: Instant,
}

impl Known {
    /// What it holds, if that may change.
    fn contents(&self) -> Option<&Arc<Contents>> {
        match &self.state {
            ReportedState::Open(contents) => Some(contents),
            ReportedState::Settled(_) => None,
        }
    }

    fn settled(&self) -> Option<&Settled> {
        match &self.state {
            ReportedState::Open(_) => None,
            ReportedState::Settled(settled) => Some(settled),
        }
    }

    /// Whether something may still change by itself, or be looked at that could not be.
    fn is_live(&self) -> bool {
        self.contents().is_some_and(|contents| is_live(contents))
    }

    /// Whether its shim has not ended it in time, and for which reason it should have. Counted from when
    /// this process saw the start or the order, so that no clock that jumps ends anything.
    fn overdue(&self) -> Option<ExitReason> {
        let effective = &self.contents()?.run.there()?.submission.effective;
        let patience = effective.termination_grace + SLACK;
        if self.ordered.is_some_and(|since| since.elapsed() > patience) {
            return Some(ExitReason::Error);
        }
        let timeout = effective.run_timeout.saturating_add(patience);
        self.started.is_some_and(|since| since.elapsed() > timeout).then_some(ExitReason::DeadlineExceeded)
    }

    /// Whether nothing more is to be done, nor to be found out.
    fn is_settled(&self) -> bool {
        self.settled().is_some()
    }
}

fn is_live(contents: &Contents) -> bool {
    !matches!(contents.stand(), Stand::Over | Stand::Lost) || !contents.unread.is_empty()
}

/// What a watch of the kernel's is for.
enum WatchTarget {
    Root,
    Namespace(NamespaceName),
    Run(RunName),
}

struct DirectoryWatcher<'a> {
    local: &'a Arc<LocalRuns>,
    known: &'a mut HashMap<RunName, Known>,
    sender: &'a mpsc::Sender<FactsEvent>,
    /// Namespaces that can't be listed, and since when.
    unlisted: &'a mut HashMap<NamespaceName, Instant>,
    /// `None`: the system has no instance left.
    inotify: Option<Inotify>,
    places: HashMap<WatchDescriptor, WatchTarget>,
    /// The watch of each run that has one.
    watches: HashMap<RunName, WatchDescriptor>,
    /// How many of the state directory and its namespaces have no watch for lack of one: their names are read at
    /// each look.
    unheard: usize,
    /// Whether it was reported that something is polled.
    polls: bool,
    /// What has the name of a run and is none, so that each is complained about once.
    foreign: BTreeSet<RunName>,
    /// Runs of which something can't be read.
    unreadable: BTreeSet<RunName>,
    /// Namespaces of which it was reported that they can't be listed.
    left_out: BTreeSet<NamespaceName>,
    /// The ends of shims that are not children of this process, and whose ends are waited for.
    ends: JoinSet<RunName>,
    /// Those shims, by their run.
    awaited: HashMap<RunName, i32>,
    /// How often all names were read.
    scans: u32,
    /// Whether this is the first look: then a run without a shim was left by a crash.
    adopting: bool,
}

async fn watch_until_broken(
    local: &Arc<LocalRuns>,
    known: &mut HashMap<RunName, Known>,
    unlisted: &mut HashMap<NamespaceName, Instant>,
    sender: &mpsc::Sender<FactsEvent>,
) -> Result<std::convert::Infallible, Stopped> {
    let (places, watches, foreign, unreadable, left_out, ends, awaited) = Default::default();
    // What was known before stays known: it is gone only once a look says so.
    known.values_mut().for_each(|known| known.reported = false);
    let mut watcher = DirectoryWatcher {
        local,
        known,
        sender,
        unlisted,
        inotify: None,
        places,
        watches,
        unheard: 0,
        polls: false,
        foreign,
        unreadable,
        left_out,
        ends,
        awaited,
        scans: 0,
        adopting: true,
    };
    watcher.scan().await?;
    local.queue.open();
    watcher.emit(FactsEvent::Synced).await?;
    watcher.adopting = false;
    watcher.admit().await?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            () = sender.closed() => return Err(Stopped::Unheard),
            changes = changes(&mut watcher.inotify) => watcher.follow(changes?).await?,
            () = local.queue.changed() => {}
            names = local.shims.ended() => watcher.refresh_all(names, true).await?,
            Some(ended) = watcher.ends.join_next(), if !watcher.ends.is_empty() => {
                // A task that panicked would be one that is not awaited: its run is looked at each second.
                if let Ok(name) = ended {
                    watcher.awaited.remove(&name);
                    watcher.refresh_all(vec![name], true).await?;
                }
            }
            _ = look.tick() => {
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(LOOKS_PER_SCAN) {
                    watcher.sweep().await?;
                    watcher.scan().await?;
                } else if watcher.unheard > 0 {
                    watcher.scan().await?;
                } else {
                    watcher.look().await?;
                }
                watcher.report_polling();
            }
        }
        watcher.admit().await?;
    }
}

impl DirectoryWatcher<'_> {
    async fn emit(&self, event: FactsEvent) -> Result<(), Stopped> {
        self.sender.send(event).await.map_err(|_| Stopped::Unheard)
    }

    /// Gives their turn to those who have waited longest, as far as there are places.
    async fn admit(&mut self) -> Result<(), Stopped> {
        let mut passed = HashSet::new();
        while let Some(name) = self.local.queue.next(&passed) {
            passed.insert(name.clone());
            // One that does not answer holds up no other.
            let answers = self.local.answers(&name).is_ok() && self.local.read(&name).await.is_ok();
            if !answers {
                continue;
            }
            let local = Arc::clone(self.local);
            // That it has its turn its directory says, and so the watch.
            let admit = move || {
                local.admit(&name);
                Ok(())
            };
            blocking("giving a run its turn", admit).await?;
        }
        Ok(())
    }

    /// Reads what is there by name; runs that are known, and can't change, are not read again.
    async fn scan(&mut self) -> Result<(), Stopped> {
        self.open_inotify();
        let entries = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
        self.unheard = 0;
        self.listen_at(WatchTarget::Root, entries);
        let local = Arc::clone(self.local);
        let namespaces = blocking("reading the state directory", move || local.store.namespaces()).await?;
        self.unlisted.retain(|namespace, _| namespaces.contains(namespace));
        let mut names = BTreeSet::new();
        let mut fresh = None;
        for namespace in namespaces {
            let moves = WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE | WatchMask::ONLYDIR;
            self.listen_at(WatchTarget::Namespace(namespace.clone()), moves);
            match self.local.list(&namespace).await {
                Ok(runs) => {
                    self.unlisted.remove(&namespace);
                    if self.left_out.remove(&namespace) {
                        tracing::info!(%namespace, "the directory of a namespace can be listed again");
                    }
                    names.extend(runs);
                }
                Err(error) if self.goes_on_without(&namespace, &error) => {}
                Err(error) => fresh = Some(error),
            }
        }
        if let Some(error) = fresh {
            return Err(error.into());
        }
        self.local.metrics.unlisted.set(count(self.unlisted.len()));
        self.confirm(&names).await?;
        // What is not listed any more is looked at, too: only that says that it is gone.
        let missing: Vec<RunName> = self.known.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let is_due = |known: &Known| !known.reported || (!known.is_settled() && !known.is_live());
        let due = |name: &RunName| self.known.get(name).is_none_or(is_due);
        let due = names.into_iter().filter(due).chain(missing).collect();
        // Most that are found have ended long ago, and nothing more happens to them.
        self.refresh_all(due, false).await?;
        self.look().await
    }

    /// Whether a namespace that can't be listed is left out: once that has lasted it is not to keep the others from
    /// being watched. Its runs that are known are looked at one by one.
    fn goes_on_without(&mut self, namespace: &NamespaceName, error: &BackendError) -> bool {
        let since = *self.unlisted.entry(namespace.clone()).or_insert_with(Instant::now);
        if is_short(error) || since.elapsed() < WITHOUT_AFTER {
            return false;
        }
        if self.left_out.insert(namespace.clone()) {
            tracing::warn!(%namespace, %error, "the directory of a namespace can't be listed: runs there that are not \
                known yet are left out until it can");
        }
        true
    }

    /// Has changes reported, if they are not.
    fn open_inotify(&mut self) {
        if self.inotify.is_none() {
            match Inotify::new(self.local.store.sys()) {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => tracing::debug!(%error, "no inotify instance"),
            }
        }
        self.local.notify_of_logs();
    }

    /// Has changes of names reported. Without that, names are read at each look.
    fn listen_at(&mut self, place: WatchTarget, what: WatchMask) {
        let path = match &place {
            WatchTarget::Namespace(namespace) => self.local.store.namespace_dir(namespace),
            WatchTarget::Root | WatchTarget::Run(_) => self.local.store.root().to_owned(),
        };
        match self.inotify.as_mut().map(|inotify| inotify.add(&path, what)) {
            Some(Ok(watch)) => drop(self.places.insert(watch, place)),
            // It is no lack of watches: what it is, reading it shows.
            Some(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
            Some(Err(_)) | None => self.unheard += 1,
        }
    }

    /// Says how much is polled for want of reports, if that begins or ends.
    fn report_polling(&mut self) {
        let live = self.known.iter().filter(|(_, known)| known.is_live());
        let polled = self.unheard + live.filter(|(name, _)| !self.watches.contains_key(*name)).count();
        self.local.metrics.polled.set(count(polled));
        if self.polls == (polled > 0) {
            return;
        }
        self.polls = polled > 0;
        match self.polls {
            true => tracing::warn!(
                directories = polled,
                "the kernel reports no changes of some directories: they are checked every second. Raise \
                 fs.inotify.max_user_instances or fs.inotify.max_user_watches, or find what uses them up"
            ),
            false => tracing::info!("the kernel reports changes of all directories again"),
        }
    }

    /// After a break: of what does not change any more it is enough that it is still the same directory.
    async fn confirm(&mut self, names: &BTreeSet<RunName>) -> Result<(), Stopped> {
        let unsure = self.known.iter().filter(|(name, known)| !known.reported && names.contains(*name));
        let unsure: Vec<_> = unsure.filter_map(|(name, known)| Some((name.clone(), known.settled()?.id))).collect();
        if unsure.is_empty() {
            return Ok(());
        }
        let local = Arc::clone(self.local);
        let same =
            move || Ok(unsure.into_iter().filter(|(name, id)| local.store.is_same(name, *id)).collect::<Vec<_>>());
        // Where one of them does not answer they are read, each within its own bound.
        let Ok(same) = blocking("looking at finished runs", same).await else { return Ok(()) };
        for (name, _) in same {
            if let Some(known) = self.known.get_mut(&name) {
                known.reported = true;
            }
        }
        Ok(())
    }

    /// Looks at live runs that are due for it.
    async fn look(&mut self) -> Result<(), Stopped> {
        let live = self.known.iter().filter(|(name, known)| known.is_live() && self.is_due(name, known));
        let due = live.map(|(name, _)| name.clone()).collect();
        self.refresh_all(due, true).await
    }

    /// Whether something of a live run would not be reported, or has not been for long.
    fn is_due(&self, name: &RunName, known: &Known) -> bool {
        let Some(contents) = known.contents() else { return false };
        let is_heard = self.watches.contains_key(name);
        let is_awaited = match (contents.stand(), contents.shim.there()) {
            // What waits for its turn is begun by this process.
            (Stand::Unattended, _) => self.local.waits(contents),
            (_, Some(shim)) => self.local.shims.has(shim) || self.awaited.get(name) == Some(&shim.pid),
            (_, None) => false,
        };
        !is_heard
            || !is_awaited
            || !contents.unread.is_empty()
            || known.overdue().is_some()
            || known.looked.elapsed() >= LOOK_ANYWAY
    }

    /// Has the end of a shim reported that is no child of this process. Where that can't be it is looked at.
    fn await_shim(&mut self, contents: &Contents) {
        let Some(shim) = contents.shim.there().filter(|_| contents.shim_alive.is_there()) else { return };
        if self.awaited.get(&contents.name) == Some(&shim.pid) || self.local.shims.has(shim) {
            return;
        }
        let Probe::There(handle) = self.local.store.sys().handle_of(shim) else { return };
        let Ok(end) = ProcessEnd::new(handle) else { return };
        let name = contents.name.clone();
        self.awaited.insert(name.clone(), shim.pid);
        self.ends.spawn(async move {
            end.wait().await;
            name
        });
    }

    /// Reads runs, several at once: one that does not answer holds up no other for long. `all_change`: they
    /// probably all change yet.
    async fn refresh_all(&mut self, names: Vec<RunName>, all_change: bool) -> Result<(), Stopped> {
        let mut names = names;
        if !all_change {
            let mut again = Vec::new();
            let (known, new): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| self.known.contains_key(name));
            self.read_all(new, |watcher, name| {
                if watcher.known.get(name).is_some_and(|known| !known.is_settled()) {
                    again.push(name.clone());
                }
            })
            .await?;
            names = known.into_iter().chain(again).collect();
        }
        // Before they are read: then no change after that is missed.
        names.iter().for_each(|name| self.listen(name));
        self.read_all(names, |_, _| {}).await
    }

    async fn read_all(&mut self, names: Vec<RunName>, mut then: impl FnMut(&Self, &RunName)) -> Result<(), Stopped> {
        let local = Arc::clone(self.local);
        let read = |name: RunName| {
            let local = Arc::clone(&local);
            async move { (local.read(&name).await, name) }
        };
        let mut reads = stream::iter(names).map(read).buffer_unordered(READS);
        while let Some((contents, name)) = reads.next().await {
            self.take(&name, contents).await?;
            then(self, &name);
        }
        Ok(())
    }

    async fn follow(&mut self, changes: Vec<Change>) -> Result<(), Stopped> {
        let mut changed = BTreeSet::new();
        let mut rescan = false;
        for change in changes {
            match self.places.get(&change.watch) {
                Some(WatchTarget::Run(name)) => drop(changed.insert(name.clone())),
                Some(WatchTarget::Namespace(namespace)) => {
                    let run = change.name.as_deref().and_then(|name| RunId::parse(name).ok());
                    changed.extend(run.map(|run| RunName { namespace: namespace.clone(), run }));
                }
                Some(WatchTarget::Root) => rescan = true,
                None => rescan |= change.overflow,
            }
        }
        if rescan {
            self.scan().await?;
        }
        self.refresh_all(changed.into_iter().collect(), true).await
    }

    /// Reports a run that was read, if it has changed, and sees to it that it is attended.
    async fn take(&mut self, name: &RunName, read: Result<Option<Arc<Contents>>, BackendError>) -> Result<(), Stopped> {
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
        self.foreign.remove(name);
        match contents.as_ref().is_some_and(|contents| !contents.unread.is_empty()) {
            true => self.unreadable.insert(name.clone()),
            false => self.unreadable.remove(name),
        };
        self.local.metrics.unreadable.set(count(self.unreadable.len()));
        let Some(contents) = contents else {
            self.unlisten(name);
            self.local.queue.leave(name);
            return match self.known.remove(name) {
                Some(_) => self.emit(FactsEvent::Gone(name.clone())).await,
                None => Ok(()),
            };
        };
        self.local.queue.observe(&contents);
        let unattended = self.attend(name, &contents).await?;
        self.await_shim(&contents);
        let settled = self.settle(&contents).await?;
        let before = self.known.get(name);
        let changed = before.is_none_or(|known| match (&known.state, &settled) {
            (ReportedState::Open(before), _) => *before != contents,
            (ReportedState::Settled(before), Some(settled)) => before.id != settled.id,
            (ReportedState::Settled(_), None) => true,
        });
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
        let looked = Instant::now();
        let is_settled = settled.is_some();
        let state = settled.map_or_else(|| ReportedState::Open(Arc::clone(&contents)), ReportedState::Settled);
        let known = Known { state, reported: true, unattended, stuck, started, ordered, looked };
        if let Some(reason) = known.overdue() {
            let (local, contents) = (Arc::clone(self.local), Arc::clone(&contents));
            // It takes a while, in which the others are looked at.
            task("local-enforcer", async move {
                let name = contents.name.clone();
                let ended = blocking("ending what its shim does not end", move || local.enforce(&contents, reason));
                if let Err(error) = ended.await {
                    tracing::warn!(run = %name, %error, "a run whose shim does not end it could not be ended; trying again");
                }
            });
        }
        if is_settled {
            self.unlisten(name);
        }
        self.known.insert(name.clone(), known);
        if report {
            self.emit(FactsEvent::Upsert(Box::new(self.local.facts(&contents)))).await?;
        }
        Ok(())
    }

    /// What is kept in mind of a run of which nothing changes any more; the rest is written in one file.
    /// `None`: something of it may.
    async fn settle(&self, contents: &Arc<Contents>) -> Result<Option<Box<Settled>>, Stopped> {
        let (Some(record), Some(released)) = (contents.record.there(), contents.released.there()) else {
            return Ok(None);
        };
        if is_live(contents) {
            return Ok(None);
        }
        let (recorded, released) = (record.record_time, released.clone());
        let bytes = match contents.summarized {
            Some(bytes) => bytes,
            None => {
                let (local, contents) = (Arc::clone(self.local), Arc::clone(contents));
                let summarize = move || {
                    let bytes = local.store.bytes(&contents.name);
                    // It is tried again at the next start.
                    if let Err(error) = local.store.summarize(&contents, bytes) {
                        tracing::debug!(run = %contents.name, %error, "a finished run can't be summarised");
                    }
                    lock(&local.seen).remove(&contents.name);
                    Ok(bytes)
                };
                blocking("summarising a run", summarize).await?
            }
        };
        Ok(Some(Box::new(Settled { id: contents.id, released, recorded, bytes })))
    }

    /// Sees to it that a run has a shim, and that a dead one left nothing running. Answers since when
    /// the run has none: its creator is given a while to start one.
    async fn attend(&self, name: &RunName, contents: &Arc<Contents>) -> Result<Option<Instant>, Stopped> {
        let (local, contents) = (Arc::clone(self.local), Arc::clone(contents));
        match contents.stand() {
            Stand::Starting | Stand::Running | Stand::Over | Stand::Unknown => return Ok(None),
            Stand::Lost => {
                let was_lost = |known: &Known| known.contents().is_none_or(|before| before.stand() == Stand::Lost);
                if !self.known.get(name).is_some_and(was_lost) {
                    self.local.lost.notify_waiters();
                    let end = move || {
                        local.end_by_force(&contents);
                        Ok(())
                    };
                    blocking("ending what a lost run left", end).await?;
                }
                return Ok(None);
            }
            Stand::Unattended if self.local.waits(&contents) => return Ok(None),
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
        let what = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
        let dir = self.local.store.dir(name);
        if let Some(Ok(watch)) = self.inotify.as_mut().map(|inotify| inotify.add(&dir, what)) {
            self.places.insert(watch.clone(), WatchTarget::Run(name.clone()));
            self.watches.insert(name.clone(), watch);
        }
    }

    fn unlisten(&mut self, name: &RunName) {
        if let Some(watch) = self.watches.remove(name) {
            self.places.remove(&watch);
            if let Some(inotify) = &mut self.inotify {
                inotify.remove(watch);
            }
        }
    }

    /// Removes runs whose time has come, and what was abandoned half made.
    async fn sweep(&mut self) -> Result<(), Stopped> {
        self.scans = self.scans.wrapping_add(1);
        let thoroughly = self.scans % SCANS_PER_SWEEP == 1;
        let now = Timestamp::now();
        let kept = self.local.clock.now();
        let is_due = |released: &Released| released.expire_time <= now && released.kept_until <= kept;
        let released = |known: &Known| match &known.state {
            ReportedState::Open(contents) => contents.released.there().is_some_and(is_due),
            ReportedState::Settled(settled) => is_due(&settled.released),
        };
        let expired = self.known.iter().filter(|(_, known)| released(known));
        let mut names: BTreeSet<RunName> = expired.map(|(name, _)| name.clone()).collect();
        let finished = self.known.iter().filter_map(|(name, known)| Some((name, known.settled()?)));
        let finished = finished.filter(|(name, _)| !names.contains(*name));
        let kept =
            finished.map(|(name, settled)| FinishedRun { finished: settled.recorded, name, bytes: settled.bytes });
        let surplus: Vec<RunName> =
            self.local.room.surplus(kept.collect()).into_iter().map(|kept| kept.name.clone()).collect();
        names.extend(surplus);
        let is_stuck = |known: &&Known| known.stuck.is_some_and(|since| since.elapsed() >= LET_GO_AFTER);
        let stuck: Vec<_> =
            self.known.values().filter(is_stuck).filter_map(|known| known.contents().cloned()).collect();
        let local = Arc::clone(self.local);
        Ok(blocking("sweeping", move || {
            if let Err(error) = local.clock.mark(local.store.sys()) {
                tracing::debug!(%error, "the time can't be recorded in the state directory");
            }
            for contents in stuck {
                if let Err(error) = local.let_go(&contents) {
                    tracing::debug!(run = %contents.name, %error, "a run that can't be read can't be released either");
                }
            }
            for name in names {
                match local.remove(&name) {
                    Ok(()) | Err(BackendError::NotFound(_)) => {}
                    // It is tried again; the others are not to wait for it.
                    Err(error) => tracing::debug!(run = %name, %error, "an expired run can't be removed"),
                }
            }
            if thoroughly { local.store.sweep() } else { Ok(()) }
        })
        .await?)
    }
}
