//! Files that change while the process lives, as Kubernetes changes those of a mounted Secret: by
//! swapping a symbolic link far above them. So they are read, not watched.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::task;

/// How often they are looked at. The kubelet takes a minute to bring a change.
const PERIOD: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FilesLabel {
    files: &'static str,
}

/// Files that are followed: their metrics, and the order to read them now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Files {
    stale: Family<FilesLabel, Gauge>,
    now: watch::Sender<()>,
}

impl Files {
    /// Registers the metrics; the registry gives the prefix.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "1 while files have changed to what cannot be used, and those before are in use";
        registry.register("files_stale", help, metrics.stale.clone());
        metrics
    }

    fn stale(&self, files: &'static str) -> Gauge {
        self.stale.get_or_create_owned(&FilesLabel { files })
    }

    /// Makes one series, so that all are exposed: for the test that holds the page of metrics.
    #[doc(hidden)]
    pub fn touch(&self) {
        self.stale("test");
    }

    /// Reads all of them again now, changed or not.
    pub fn read_again(&self) {
        self.now.send_replace(());
    }

    /// What `load` makes of the files at `paths`, and of them as they are whenever they have changed,
    /// for as long as the process lives. Of files that can't be used then log and metrics report it,
    /// and what they were before stays.
    ///
    /// # Errors
    /// Files that can't be used now.
    pub fn follow<T, E>(
        &self,
        name: &'static str,
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, E> + Send + 'static,
    ) -> Result<watch::Receiver<Arc<T>>, E>
    where
        T: Send + Sync + 'static,
        E: Display,
    {
        // Before they are read, so that no change is missed.
        let snapshot = Snapshot::take(paths);
        let (sender, receiver) = watch::channel(Arc::new(load()?));
        let stale = self.stale(name);
        snapshot.on_change(name, self.now.subscribe(), move || match load() {
            Ok(loaded) => {
                stale.set(0);
                sender.send_replace(Arc::new(loaded));
                tracing::info!(files = name, "the files are read again");
            }
            Err(error) => {
                stale.set(1);
                tracing::error!(files = name, %error, "the files cannot be used as they are now: those before stay in use");
            }
        });
        Ok(receiver)
    }
}

/// Files as they were at one moment.
#[derive(Debug)]
struct Snapshot {
    paths: Vec<PathBuf>,
    digest: [u8; 32],
}

impl Snapshot {
    /// Of now.
    fn take(paths: Vec<PathBuf>) -> Self {
        let digest = digest(&paths);
        Self { paths, digest }
    }

    /// Calls `changed` whenever the content or the rights of one of the files are others than they
    /// were, and whenever `now` says so, for as long as the process lives. A file that can't be read
    /// has no content.
    fn on_change(self, name: &'static str, mut now: watch::Receiver<()>, mut changed: impl FnMut() + Send + 'static) {
        let Self { paths, digest: mut before } = self;
        task::spawn(name, async move {
            loop {
                let ordered = tokio::select! {
                    // An error means that nobody can order it any more.
                    ordered = now.changed() => ordered.is_ok() || std::future::pending().await,
                    () = tokio::time::sleep(PERIOD) => false,
                };
                let look = paths.clone();
                // An error is a panic while reading, which the next look may not have.
                let Ok(present) = task::blocking(move || digest(&look)).await else { continue };
                if ordered || present != before {
                    before = present;
                    changed();
                }
            }
        });
    }
}

fn digest(paths: &[PathBuf]) -> [u8; 32] {
    let mut sum = Sha256::new();
    for path in paths {
        let content = std::fs::read(path).unwrap_or_default();
        let rights = std::fs::metadata(path).map(|metadata| (metadata.mode(), metadata.uid())).unwrap_or_default();
        sum.update(rights.0.to_le_bytes());
        sum.update(rights.1.to_le_bytes());
        sum.update(content.len().to_le_bytes());
        sum.update(content);
    }
    sum.finalize().into()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_used_does_not_replace_what_could() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let files = Files::default();
        let (sender, mut loads) = mpsc::channel(4);
        let load = {
            let path = path.clone();
            move || {
                let read = std::fs::read_to_string(&path).unwrap().parse::<u32>();
                sender.try_send(()).unwrap();
                read
            }
        };
        let mut followed = files.follow("test", vec![path.clone()], load).unwrap();
        loads.recv().await.unwrap();
        let stale = || files.stale("test").get();
        assert_eq!((**followed.borrow(), stale()), (1, 0));
        std::fs::write(&path, "nonsense").unwrap();
        loads.recv().await.unwrap();
        assert_eq!((**followed.borrow(), stale()), (1, 1));
        std::fs::write(&path, "2").unwrap();
        followed.changed().await.unwrap();
        assert_eq!((**followed.borrow(), stale()), (2, 0));
        loads.recv().await.unwrap();
        // On order at once, although nothing has changed.
        let ordered = tokio::time::Instant::now();
        files.read_again();
        loads.recv().await.unwrap();
        assert!(ordered.elapsed() < PERIOD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_reported_once_even_if_it_comes_by_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("1")).unwrap();
        std::fs::create_dir(at("2")).unwrap();
        std::fs::write(at("1/file"), "one").unwrap();
        std::fs::write(at("2/file"), "two").unwrap();
        std::os::unix::fs::symlink("1", at("data")).unwrap();
        let snapshot = Snapshot::take(vec![at("data/file"), at("missing")]);
        let (sender, mut changes) = mpsc::channel(4);
        // As the kubelet does it.
        std::os::unix::fs::symlink("2", at("new")).unwrap();
        std::fs::rename(at("new"), at("data")).unwrap();
        let (_now, ordered) = watch::channel(());
        snapshot.on_change("test", ordered, move || sender.try_send(()).unwrap());
        changes.recv().await.unwrap();
        tokio::time::sleep(PERIOD * 3).await;
        assert!(changes.try_recv().is_err(), "nothing changed since");
        std::fs::write(at("missing"), "here").unwrap();
        changes.recv().await.unwrap();
    }
}
