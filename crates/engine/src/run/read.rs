//! Reading runs: one, a page, every change, the end.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::{NamespaceScope, stale};
use crate::observed::Observed;
use crate::table::{Held, OrderKey, TableChange, Traits};
use crate::{Caller, Engine, EngineError, ReconnectReason};
use longshore_domain::name::{Parent, RunName};
use longshore_domain::notation::violation::Violation;
use longshore_domain::page::{self, PageKey};
use longshore_domain::run::failure::FailureClass;
use longshore_domain::run::{Run, RunState};
use longshore_domain::selector::LabelSelector;

/// Which runs are meant; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// States; empty: any.
    pub states: Vec<RunState>,
    /// Labels.
    pub labels: LabelSelector,
    /// Created at or after.
    pub from_create_time: Option<Timestamp>,
    /// Created before.
    pub to_create_time: Option<Timestamp>,
    /// Profile.
    pub profile: Option<String>,
    /// Class of the failure.
    pub failure_class: Option<FailureClass>,
}

/// See [`Engine::list`].
#[derive(Clone, Debug)]
pub struct List {
    /// Where.
    pub parent: Parent,
    /// Which.
    pub filter: RunFilter,
    /// At most this many; 0: 50; capped at 500.
    pub page_size: usize,
    /// From the page before; empty: the first.
    pub page_token: String,
}

/// See [`Engine::list`].
#[derive(Clone, Debug)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Arc<Run>>,
    /// For the next page.
    pub next_page_token: Option<String>,
}

/// Which runs [`Engine::watch`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// All that are there and will be.
    In(Parent),
    /// This one, and whatever run has its name after it.
    Run(RunName),
}

/// What a watch reports.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// There, new or changed.
    Run(Arc<Run>),
    /// A run that was sent before and does not belong to this watch any more.
    Removed {
        /// The run as last known; as it is now, if it only ceased to match.
        run: Arc<Run>,
        /// Why.
        cause: RemovalCause,
    },
    /// All that was there has been reported.
    Synced,
    /// Nothing new.
    Heartbeat,
    /// Call again.
    Reconnect(ReconnectReason),
}

/// Why a run left a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalCause {
    /// It is gone with its record.
    Deleted,
    /// It is there but no longer matches.
    Unmatched,
}

/// Runs of a page where the caller names no number.
const PAGE_DEFAULT: usize = 50;
/// Runs of a page at most.
const PAGE_MAX: usize = 500;
/// How long a wait may last, since balancers cut silent calls.
const WAIT_MAX: Duration = Duration::from_secs(50);
/// How long a watch may be silent.
const HEARTBEAT: Duration = Duration::from_secs(10);

impl Engine {
    /// Reads a run.
    ///
    /// # Errors
    /// If there is none, or the backend can't say.
    pub async fn get(&self, caller: &Caller, name: &RunName) -> Result<Arc<Run>, EngineError> {
        self.authorize(caller, name).await?;
        Ok(self.observed(name).await?.view(Timestamp::now()))
    }

    /// Lists runs, newest first.
    ///
    /// # Errors
    /// A page token that is not of this query; not all runs are known yet.
    pub async fn list(&self, caller: &Caller, list: List) -> Result<RunPage, EngineError> {
        let scope = self.scope(caller, &list.parent).await?;
        self.synced()?;
        let query = query_text(&list);
        let after = match list.page_token.as_str() {
            "" => None,
            token => Some(page_start(token, &query)?),
        };
        let size = match list.page_size {
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        };
        let wanted = |run: Traits<'_>| matches(run, &scope, &list.filter);
        let (page, more) = self.inner.table.page(after.as_ref(), size, wanted);
        let now = Timestamp::now();
        let runs: Vec<_> = page.into_iter().filter_map(Held::observed).map(|observed| observed.view(now)).collect();
        let next_page_token = runs.last().filter(|_| more).map(|run| self.page_token_after(&list, run));
        Ok(RunPage { runs, next_page_token })
    }

    /// The token of the page that begins just after `run`, for a page that is cut short.
    #[must_use]
    pub fn page_token_after(&self, list: &List, run: &Run) -> String {
        let create_time = run.timeline.create_time.unwrap_or(Timestamp::UNIX_EPOCH);
        page::encode(&PageKey { create_time, name: run.name.clone() }, &query_text(list))
    }

    /// Reports every change, beginning with what is there. Ends in `Reconnect`.
    ///
    /// # Errors
    /// There is no such namespace, or no such run; not all runs are known yet.
    pub async fn watch(
        &self,
        caller: &Caller,
        watched: Watched,
        filter: RunFilter,
    ) -> Result<BoxStream<'static, WatchEvent>, EngineError> {
        let scope = match watched {
            Watched::In(parent) => self.scope(caller, &parent).await?,
            Watched::Run(name) => {
                self.authorize(caller, &name).await?;
                NamespaceScope::Run(name)
            }
        };
        self.synced()?;
        if let NamespaceScope::Run(name) = &scope {
            // One that was made a moment ago may be new to the table; it is not any more.
            self.observed(name).await?;
        }
        let (there, changes) = self.inner.table.subscribe(|run| matches(run, &scope, &filter));
        let shown = there.iter().map(|held| held.traits().name.clone()).collect();
        let runs = there.into_iter().filter_map(Held::observed).map(|observed| Arc::clone(&observed.run));
        let first = stream::iter(runs).map(WatchEvent::Run).chain(stream::iter([WatchEvent::Synced]));
        let (drain, until) = (self.inner.drain.clone(), caller.until);
        let watcher = RunWatcher { scope, filter, shown, changes, drain, until, done: false };
        Ok(first.chain(stream::unfold(watcher, RunWatcher::next)).boxed())
    }

    /// Waits until the run is terminal or `timeout` has passed (capped at 50 s); answers the run as
    /// it is then.
    ///
    /// # Errors
    /// If there is no such run.
    pub async fn wait(&self, caller: &Caller, name: &RunName, timeout: Duration) -> Result<Arc<Run>, EngineError> {
        self.authorize(caller, name).await?;
        let Some(mut follow) = self.inner.table.follow(name) else {
            return Ok(self.observed(name).await?.view(Timestamp::now()));
        };
        tokio::select! {
            () = self.inner.drain.cancelled() => {}
            () = tokio::time::sleep(timeout.min(WAIT_MAX)) => {}
            // An error means that the run is gone: then the last of it is reported.
            _ = follow.wait_for(|observed| observed.run.state.is_terminal()) => {}
        }
        let last = Arc::clone(&follow.borrow());
        Ok(last.view(Timestamp::now()))
    }

    /// The run with this name: as known, else as the backend says.
    pub(crate) async fn observed(&self, name: &RunName) -> Result<Arc<Observed>, EngineError> {
        self.known(&name.namespace).map_err(|_| EngineError::RunNotFound(name.clone()))?;
        if let Some(known) = self.inner.table.get(name) {
            return Ok(known);
        }
        match self.inner.backend.runs.get(name).await? {
            Some(facts) => Ok(self.inner.reconciler.seen(facts).await),
            None => Err(EngineError::RunNotFound(name.clone())),
        }
    }
}

fn matches(run: Traits<'_>, scope: &NamespaceScope, filter: &RunFilter) -> bool {
    let RunFilter { states, labels, from_create_time, to_create_time, profile, failure_class } = filter;
    let created = run.create_time;
    scope.contains(run.name)
        && (states.is_empty() || states.contains(&run.state))
        && labels.matches(run.labels)
        && from_create_time.is_none_or(|from| created.is_some_and(|at| at >= from))
        && to_create_time.is_none_or(|to| created.is_some_and(|at| at < to))
        && profile.as_deref().is_none_or(|profile| run.profile == Some(profile))
        && failure_class.is_none_or(|class| run.failure_class == Some(class))
}

/// What a page token is bound to: the same for queries that mean the same, and over an upgrade of the server.
fn query_text(list: &List) -> String {
    let RunFilter { states, labels, from_create_time, to_create_time, profile, failure_class } = &list.filter;
    let states: BTreeSet<RunState> = states.iter().copied().collect();
    let namespace = match &list.parent {
        Parent::All => None,
        Parent::Namespace(namespace) => Some(namespace.to_string()),
    };
    serde_json::json!({
        "namespace": namespace,
        "states": states,
        "labels": labels.to_string(),
        "from_create_time": from_create_time,
        "to_create_time": to_create_time,
        "profile": profile,
        "failure_class": failure_class,
    })
    .to_string()
}

fn page_start(token: &str, query: &str) -> Result<OrderKey, EngineError> {
    let key = page::decode(token, query)
        .map_err(|e| EngineError::Invalid(Violation::new("page_token", e.to_string()).into()))?;
    Ok((Reverse(key.create_time), key.name))
}

struct RunWatcher {
    scope: NamespaceScope,
    filter: RunFilter,
    /// Names that were reported and not taken back.
    shown: BTreeSet<RunName>,
    changes: broadcast::Receiver<TableChange>,
    drain: CancellationToken,
    /// When the caller has to call again.
    until: Option<Instant>,
    done: bool,
}

impl RunWatcher {
    async fn next(mut self) -> Option<(WatchEvent, Self)> {
        if self.done {
            return None;
        }
        // Changes that do not match don't put it off.
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(heartbeat);
        loop {
            let event = tokio::select! {
                biased;
                () = self.drain.cancelled() => self.last(ReconnectReason::Draining),
                () = stale(self.until) => self.last(ReconnectReason::MaxAge),
                change = self.changes.recv() => match change {
                    Ok(change) => match self.event_for(change) {
                        Some(event) => event,
                        None => continue,
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => self.last(ReconnectReason::Slow),
                    Err(broadcast::error::RecvError::Closed) => self.last(ReconnectReason::Draining),
                },
                () = &mut heartbeat => WatchEvent::Heartbeat,
            };
            return Some((event, self));
        }
    }

    fn last(&mut self, reason: ReconnectReason) -> WatchEvent {
        self.done = true;
        WatchEvent::Reconnect(reason)
    }

    fn event_for(&mut self, change: TableChange) -> Option<WatchEvent> {
        match change {
            TableChange::Upsert(run) if matches(Traits::of(&run), &self.scope, &self.filter) => {
                self.shown.insert(run.name.clone());
                Some(WatchEvent::Run(run))
            }
            TableChange::Upsert(run) => self.removed(run, RemovalCause::Unmatched),
            TableChange::Deleted(run) => self.removed(run, RemovalCause::Deleted),
        }
    }

    /// Only of a run that was sent before.
    fn removed(&mut self, run: Arc<Run>, cause: RemovalCause) -> Option<WatchEvent> {
        self.shown.remove(&run.name).then_some(WatchEvent::Removed { run, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(states: &[RunState], labels: &str) -> List {
        let filter = RunFilter {
            states: states.to_vec(),
            labels: longshore_domain::selector::LabelSelector::parse(labels).unwrap(),
            ..RunFilter::default()
        };
        List { parent: Parent::All, filter, page_size: 0, page_token: String::new() }
    }

    #[test]
    fn queries_that_mean_the_same_have_the_same_text() {
        let query = query_text(&list(&[RunState::Queued, RunState::Failed], "a=b"));
        assert_eq!(query, query_text(&list(&[RunState::Failed, RunState::Queued, RunState::Failed], " a = b ")));
        assert_ne!(query, query_text(&list(&[RunState::Failed], "a=b")));
        assert_ne!(query, query_text(&list(&[RunState::Queued, RunState::Failed], "a=c")));
        let namespace = Parent::parse("namespaces/default").unwrap();
        assert_ne!(query_text(&list(&[], "")), query_text(&List { parent: namespace, ..list(&[], "") }));
    }

    /// A page token that was given out before an upgrade of the server is good after it.
    #[test]
    fn the_text_of_a_query_stays_what_it_is() {
        let expected = "{\"namespace\":null,\"states\":[\"QUEUED\",\"FAILED\"],\"labels\":\"a=b\",\
                        \"from_create_time\":null,\"to_create_time\":null,\"profile\":null,\"failure_class\":null}";
        assert_eq!(query_text(&list(&[RunState::Failed, RunState::Queued], "a=b")), expected);
    }
}
