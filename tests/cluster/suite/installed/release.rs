//! The chart, installed under a name of its own: its namespaces, its certificate, its callers.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;

use futures::FutureExt;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::cluster::{self, Hold};
use crate::support::authority::Authority;
use crate::support::daemon::longshore;
use crate::support::wait::{until, within};

/// Name of the release, and so of all its objects.
pub(crate) const NAME: &str = "longshore";
/// What tokens are for.
pub(crate) const AUDIENCE: &str = "longshore";

/// An installed release.
pub(crate) struct Release {
    pub(crate) kube: kube::Client,
    /// The Kubernetes namespace of the daemon; those of runs have it as their beginning.
    pub(crate) namespace: String,
    pub(crate) dir: TempDir,
    _hold: Hold,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a test with the chart installed. What is there is kept and described if the test fails.
pub(crate) async fn installed(name: &str, values: Value, test: impl AsyncFnOnce(&Release)) {
    let release = Release::prepare(name).await;
    let ended = AssertUnwindSafe(async {
        release.helm_with("install", &values).await;
        test(&release).await;
    })
    .catch_unwind()
    .await;
    if let Err(panic) = ended {
        eprintln!("--- namespace {} of {name} is kept", release.namespace);
        release.describe().await;
        resume_unwind(panic);
    }
    release.remove().await;
}

impl Release {
    /// Its namespace with a certificate in it, and nothing installed.
    async fn prepare(name: &str) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let words: String = name.replace('_', "-").chars().take(30).collect();
        Self::in_namespace(format!("li-{words}-{}", &unique[..6])).await
    }

    /// The same in a namespace of this name.
    pub(crate) async fn in_namespace(namespace: String) -> Self {
        let hold = Hold::shared().await;
        let kube = cluster::connect().await;
        let dir = TempDir::with_prefix("longshore-release-").unwrap();
        let release = Self { kube, namespace, dir, _hold: hold };
        release.make_namespace(&release.namespace).await;
        let authority = Authority::new();
        let server = authority.server(&release.host());
        std::fs::write(release.path("ca.crt"), &authority.pem).unwrap();
        std::fs::write(release.path("tls.crt"), &server.cert).unwrap();
        std::fs::write(release.path("tls.key"), &server.key).unwrap();
        let data = json!({"tls.crt": server.cert, "tls.key": server.key, "ca.crt": authority.pem});
        release.secret("tls", data).await;
        release
    }

    /// The Kubernetes namespace of namespace `name`.
    pub(crate) fn runs(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// The name in the daemon's certificate.
    fn host(&self) -> String {
        format!("{NAME}.{}.svc", self.namespace)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.kube.clone(), namespace)
    }

    /// Makes a namespace in which Pods can be made.
    pub(crate) async fn make_namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.kube.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
        namespaces.create(&PostParams::default(), &namespace).await.expect("create a namespace");
        let accounts = self.api::<ServiceAccount>(name);
        until("the default account", async || accounts.get_opt("default").await.ok().flatten()).await;
    }

    /// Creates any object.
    pub(crate) async fn create(&self, group: &str, version: &str, plural: &str, namespace: &str, object: Value) {
        let prefix = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        let uri = format!("/{prefix}/namespaces/{namespace}/{plural}");
        let request =
            http::Request::post(uri).header("content-type", "application/json").body(object.to_string().into_bytes());
        self.kube.request::<Value>(request.unwrap()).await.unwrap_or_else(|error| panic!("{plural} {object}: {error}"));
    }

    /// Creates a Secret in the release's namespace.
    pub(crate) async fn secret(&self, name: &str, data: Value) {
        let secret = json!({"metadata": {"name": name}, "stringData": data});
        self.create("", "v1", "secrets", &self.namespace, secret).await;
    }

    /// Addresses of the API server: its Service's, and those behind it.
    pub(crate) async fn api_server(&self) -> Vec<(String, i32)> {
        let service = self.api::<Service>("default").get("kubernetes").await.expect("the API server's Service");
        let spec = service.spec.expect("a spec");
        let mut found = vec![(spec.cluster_ip.expect("an address"), spec.ports.unwrap_or_default()[0].port)];
        let selector = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
        for slice in self.api::<EndpointSlice>("default").list(&selector).await.expect("endpoint slices").items {
            let port = slice.ports.unwrap_or_default()[0].port.expect("a port");
            found.extend(slice.endpoints.into_iter().flat_map(|e| e.addresses).map(|a| (a, port)));
        }
        found
    }

    /// The values of every release here, with `more` over them.
    async fn values(&self, more: &Value) -> Value {
        let image = cluster::longshore_image();
        let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
        let addresses: Vec<String> = self.api_server().await.into_iter().map(|(address, _)| address).collect();
        let mut values = json!({
            "image": {"repository": repository, "tag": tag},
            "tls": {"mode": "secret", "secretName": "tls"},
            "namespaces": {
                "default": {"kubernetesNamespace": self.runs("default")},
                "other": {"kubernetesNamespace": self.runs("other")},
            },
            "networkPolicies": {"apiServerAddresses": addresses},
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        });
        merge(&mut values, more);
        values
    }

    /// `helm install` or `helm upgrade`, and waits until the kubelet finds the daemon ready.
    pub(crate) async fn helm_with(&self, verb: &str, values: &Value) {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/helm/longshore");
        let file = self.path("values.json");
        std::fs::write(&file, self.values(values).await.to_string()).unwrap();
        self.helm(&[verb, NAME, chart, "--values", file.to_str().unwrap(), "--wait", "--timeout", "170s"]).await;
    }

    /// Any command of Helm about this release's namespace.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> Printed {
        let mut command = Command::new("helm");
        command.args(arguments).args(["--namespace", &self.namespace]).env("KUBECONFIG", cluster::kubeconfig());
        let printed = output_of(command).await;
        assert_eq!(printed.code, Some(0), "helm {arguments:?}: {}{}", printed.stdout, printed.stderr);
        printed
    }

    /// A service account of the release's namespace.
    pub(crate) async fn account(&self, name: &str) {
        let account = ServiceAccount {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Default::default()
        };
        self.api::<ServiceAccount>(&self.namespace).create(&PostParams::default(), &account).await.expect("an account");
    }

    /// Lets this account call in namespace `namespace`.
    pub(crate) async fn let_call(&self, account: &str, namespace: &str) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("{account}-calls")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("{NAME}-caller")},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        });
        self.create("rbac.authorization.k8s.io", "v1", "rolebindings", &self.runs(namespace), binding).await;
    }

    /// A token of this account; without audience: one for the API server.
    pub(crate) async fn token(&self, account: &str, audience: &str) -> String {
        let audiences = Some(audience.to_owned()).filter(|audience| !audience.is_empty()).into_iter().collect();
        let spec = TokenRequestSpec { audiences, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = self.api::<ServiceAccount>(&self.namespace);
        let made = accounts.create_token_request(account, &PostParams::default(), &request).await.expect("a token");
        made.status.expect("a status").token
    }

    /// A new static token of `user`, and the entry that a file of tokens has of it.
    pub(crate) async fn static_token(&self, user: &str) -> (String, String) {
        let file = self.path(&format!("{user}.toml"));
        let printed = output_of(longshore(["token", "create", user, "--file", file.to_str().unwrap()])).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        (printed.stdout.trim().to_owned(), std::fs::read_to_string(file).expect("the entry"))
    }

    /// `longshore` as a client of this release.
    pub(crate) async fn cli(&self, token: &str, arguments: &[&str]) -> Printed {
        let service = self.api::<Service>(&self.namespace).get(NAME).await.expect("the Service").spec.expect("a spec");
        let (address, port) = (service.cluster_ip.expect("an address"), service.ports.unwrap_or_default()[0].port);
        let mut command = longshore(arguments);
        command.env("LONGSHORE_SERVER", format!("https://{address}:{port}"));
        command.env("LONGSHORE_SERVER_NAME", self.host()).env("LONGSHORE_CA_FILE", self.path("ca.crt"));
        // What is ready is not reachable at once: kube-proxy and the policy controller learn of it later.
        command.env("LONGSHORE_CONNECT_TIMEOUT", "60s");
        if !token.is_empty() {
            command.env("LONGSHORE_TOKEN", token);
        }
        output_of(command).await
    }

    /// The daemon's Pod.
    pub(crate) async fn daemon(&self) -> Pod {
        let selector = ListParams::default().labels("app.kubernetes.io/component=daemon");
        let pods = self.api::<Pod>(&self.namespace).list(&selector).await.expect("Pods").items;
        let live = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
        live.expect("the daemon's Pod")
    }

    /// Takes everything away, as far as it is still there.
    async fn remove(&self) {
        let namespaces: Api<Namespace> = Api::all(self.kube.clone());
        for name in [self.namespace.clone(), self.runs("default"), self.runs("other"), self.runs("target")] {
            // Most are gone with the release.
            let _ = namespaces.delete(&name, &DeleteParams::background()).await;
        }
    }

    async fn describe(&self) {
        for namespace in [self.namespace.clone(), self.runs("default"), self.runs("other")] {
            for job in
                self.api::<Job>(&namespace).list(&ListParams::default()).await.map(|l| l.items).unwrap_or_default()
            {
                eprintln!("job {namespace}/{}: {:?}", job.metadata.name.unwrap_or_default(), job.status);
            }
            let pods = self.api::<Pod>(&namespace);
            for pod in pods.list(&ListParams::default()).await.map(|l| l.items).unwrap_or_default() {
                let name = pod.metadata.name.unwrap_or_default();
                eprintln!("pod {namespace}/{name}: {}", serde_json::to_string(&pod.status).unwrap_or_default());
                let log = pods.logs(&name, &LogParams { tail_lines: Some(60), ..LogParams::default() }).await;
                eprintln!("{}", log.unwrap_or_default());
            }
        }
    }
}

/// Runs a command to its end.
pub(crate) async fn output_of(mut command: Command) -> Printed {
    let what = format!("{:?}", command.as_std());
    command.kill_on_drop(true);
    let output = within(&what, command.output()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Printed { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
