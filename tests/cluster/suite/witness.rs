//! What a raw watch of the Pods sees, to hold beside what is reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};

/// What the cluster showed of the Pods of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) pods: BTreeSet<String>,
    /// The Pods of each of its Jobs, by uid.
    pub(crate) by_job: BTreeMap<String, BTreeSet<String>>,
    pub(crate) started: bool,
    pub(crate) end: Option<ContainerStateTerminated>,
}

/// A raw watch of the Pods.
pub(crate) struct Witness {
    seen: Arc<Mutex<HashMap<String, Shown>>>,
    pods: Api<Pod>,
    task: tokio::task::JoinHandle<()>,
}

impl Witness {
    pub(crate) async fn watch(pods: Api<Pod>) -> Self {
        let seen = Arc::new(Mutex::new(HashMap::new()));
        let listed = pods.list(&ListParams::default()).await.expect("the Pods");
        let mut version = listed.metadata.resource_version.unwrap_or_default();
        let task = tokio::spawn({
            let (seen, pods) = (Arc::clone(&seen), pods.clone());
            async move {
                loop {
                    let Ok(events) = pods.watch(&WatchParams::default(), &version).await else { continue };
                    let mut events = events.boxed();
                    while let Some(Ok(event)) = events.next().await {
                        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = event
                        else {
                            continue;
                        };
                        version = pod.metadata.resource_version.clone().unwrap_or(version);
                        note(&seen, &pod);
                    }
                }
            }
        });
        Self { seen, pods, task }
    }

    /// What was seen until now, with what is there now.
    pub(crate) async fn seen(self) -> HashMap<String, Shown> {
        for pod in self.pods.list(&ListParams::default()).await.expect("the Pods").items {
            note(&self.seen, &pod);
        }
        self.task.abort();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(seen: &Mutex<HashMap<String, Shown>>, pod: &Pod) {
    let Some(run) = pod.metadata.labels.as_ref().and_then(|labels| labels.get("longshore.dev/run")) else { return };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = seen.entry(run.clone()).or_default();
    shown.pods.extend(pod.metadata.uid.clone());
    let job = pod.metadata.labels.as_ref().and_then(|labels| labels.get("batch.kubernetes.io/controller-uid"));
    if let Some(job) = job {
        shown.by_job.entry(job.clone()).or_default().extend(pod.metadata.uid.clone());
    }
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let state = statuses.into_iter().flatten().find(|c| c.name == "run").and_then(|c| c.state.as_ref());
    let Some(state) = state else { return };
    // Of one that the runtime could not start, or that the kubelet did not find, nothing is known to have run.
    let made_up = |end: &&ContainerStateTerminated| {
        matches!(end.reason.as_deref(), Some("StartError" | "ContainerStatusUnknown"))
    };
    let ended = state.terminated.as_ref().filter(|end| !made_up(end));
    shown.started |= state.running.is_some() || ended.is_some();
    if let Some(end) = ended {
        shown.end = Some(end.clone());
    }
}
