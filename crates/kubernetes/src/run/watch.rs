//! The watch of all runs: three kinds per Kubernetes namespace, joined by the index.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesUnordered, SelectAll, Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use tokio::time::sleep;

use super::index::{Index, IndexAnswer, IndexQuestion, LeftJob, Signal, WatchedKind};
use super::memory::Memory;
use crate::api::client::Cluster;
use crate::api::error::Target;
use crate::api::list_watch::{WatchScope, list_watch};
use crate::api::owned::{is_owned_by, pods_of};
use crate::run::{labels, orphans};
use longshore_backend::BackendError;
use longshore_domain::run::facts::FactsEvent;
use longshore_runtime::backoff::Backoff;

/// Before a question is asked again.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));

/// Reports every run of this installation. Never ends.
pub(crate) fn watch(cluster: Arc<Cluster>, memory: Arc<Memory>) -> impl Stream<Item = FactsEvent> + Send {
    let index = Index::new(&cluster.namespaces, memory, cluster.node_lost_after);
    let watch = Watch { cluster, index, signals: SelectAll::new(), answers: FuturesUnordered::new() };
    stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await;
        Some((event, watch))
    })
}

struct Watch {
    cluster: Arc<Cluster>,
    index: Index,
    signals: SelectAll<BoxStream<'static, Signal>>,
    answers: FuturesUnordered<BoxFuture<'static, IndexAnswer>>,
}

impl Watch {
    async fn next(&mut self) -> FactsEvent {
        loop {
            for (namespace, kind) in self.index.take_unwatched() {
                let signals = signals(&self.cluster, namespace, kind);
                self.signals.push(signals);
            }
            if let Some(event) = self.index.next() {
                return event;
            }
            for question in self.index.take_questions() {
                self.answers.push(Box::pin(ask(Arc::clone(&self.cluster), question)));
            }
            let signal = tokio::select! {
                Some(signal) = self.signals.next() => signal,
                Some(answer) = self.answers.next() => Signal::Answer(answer),
                // No namespaces, hence nothing to report, ever.
                else => std::future::pending().await,
            };
            self.index.apply(signal);
        }
    }
}

fn signals(cluster: &Cluster, namespace: Arc<str>, kind: WatchedKind) -> BoxStream<'static, Signal> {
    let client = cluster.client.clone();
    let scope = |kind: &'static str, resource: &'static str, labels: Option<String>| WatchScope {
        kind,
        kube_namespace: namespace.to_string(),
        labels,
        request_timeout: cluster.request_timeout,
        metrics: cluster.metrics.watch(resource, &namespace),
    };
    let ours = Some(cluster.selector());
    match kind {
        WatchedKind::Jobs => {
            let events = list_watch(Api::<Job>::namespaced(client, &namespace), scope("Job", "jobs", ours));
            events.map(move |event| Signal::Job(Arc::clone(&namespace), Box::new(event))).boxed()
        }
        WatchedKind::Pods => {
            let events = list_watch(Api::<Pod>::namespaced(client, &namespace), scope("Pod", "pods", ours));
            events.map(move |event| Signal::Pod(Arc::clone(&namespace), Box::new(event))).boxed()
        }
        // Events have no labels of ours.
        WatchedKind::Events => {
            let events = list_watch(Api::<Event>::namespaced(client, &namespace), scope("Event", "events", None));
            events.map(move |event| Signal::Event(Arc::clone(&namespace), Box::new(event))).boxed()
        }
    }
}

/// Finds out what the index asks. While the cluster can't be asked, the question stands. That there
/// is no Pod is only said once it was seen: a run is reported as lost for it, for good. A refusal
/// may pass, and an input that can't be looked for counts as missing.
pub(crate) async fn ask(cluster: Arc<Cluster>, question: IndexQuestion) -> IndexAnswer {
    let mut failures = 0;
    let mut reported = false;
    loop {
        let failure = match try_answer(&cluster, &question).await {
            Ok(answer) => return answer,
            Err(failure) => failure,
        };
        if !failure.is_transient() {
            if !std::mem::replace(&mut reported, true) {
                tracing::warn!(%failure, "a question about a run is not answered yet");
            }
            match question {
                IndexQuestion::Input { namespace, uid, .. } => {
                    return IndexAnswer::Input { namespace, uid, there: false };
                }
                // Without the right to repair it, it is what it looks like.
                IndexQuestion::Left(left) => {
                    let LeftJob { namespace, uid, .. } = *left;
                    return IndexAnswer::Left { namespace, uid, there: false };
                }
                IndexQuestion::Stripped { .. } | IndexQuestion::Leftover { .. } => return IndexAnswer::Done,
                IndexQuestion::Pods { .. } => {}
            }
        }
        failures += 1;
        sleep(BACKOFF.pause(failures)).await;
    }
}

async fn try_answer(cluster: &Cluster, question: &IndexQuestion) -> Result<IndexAnswer, BackendError> {
    match question {
        IndexQuestion::Input { namespace, uid, secret } => {
            let target = Target::new("read", "Secret", namespace, secret);
            let found = cluster.read(target, cluster.secrets(namespace).get(secret)).await?;
            let ours = found.is_some_and(|secret| is_owned_by(&secret.metadata, uid));
            Ok(IndexAnswer::Input { namespace: Arc::clone(namespace), uid: uid.clone(), there: ours })
        }
        IndexQuestion::Pods { namespace, uid } => {
            let pods = pods_of(cluster, namespace, uid)
                .await
                .map_err(|error| error.to_backend(Target::new("list", "Pod", namespace, "")))?;
            Ok(IndexAnswer::Pods { namespace: Arc::clone(namespace), uid: uid.clone(), pods })
        }
        IndexQuestion::Stripped { namespace } => {
            labels::restore(cluster, namespace).await?;
            Ok(IndexAnswer::Done)
        }
        IndexQuestion::Leftover { namespace, leftover } => {
            orphans::let_go(cluster, namespace, leftover).await?;
            Ok(IndexAnswer::Done)
        }
        IndexQuestion::Left(left) => {
            let there = repair(cluster, left).await?;
            let LeftJob { namespace, uid, .. } = left.as_ref();
            Ok(IndexAnswer::Left { namespace: Arc::clone(namespace), uid: uid.clone(), there })
        }
    }
}

/// Gives a Job its labels back, if somebody took them away; deletes what it left behind, if it is
/// gone. Whether it is there.
async fn repair(cluster: &Cluster, left: &LeftJob) -> Result<bool, BackendError> {
    let LeftJob { namespace, job, uid, labels, secrets } = left;
    let jobs = cluster.jobs(namespace);
    let found = cluster.read(Target::new("read", "Job", namespace, job), jobs.get(job)).await?;
    if found.is_none_or(|found| found.metadata.uid.as_ref() != Some(uid)) {
        orphans::sweep(cluster, namespace, uid, secrets).await?;
        return Ok(false);
    }
    labels::put(cluster, namespace, job, uid, labels).await
}
