//! Tells of every run directory and its changes. What the kernel says is a hint only: the truth is
//! read again each time, and looked at now and then without any hint.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use rustix::fs::inotify::WatchFlags;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::facts::{Contents, Stand};
use super::inotify::{Change, Inotify};
use super::{Local, blocking, end_by_force};
use crate::backend::BackendError;
use crate::domain::facts::{FactsEvent, RunFacts};
use crate::domain::name::{NamespaceName, RunId, RunName};

/// How many events may wait for the consumer.
const QUEUE: usize = 256;
/// How often live runs are looked at unasked: a shim that is killed says nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every how many looks all names are read again, and what has expired is removed.
const LOOKS_PER_SCAN: u32 = 5;
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
            sleep(PAUSE).await;
        }
    });
    ReceiverStream::new(receiver).boxed()
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

/// A run as it was told.
struct Known {
    facts: RunFacts,
    /// Whether something may still change by itself.
    live: bool,
    /// Since when it has no shim, or when one was started last.
    unattended: Option<Instant>,
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
    /// Runs that can't be read, so that each is complained about once.
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
    let (places, watches, unreadable) = Default::default();
    let before: Vec<RunName> = known.drain().map(|(name, _)| name).collect();
    let mut watcher = Watcher { local, known, sender, inotify, places, watches, unreadable, adopting: true };
    watcher.scan().await?;
    for name in before {
        if !watcher.known.contains_key(&name) {
            watcher.tell(FactsEvent::Gone(name)).await?;
        }
    }
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
        let mut names = Vec::new();
        for namespace in namespaces {
            let moves = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE | WatchFlags::ONLYDIR;
            let Ok(watch) = self.inotify.add(&self.local.store.namespace_dir(&namespace), moves) else { continue };
            self.places.insert(watch, Place::Namespace(namespace.clone()));
            let local = Arc::clone(self.local);
            names.extend(blocking("reading a namespace", move || local.store.runs(&namespace)).await?);
        }
        let present: BTreeSet<RunName> = names.into_iter().collect();
        let gone: Vec<RunName> = self.known.keys().filter(|name| !present.contains(*name)).cloned().collect();
        for name in present {
            if self.known.get(&name).is_none_or(|known| known.live || !known.facts.released) {
                self.refresh(name).await?;
            }
        }
        for name in gone {
            self.refresh(name).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Stopped> {
        let live: Vec<RunName> = self.known.iter().filter(|(_, k)| k.live).map(|(name, _)| name.clone()).collect();
        for name in live {
            self.refresh(name).await?;
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
        for name in changed {
            self.refresh(name).await?;
        }
        Ok(())
    }

    /// Reads a run, tells it if it has changed, and sees to it that it is attended.
    async fn refresh(&mut self, name: RunName) -> Result<(), Stopped> {
        // Before it is read: then no change after that is missed.
        self.listen(&name);
        let (local, wanted) = (Arc::clone(self.local), name.clone());
        let contents = match blocking("reading a run", move || local.contents(&wanted)).await {
            Ok(contents) => contents,
            // One run that can't be read takes no other along. Where all can't, listing them fails.
            Err(error) => {
                if self.unreadable.insert(name.clone()) {
                    tracing::warn!(run = %name, %error, "a run directory can't be read; it is left out");
                }
                return Ok(());
            }
        };
        self.unreadable.remove(&name);
        let Some(contents) = contents else {
            self.unlisten(&name);
            return match self.known.remove(&name) {
                Some(_) => self.tell(FactsEvent::Gone(name)).await,
                None => Ok(()),
            };
        };
        let facts = contents.facts(&self.local.node);
        if facts.released {
            self.unlisten(&name);
        }
        let live = contents.stand() != Stand::Over && contents.stand() != Stand::Lost;
        let unattended = self.attend(&name, contents).await?;
        let told = self.known.insert(name, Known { facts: facts.clone(), live, unattended });
        if told.is_none_or(|told| told.facts != facts) {
            self.tell(FactsEvent::Upsert(Box::new(facts))).await?;
        }
        Ok(())
    }

    /// Sees to it that a run has a shim, and that a dead one left nothing running. Answers since when
    /// the run has none: whoever created it is given a while to start one.
    async fn attend(&self, name: &RunName, contents: Contents) -> Result<Option<Instant>, Stopped> {
        let local = Arc::clone(self.local);
        match contents.stand() {
            Stand::Starting | Stand::Running | Stand::Over => return Ok(None),
            Stand::Lost => {
                let told = self.known.get(name).is_some_and(|known| !known.live);
                if !told {
                    end_by_force(&contents);
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
        if self.watches.contains_key(name) || self.known.get(name).is_some_and(|known| known.facts.released) {
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
        let expired = |known: &&Known| known.facts.expire_time.is_some_and(|time| time <= now);
        let names: Vec<RunName> = self.known.values().filter(expired).map(|known| known.facts.name.clone()).collect();
        let local = Arc::clone(self.local);
        Ok(blocking("sweeping", move || {
            for name in names {
                match local.store.remove(&name) {
                    Ok(()) | Err(BackendError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            local.store.sweep()
        })
        .await?)
    }
}
