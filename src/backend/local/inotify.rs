//! The kernel's word that something in a directory or file has changed (inotify), so that nothing
//! has to be polled often. Chosen over a general crate for its masks: a watcher of facts must not
//! be woken by every line of a log in the same directory.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// One inotify instance.
#[derive(Debug)]
pub(super) struct Inotify {
    fd: AsyncFd<OwnedFd>,
}

/// Something has changed.
#[derive(Debug)]
pub(super) struct Change {
    /// In which watch.
    pub(super) watch: i32,
    /// Which entry of the directory.
    pub(super) name: Option<String>,
    /// Changes were dropped: anything may have changed.
    pub(super) overflow: bool,
}

impl Inotify {
    pub(super) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // What replaces `new` asks for a promise (`unsafe`) that an `OwnedFd` keeps by its type.
        #[allow(deprecated, reason = "its successor is unsafe, and an OwnedFd is what it is sound for")]
        let fd = AsyncFd::new(fd)?;
        Ok(Self { fd })
    }

    /// Watches a file or directory. Watching it again gives the same number.
    pub(super) fn add(&self, path: &Path, what: WatchFlags) -> io::Result<i32> {
        Ok(inotify::add_watch(self.fd.get_ref(), path, what)?)
    }

    pub(super) fn remove(&self, watch: i32) {
        // It is gone already if what it watched is.
        let _ = inotify::remove_watch(self.fd.get_ref(), watch);
    }

    /// Waits for changes; at least one is answered. Safe to cancel.
    pub(super) async fn changes(&self) -> io::Result<Vec<Change>> {
        loop {
            let mut ready = self.fd.readable().await?;
            let changes = self.read()?;
            ready.clear_ready();
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Reads until nothing is left.
    fn read(&self) -> io::Result<Vec<Change>> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(self.fd.get_ref(), &mut buffer);
        let mut changes = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => changes.push(Change {
                    watch: event.wd(),
                    name: event.file_name().map(|name| name.to_string_lossy().into_owned()),
                    overflow: event.events().contains(ReadFlags::QUEUE_OVERFLOW),
                }),
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
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
    inotify: Arc<Inotify>,
    listeners: Arc<Mutex<HashMap<i32, Listeners>>>,
    task: AbortHandle,
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
    watch: i32,
    ring: Arc<Notify>,
}

impl Bell {
    pub(super) fn hang() -> io::Result<Arc<Self>> {
        let inotify = Arc::new(Inotify::new()?);
        let listeners = Arc::new(Mutex::new(HashMap::new()));
        let task = super::task("local-bell", ring(Arc::clone(&inotify), Arc::clone(&listeners)));
        Ok(Arc::new(Self { inotify, listeners, task }))
    }

    pub(super) fn listen(self: &Arc<Self>, path: &Path, what: WatchFlags) -> io::Result<Ear> {
        let mut listeners = lock(&self.listeners);
        let watch = self.inotify.add(path, what)?;
        let entry = listeners.entry(watch).or_insert_with(|| Listeners { count: 0, ring: Arc::default() });
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
        let mut listeners = lock(&self.bell.listeners);
        if let Some(entry) = listeners.get_mut(&self.watch) {
            entry.count -= 1;
            if entry.count == 0 {
                listeners.remove(&self.watch);
                self.bell.inotify.remove(self.watch);
            }
        }
    }
}

async fn ring(inotify: Arc<Inotify>, listeners: Arc<Mutex<HashMap<i32, Listeners>>>) {
    // Whoever listens also looks from time to time, so an end of this makes it slower only.
    while let Ok(changes) = inotify.changes().await {
        let listeners = lock(&listeners);
        for change in changes {
            if change.overflow {
                listeners.values().for_each(|entry| entry.ring.notify_waiters());
            } else if let Some(entry) = listeners.get(&change.watch) {
                entry.ring.notify_waiters();
            }
        }
    }
}

/// Nothing that holds this lock can leave the map half changed.
fn lock(listeners: &Mutex<HashMap<i32, Listeners>>) -> MutexGuard<'_, HashMap<i32, Listeners>> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}
