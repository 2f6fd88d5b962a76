//! What the kernel reports of changes in directories and files (inotify), so that nothing has to be polled
//! often. Where it reports nothing, for lack of instances or watches, the follower looks by itself.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream::ReadyChunks;
use inotify::{EventMask, EventStream, Watches};
pub(crate) use inotify::{WatchDescriptor, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::blocking::task;
use crate::sys::Sys;

/// Room for the events of one read, in bytes.
const BUFFER: usize = 8192;
/// How many events are taken at once.
const AT_ONCE: usize = 256;

/// One inotify instance.
#[derive(Debug)]
pub(crate) struct Inotify {
    watches: Watches,
    events: ReadyChunks<EventStream<Vec<u8>>>,
    sys: Sys,
}

/// Something has changed.
#[derive(Debug)]
pub(crate) struct Change {
    /// In which watch.
    pub(crate) watch: WatchDescriptor,
    /// Which entry of the directory.
    pub(crate) name: Option<String>,
    /// Changes were dropped: anything may have changed.
    pub(crate) overflow: bool,
}

impl Inotify {
    pub(crate) fn new(sys: &Sys) -> io::Result<Self> {
        sys.call("inotify_init1")?;
        let inotify = inotify::Inotify::init()?;
        let watches = inotify.watches();
        let events = inotify.into_event_stream(vec![0; BUFFER])?.ready_chunks(AT_ONCE);
        Ok(Self { watches, events, sys: sys.clone() })
    }

    /// Watches a file or directory. Watching it again gives the same descriptor.
    pub(crate) fn add(&mut self, path: &Path, what: WatchMask) -> io::Result<WatchDescriptor> {
        self.sys.call("inotify_add_watch")?;
        self.watches.add(path, what)
    }

    pub(crate) fn remove(&mut self, watch: WatchDescriptor) {
        // It is gone already if what it watched is.
        let _ = self.watches.remove(watch);
    }

    /// Waits for changes; at least one is answered. Safe to cancel.
    pub(crate) async fn changes(&mut self) -> io::Result<Vec<Change>> {
        let events = self.events.next().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        let change = |event: inotify::EventOwned| Change {
            watch: event.wd,
            name: event.name.map(|name| name.to_string_lossy().into_owned()),
            overflow: event.mask.contains(EventMask::Q_OVERFLOW),
        };
        events.into_iter().map(|event| event.map(change)).collect()
    }
}

/// Waits for the end of a process.
#[derive(Debug)]
pub(crate) struct ProcessEnd(AsyncFd<OwnedFd>);

impl ProcessEnd {
    /// Of the process that this handle stands for.
    pub(crate) fn new(handle: OwnedFd) -> io::Result<Self> {
        #[allow(deprecated, reason = "its successor is unsafe, and an OwnedFd is what it is sound for")]
        let fd = AsyncFd::with_interest(handle, Interest::READABLE)?;
        Ok(Self(fd))
    }

    /// Returns once the process has ended, or that can't be known.
    pub(crate) async fn wait(self) {
        let _ = self.0.readable().await;
    }
}

/// Notifies those that follow a file or directory: one instance for all of them, since there may
/// be few (`fs.inotify.max_user_instances`).
#[derive(Debug)]
pub(crate) struct LogNotifier {
    subscriptions: Arc<Mutex<Subscriptions>>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Subscriptions {
    watches: Watches,
    by_watch: HashMap<WatchDescriptor, Followers>,
}

#[derive(Debug)]
struct Followers {
    count: usize,
    changed: Arc<Notify>,
}

/// A subscription to one file or directory.
#[derive(Debug)]
pub(crate) struct Subscription {
    notifier: Arc<LogNotifier>,
    watch: WatchDescriptor,
    changed: Arc<Notify>,
}

impl LogNotifier {
    pub(crate) fn start(sys: &Sys) -> io::Result<Arc<Self>> {
        let inotify = Inotify::new(sys)?;
        let subscriptions = Subscriptions { watches: inotify.watches.clone(), by_watch: HashMap::new() };
        let subscriptions = Arc::new(Mutex::new(subscriptions));
        let task = task("local-log-notifier", notify(inotify, Arc::clone(&subscriptions)));
        Ok(Arc::new(Self { subscriptions, task }))
    }

    pub(crate) fn listen(self: &Arc<Self>, path: &Path, what: WatchMask) -> io::Result<Subscription> {
        let mut subscriptions = lock(&self.subscriptions);
        let watch = subscriptions.watches.add(path, what)?;
        let entry = subscriptions
            .by_watch
            .entry(watch.clone())
            .or_insert_with(|| Followers { count: 0, changed: Arc::default() });
        entry.count += 1;
        Ok(Subscription { notifier: Arc::clone(self), watch, changed: Arc::clone(&entry.changed) })
    }
}

impl Drop for LogNotifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscription {
    /// What is notified. To miss nothing: enable a `notified()` of it, look, and only then wait for it.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscriptions = lock(&self.notifier.subscriptions);
        if let Some(entry) = subscriptions.by_watch.get_mut(&self.watch) {
            entry.count -= 1;
            if entry.count == 0 {
                subscriptions.by_watch.remove(&self.watch);
                // It is gone already if what it watched is.
                let _ = subscriptions.watches.remove(self.watch.clone());
            }
        }
    }
}

async fn notify(mut inotify: Inotify, subscriptions: Arc<Mutex<Subscriptions>>) {
    // A follower also looks from time to time, so an end of this makes it slower only.
    while let Ok(changes) = inotify.changes().await {
        let subscriptions = lock(&subscriptions);
        for change in changes {
            if change.overflow {
                subscriptions.by_watch.values().for_each(|entry| entry.changed.notify_waiters());
            } else if let Some(entry) = subscriptions.by_watch.get(&change.watch) {
                entry.changed.notify_waiters();
            }
        }
    }
}

/// Nothing that holds this lock can leave the map half changed.
fn lock(subscriptions: &Mutex<Subscriptions>) -> MutexGuard<'_, Subscriptions> {
    subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
}
