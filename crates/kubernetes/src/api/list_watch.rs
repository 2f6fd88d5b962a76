//! One kind of object in one Kubernetes namespace: listed, and then watched, for ever.
//!
//! kube has this as `runtime::watcher`, but nothing around it can bound what happens inside: it
//! watches again without a pause when streams end at once, never lists again after an HTTP-level
//! 410, and waits without limit for a list or for the start of a watch.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use super::error::{CallError, Target};
use super::metrics::{WatchEnd, WatchMetrics};
use super::pace::Pace;

/// Objects per page of a list.
const PAGE: u32 = 500;
/// How long one page may take: it may be megabytes.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A watch that is silent for this long is begun anew: bookmarks come each minute on a sound
/// connection, and a half-open one is silent for ever.
const IDLE: Duration = Duration::from_secs(90);
/// After so many failures in a row everything is listed again: whatever is wrong with the resource
/// version, a list has another.
const FAILURES_UNTIL_LIST: u32 = 3;

/// What is reported of one kind.
#[derive(Debug)]
pub(crate) enum KindEvent<K> {
    /// A list begins: what it does not have is gone.
    Begin,
    /// There, by the list.
    Item(K),
    /// The list is complete.
    End,
    /// The watch is open: what was reported is the present, and changes follow.
    Open,
    /// New or changed.
    Applied(K),
    /// Gone; its last state.
    Deleted(K),
    /// The cluster can't be asked. Reported for each failure in a row.
    Trouble(String),
}

/// What is listed and watched.
#[derive(Clone, Debug)]
pub(crate) struct WatchScope {
    /// For messages: `Job`.
    pub(crate) kind: &'static str,
    /// Kubernetes namespace.
    pub(crate) kube_namespace: String,
    /// Label selector.
    pub(crate) labels: Option<String>,
    /// How long the start of a watch may take.
    pub(crate) request_timeout: Duration,
    /// Counts how it goes.
    pub(crate) metrics: WatchMetrics,
}

/// Lists and watches `scope` of `api`. Never ends.
pub(crate) fn list_watch<K>(api: Api<K>, scope: WatchScope) -> impl Stream<Item = KindEvent<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let machine = ListWatchMachine { api, scope, pace: Pace::default(), stage: WatchStage::List };
    stream::unfold(machine, |mut machine| async move {
        loop {
            if let Some(event) = machine.step().await {
                return Some((event, machine));
            }
        }
    })
}

struct ListWatchMachine<K> {
    api: Api<K>,
    scope: WatchScope,
    pace: Pace,
    stage: WatchStage<K>,
}

enum WatchStage<K> {
    /// A list is to begin.
    List,
    /// A page was read, and the next is named by `more`.
    Page { items: std::vec::IntoIter<K>, more: Option<String>, version: String },
    /// A watch is to begin.
    Watch { version: String },
    /// A watch is open.
    Watching { version: String, events: BoxStream<'static, kube::Result<WatchEvent<K>>> },
}

impl<K> ListWatchMachine<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// One step; `None` if there is nothing to report it. The stage that is left behind when a step
    /// is dropped half-way is never used again.
    async fn step(&mut self) -> Option<KindEvent<K>> {
        match std::mem::replace(&mut self.stage, WatchStage::List) {
            WatchStage::List => {
                self.wait().await;
                self.stage = WatchStage::Page {
                    items: Vec::new().into_iter(),
                    more: Some(String::new()),
                    version: String::new(),
                };
                Some(KindEvent::Begin)
            }
            WatchStage::Page { mut items, more, version } => {
                if let Some(item) = items.next() {
                    self.stage = WatchStage::Page { items, more, version };
                    return Some(KindEvent::Item(item));
                }
                match more {
                    Some(token) => self.read_page(token).await,
                    None => {
                        self.stage = WatchStage::Watch { version };
                        Some(KindEvent::End)
                    }
                }
            }
            WatchStage::Watch { version } => self.open(version).await,
            WatchStage::Watching { version, events } => self.next(version, events).await,
        }
    }

    async fn wait(&mut self) {
        if let Some(next) = self.pace.next() {
            sleep_until(next).await;
        }
        self.pace.begin(Instant::now());
    }

    async fn read_page(&mut self, token: String) -> Option<KindEvent<K>> {
        let params = ListParams {
            label_selector: self.scope.labels.clone(),
            limit: Some(PAGE),
            continue_token: Some(token).filter(|token| !token.is_empty()),
            ..ListParams::default()
        };
        match bounded(PAGE_TIMEOUT, self.api.list(&params)).await {
            Ok(page) => {
                let more = page.metadata.continue_.filter(|token| !token.is_empty());
                let version = page.metadata.resource_version.unwrap_or_default();
                self.stage = WatchStage::Page { items: page.items.into_iter(), more, version };
                None
            }
            Err(error) => {
                self.pace.failed();
                self.scope.metrics.restarted(WatchEnd::of(&error));
                // A continue token that is too old is not trouble: the list begins anew.
                (!error.is_expired()).then(|| self.trouble("list", &error))
            }
        }
    }

    async fn open(&mut self, version: String) -> Option<KindEvent<K>> {
        self.wait().await;
        let params = WatchParams { label_selector: self.scope.labels.clone(), ..WatchParams::default() };
        match bounded(self.scope.request_timeout, self.api.watch(&params, &version)).await {
            Ok(events) => {
                self.scope.metrics.heard();
                self.stage = WatchStage::Watching { version, events: events.boxed() };
                Some(KindEvent::Open)
            }
            Err(error) => {
                self.pace.failed();
                self.scope.metrics.restarted(WatchEnd::of(&error));
                if error.is_expired() {
                    return None;
                }
                if self.pace.failures() < FAILURES_UNTIL_LIST {
                    self.stage = WatchStage::Watch { version };
                }
                Some(self.trouble("watch", &error))
            }
        }
    }

    async fn next(
        &mut self,
        version: String,
        mut events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    ) -> Option<KindEvent<K>> {
        let Ok(event) = timeout(IDLE, events.next()).await else {
            return self.ended(WatchEnd::Silent, Some(version));
        };
        let (version, emitted) = match event {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                (object.resource_version(), Some(KindEvent::Applied(object)))
            }
            Some(Ok(WatchEvent::Deleted(object))) => (object.resource_version(), Some(KindEvent::Deleted(object))),
            Some(Ok(WatchEvent::Bookmark(bookmark))) => (Some(bookmark.metadata.resource_version), None),
            // What is reported inside the stream is about the version: mostly 410.
            Some(Ok(WatchEvent::Error(status))) => {
                tracing::debug!(scope = ?self.scope, code = status.code, detail = %status.message, "watch refused");
                return self.ended(WatchEnd::Expired, None);
            }
            // What can't be read may be a change that would otherwise be missed.
            Some(Err(error @ kube::Error::SerdeError(_))) => {
                tracing::warn!(scope = ?self.scope, %error, "unreadable event; listing again");
                return self.ended(WatchEnd::Unreadable, None);
            }
            Some(Err(error)) => {
                tracing::debug!(scope = ?self.scope, %error, "watch cut");
                return self.ended(WatchEnd::Cut, Some(version));
            }
            None => return self.ended(WatchEnd::Ended, Some(version)),
        };
        self.scope.metrics.heard();
        self.stage = match version.filter(|version| !version.is_empty()) {
            Some(version) => WatchStage::Watching { version, events },
            None => WatchStage::List,
        };
        emitted
    }

    /// The watch is over: it is begun anew at `version`, or with a list.
    fn ended(&mut self, why: WatchEnd, version: Option<String>) -> Option<KindEvent<K>> {
        self.scope.metrics.restarted(why);
        self.pace.ended(Instant::now());
        self.stage = version.map_or(WatchStage::List, |version| WatchStage::Watch { version });
        None
    }

    fn trouble(&self, verb: &'static str, error: &CallError) -> KindEvent<K> {
        let target = Target::new(verb, self.scope.kind, &self.scope.kube_namespace, "");
        KindEvent::Trouble(error.to_backend(target).to_string())
    }
}

async fn bounded<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(CallError::from),
        Err(_) => Err(CallError::TimedOut(limit)),
    }
}
