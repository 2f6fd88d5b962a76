//! What one test has to itself: a Kubernetes namespace, a daemon, and a look at what is left when
//! it fails.

use std::any::Any;
use std::ffi::OsString;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};

use futures::FutureExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use longshore::proto::v1::{FailureReason, Resources, Run, RunSpec, RunState};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::cluster::{self, Hold};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::spec::{REPORTER, UNTIL_TERM, container, seconds};
use crate::support::wait::until;

/// A test's own part of the cluster.
pub(crate) struct Case {
    pub(crate) kube: kube::Client,
    /// The Kubernetes namespace of namespace `default`.
    pub(crate) namespace: String,
    pub(crate) instance: String,
    pub(crate) daemon: Daemon,
    dir: TempDir,
    _hold: Hold,
}

/// What a test asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// More configuration.
    pub(crate) config: String,
    /// Another kubeconfig for the daemon.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Whether the test takes the cluster's parts down.
    pub(crate) exclusive: bool,
    /// Whether the daemon can't become ready by itself.
    pub(crate) unready: bool,
    /// More environment variables of the daemon.
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// Runs a test in a namespace of its own. The namespace is kept and described if the test fails.
pub(crate) async fn on_cluster(name: &str, test: impl AsyncFnOnce(&mut Case)) {
    on_cluster_with(name, Setup::default(), test).await;
}

/// As [`on_cluster`].
pub(crate) async fn on_cluster_with(name: &str, setup: Setup, test: impl AsyncFnOnce(&mut Case)) {
    let mut last = LastLine(None);
    let hold = if setup.exclusive { Hold::exclusive().await } else { Hold::shared().await };
    let mut case = Case::start(name, &setup, hold).await;
    let ended = AssertUnwindSafe(test(&mut case)).catch_unwind().await;
    match ended {
        Ok(()) => case.remove().await,
        Err(panic) => {
            eprintln!("--- namespace {} of {name} is kept", case.namespace);
            case.describe().await;
            // The daemon's log follows as it is dropped, and then the reason once more.
            last.0 = Some(format!("--- {name} failed: {}", message(&*panic)));
            resume_unwind(panic);
        }
    }
}

impl Case {
    async fn start(name: &str, setup: &Setup, hold: Hold) -> Self {
        let kube = cluster::connect().await;
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let words: String = name.replace('_', "-").chars().take(40).collect();
        let namespace = format!("ls-{}-{}", words.trim_end_matches('-'), &unique[..8]);
        make_namespace(&kube, &namespace).await;
        let dir = TempDir::with_prefix("longshore-cluster-").unwrap();
        let config = dir.path().join("config.toml");
        std::fs::write(&config, configuration(&namespace, &setup.config)).unwrap();
        let kubeconfig = setup.kubeconfig.clone().unwrap_or_else(cluster::kubeconfig);
        let args = arguments(&kubeconfig, &config, &namespace);
        let daemon = Daemon::start_with_env(args, setup.env.clone()).await;
        let case = Self { kube, instance: namespace.clone(), namespace, daemon, dir, _hold: hold };
        if !setup.unready {
            case.client().await;
        }
        case
    }

    /// Clients of the daemon, once it is ready.
    pub(crate) async fn client(&self) -> Client {
        self.daemon.client().ready().await
    }

    /// A daemon of another installation, in the same Kubernetes namespace.
    pub(crate) async fn other_daemon(&self, instance: &str) -> Daemon {
        Daemon::start(arguments(&cluster::kubeconfig(), &self.config(), instance)).await
    }

    /// The daemon's configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    /// Name of the Job of this run.
    pub(crate) fn job_name(run: &str) -> String {
        format!("run-{}", run.rsplit('/').next().unwrap_or_default())
    }

    pub(crate) async fn job(&self, run: &str) -> Job {
        self.api::<Job>().get(&Self::job_name(run)).await.expect("the run's Job")
    }

    pub(crate) async fn all<K>(&self) -> Vec<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().list(&ListParams::default()).await.expect("a list").items
    }

    async fn remove(mut self) {
        if self.daemon.lives() {
            self.daemon.kill().await;
        }
        // Nobody else releases what the daemon holds, and the namespace would never go.
        let free = Patch::Merge(serde_json::json!({ "metadata": { "finalizers": null } }));
        for job in self.all::<Job>().await {
            let name = job.metadata.name.unwrap_or_default();
            // It may be gone meanwhile.
            let _ = self.api::<Job>().patch(&name, &PatchParams::default(), &free).await;
        }
        let namespaces: Api<Namespace> = Api::all(self.kube.clone());
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.expect("delete the namespace");
    }

    /// Shows what is there, as far as it can be had.
    async fn describe(&self) {
        let options = ListParams::default();
        for job in self.api::<Job>().list(&options).await.map(|list| list.items).unwrap_or_default() {
            show("job", &job.metadata.name, &(job.metadata.annotations, job.metadata.finalizers, job.status));
        }
        for pod in self.api::<Pod>().list(&options).await.map(|list| list.items).unwrap_or_default() {
            show("pod", &pod.metadata.name, &(pod.metadata.deletion_timestamp, pod.status));
        }
        for event in self.api::<Event>().list(&options).await.map(|list| list.items).unwrap_or_default() {
            let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            eprintln!("event of {}: {reason}: {message}", event.involved_object.name.unwrap_or_default());
        }
    }
}

/// Written when all else was, for who reads only the end of a long log.
struct LastLine(Option<String>);

impl Drop for LastLine {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            eprintln!("{line}");
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

fn show(kind: &str, name: &Option<String>, what: &impl serde::Serialize) {
    let text = serde_json::to_string(what).unwrap_or_default();
    eprintln!("{kind} {}: {text}", name.as_deref().unwrap_or_default());
}

async fn make_namespace(kube: &kube::Client, name: &str) {
    let namespace: Namespace = serde_json::from_value(serde_json::json!({
        "metadata": { "name": name, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
            "longshore.dev/test": "suite",
        } }
    }))
    .expect("a namespace");
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    namespaces.create(&PostParams::default(), &namespace).await.expect("create a namespace");
    // Without its account no Pod is made, and the Job controller waits long before it tries again.
    let accounts: Api<ServiceAccount> = Api::namespaced(kube.clone(), name);
    until("the default account", async || accounts.get_opt("default").await.ok().flatten()).await;
}

fn configuration(namespace: &str, more: &str) -> String {
    let (image, busybox) = (cluster::longshore_image(), cluster::busybox());
    format!(
        r#"
        [namespaces.default]
        kubernetes_namespace = "{namespace}"
        [profiles.sql.kubernetes]
        image = "{image}"
        image_pull_policy = "IfNotPresent"
        {REPORTER}
        [profiles.reporter.kubernetes]
        image = "{busybox}"
        image_pull_policy = "IfNotPresent"
        command = ["/bin/sh", "-c", 'eval "$SCRIPT"']
        [profiles.reporter.defaults]
        requests = {{ cpu = "20m", memory = "16Mi" }}
        run_timeout = "150s"
        {more}
        "#
    )
}

fn arguments(kubeconfig: &Path, config: &Path, instance: &str) -> Vec<OsString> {
    let fixed = ["--backend", "kubernetes", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--log-format", "json"];
    let mut args: Vec<OsString> = fixed.into_iter().map(OsString::from).collect();
    args.extend(["--kubeconfig".into(), kubeconfig.into(), "--config".into(), config.into()]);
    args.extend(["--instance".into(), instance.into()]);
    args
}

/// The spec that executes a shell script. It is bounded, so that nothing runs on for long.
pub(crate) fn script(text: &str) -> RunSpec {
    program(["/bin/sh", "-c", text])
}

/// Why a run failed, if it did.
pub(crate) fn reason(run: &Run) -> Option<FailureReason> {
    run.failure.as_ref().map(|failure| failure.reason())
}

/// Submits a program that runs until it is asked to end, and waits until it does.
pub(crate) async fn started(client: &Client) -> Run {
    let run = client.submit(script(UNTIL_TERM)).await;
    client.wait_state(&run.name, RunState::Running).await
}

/// The spec that executes a program of the image with a shell.
pub(crate) fn program<const N: usize>(command: [&str; N]) -> RunSpec {
    // Many tests share few cores.
    let requests = [("cpu", "20m"), ("memory", "16Mi")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let resources = Some(Resources { requests, ..Resources::default() });
    RunSpec { resources, run_timeout: seconds(150), ..container(&cluster::busybox(), command) }
}
