//! What the kernel reports of changes in directories and files (inotify), so that nothing has to be
//! polled often. Where it reports nothing, for lack of instances or watches, whoever listens looks by itself.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream::ReadyChunks;
use inotify::{EventMask, EventStream, Watches};
pub(super) use inotify::{WatchDescriptor, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::sys::Sys;

/// Room for the events of one read, in bytes.
const BUFFER: usize = 8192;
/// How many events are taken at once.
const AT_ONCE: usize = 256;

/// One inotify instance.
#[derive(Debug)]
pub(super) struct Inotify {
    watches: Watches,
    events: ReadyChunks<EventStream<Vec<u8>>>,
    sys: Sys,
}

/// Something has changed.
#[derive(Debug)]
pub(super) struct Change {
    /// In which watch.
    pub(super) watch: WatchDescriptor,
    /// Which entry of the directory.
    pub(super) name: Option<String>,
    /// Changes were dropped: anything may have changed.
    pub(super) overflow: bool,
}

impl Inotify {
    pub(super) fn new(sys: &Sys) -> io::Result<Self> {
        sys.call("inotify_init1")?;
        let inotify = inotify::Inotify::init()?;
        let watches = inotify.watches();
        let events = inotify.into_event_stream(vec![0; BUFFER])?.ready_chunks(AT_ONCE);
        Ok(Self { watches, events, sys: sys.clone() })
    }

    /// Watches a file or directory. Watching it again gives the same descriptor.
    pub(super) fn add(&mut self, path: &Path, what: WatchMask) -> io::Result<WatchDescriptor> {
        self.sys.call("inotify_add_watch")?;
        self.watches.add(path, what)
    }

    pub(super) fn remove(&mut self, watch: WatchDescriptor) {
        // It is gone already if what it watched is.
        let _ = self.watches.remove(watch);
    }

    /// Waits for changes; at least one is answered. Safe to cancel.
    pub(super) async fn changes(&mut self) -> io::Result<Vec<Change>> {
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
pub(super) struct ProcessEnd(AsyncFd<OwnedFd>);

impl ProcessEnd {
    /// Of the process that this handle stands for.
    pub(super) fn new(handle: OwnedFd) -> io::Result<Self> {
        #[allow(deprecated, reason = "its successor is unsafe, and an OwnedFd is what it is sound for")]
        let fd = AsyncFd::with_interest(handle, Interest::READABLE)?;
        Ok(Self(fd))
    }

    /// Returns once the process has ended, or that can't be known.
    pub(super) async fn wait(self) {
        let _ = self.0.readable().await;
    }
}

/// Rings for whoever listens to a file or directory: one instance for all of them, since there may
/// be few (`fs.inotify.max_user_instances`).
#[derive(Debug)]
pub(super) struct Bell {
    heard: Arc<Mutex<Heard>>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Heard {
    watches: Watches,
    listeners: HashMap<WatchDescriptor, Listeners>,
}

#[derive(Debug)]
struct Listeners {
    count: usize,
    ring: Arc<Notify>,
}

/// Hears the bell of one file or directory.
#[derive(Debug)]
pub(super) struct Ear {
    bell: Arc<Bell>,
    watch: WatchDescriptor,
    ring: Arc<Notify>,
}

impl Bell {
    pub(super) fn hang(sys: &Sys) -> io::Result<Arc<Self>> {
        let inotify = Inotify::new(sys)?;
        let heard = Heard { watches: inotify.watches.clone(), listeners: HashMap::new() };
        let heard = Arc::new(Mutex::new(heard));
        let task = super::task("local-bell", ring(inotify, Arc::clone(&heard)));
        Ok(Arc::new(Self { heard, task }))
    }

    pub(super) fn listen(self: &Arc<Self>, path: &Path, what: WatchMask) -> io::Result<Ear> {
        let mut heard = lock(&self.heard);
        let watch = heard.watches.add(path, what)?;
        let entry =
            heard.listeners.entry(watch.clone()).or_insert_with(|| Listeners { count: 0, ring: Arc::default() });
        entry.count += 1;
        Ok(Ear { bell: Arc::clone(self), watch, ring: Arc::clone(&entry.ring) })
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ear {
    /// What rings. To miss nothing: enable a `notified()` of it, look, and only then wait for it.
    pub(super) fn ring(&self) -> Arc<Notify> {
        Arc::clone(&self.ring)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut heard = lock(&self.bell.heard);
        if let Some(entry) = heard.listeners.get_mut(&self.watch) {
            entry.count -= 1;
            if entry.count == 0 {
                heard.listeners.remove(&self.watch);
                // It is gone already if what it watched is.
                let _ = heard.watches.remove(self.watch.clone());
            }
        }
    }
}

async fn ring(mut inotify: Inotify, heard: Arc<Mutex<Heard>>) {
    // Whoever listens also looks from time to time, so an end of this makes it slower only.
    while let Ok(changes) = inotify.changes().await {
        let heard = lock(&heard);
        for change in changes {
            if change.overflow {
                heard.listeners.values().for_each(|entry| entry.ring.notify_waiters());
            } else if let Some(entry) = heard.listeners.get(&change.watch) {
                entry.ring.notify_waiters();
            }
        }
    }
}

/// Nothing that holds this lock can leave the map half changed.
fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
