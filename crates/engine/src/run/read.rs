//! Reading runs: one, a page, every change, the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::observed::{ObservedRun, RunKind, RunTraits};
use crate::reconcile::{Page, PageQuery, WatchEvent, page_token_after};
use crate::{Caller, Engine, EngineError};
use longshore_domain::name::{Parent, RunName};
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

/// Which runs [`Engine::watch`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// All that are there and will be.
    In(Parent),
    /// This one, and whatever run has its name after it.
    Run(RunName),
}

impl Engine {
    /// Reads a run.
    ///
    /// # Errors
    /// If there is none, or the backend can't say.
    pub async fn get(&self, caller: &Caller, name: &RunName) -> Result<Arc<Run>, EngineError> {
        self.authorize(caller, name).await?;
        Ok(self.observed(name).await?.as_of(Timestamp::now()))
    }

    /// Lists runs, newest first.
    ///
    /// # Errors
    /// A page token that is not of this query; not all runs are known yet.
    pub async fn list(&self, caller: &Caller, list: List) -> Result<Page<Run>, EngineError> {
        let scope = self.scope(caller, &list.parent).await?;
        self.synced()?;
        let text = query_text(&list);
        let query = PageQuery { size: list.page_size, token: &list.page_token, text: &text };
        let page = self.inner.runs.list(query, |run| scope.contains(run.name) && matches(run, &list.filter));
        page.map_err(|violation| EngineError::Invalid(violation.into()))
    }

    /// The token of the page that begins just after `run`, for a page that is cut short.
    #[must_use]
    pub fn page_token_after(&self, list: &List, run: &Run) -> String {
        page_token_after::<RunKind>(run, &query_text(list))
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
    ) -> Result<BoxStream<'static, WatchEvent<Run>>, EngineError> {
        let (drain, until, runs) = (self.inner.drain.clone(), caller.until, &self.inner.runs);
        match watched {
            Watched::In(parent) => {
                let scope = self.scope(caller, &parent).await?;
                self.synced()?;
                Ok(runs.watch(move |run| scope.contains(run.name) && matches(run, &filter), drain, until))
            }
            Watched::Run(name) => {
                self.authorize(caller, &name).await?;
                self.synced()?;
                // One that was made a moment ago may be new to the table; it is not any more.
                self.observed(&name).await?;
                Ok(runs.watch(move |run| *run.name == name && matches(run, &filter), drain, until))
            }
        }
    }

    /// Waits until the run is terminal or `timeout` has passed (capped at 50 s); answers the run as
    /// it is then.
    ///
    /// # Errors
    /// If there is no such run.
    pub async fn wait(&self, caller: &Caller, name: &RunName, timeout: Duration) -> Result<Arc<Run>, EngineError> {
        self.authorize(caller, name).await?;
        match self.inner.runs.wait(name, timeout, &self.inner.drain).await {
            Some(run) => Ok(run),
            None => Ok(self.observed(name).await?.as_of(Timestamp::now())),
        }
    }

    /// The run with this name: as known, else as the backend says.
    pub(crate) async fn observed(&self, name: &RunName) -> Result<Arc<ObservedRun>, EngineError> {
        let missing = || EngineError::RunNotFound(name.clone());
        self.known(&name.namespace).map_err(|_| missing())?;
        self.inner.runs.observed(name).await?.ok_or_else(missing)
    }
}

pub(super) fn matches(run: RunTraits<'_>, filter: &RunFilter) -> bool {
    let RunFilter { states, labels, from_create_time, to_create_time, profile, failure_class } = filter;
    let created = run.create_time;
    (states.is_empty() || states.contains(&run.state))
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
