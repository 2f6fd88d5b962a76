//! The connection to one API server: configuration, one bound for every unary call, and the few
//! request shapes that kube has no method for.

use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{CallError, Target, chain};
use super::metrics::KubernetesMetrics;
use crate::KubernetesConfig;
use crate::api::names::label;
use longshore_backend::{BackendError, NamespaceMap};
use longshore_domain::name::NamespaceName;

/// Jobs of one page.
pub(crate) const JOBS_PAGE: u32 = 500;

/// How long the kernel may take to send what is written. Long, since it covers streams too.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// One cluster, as one installation of Longshore uses it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// URL of the API server.
    pub(crate) server: String,
    pub(crate) instance: String,
    pub(crate) namespaces: NamespaceMap,
    pub(crate) request_timeout: Duration,
    pub(crate) node_lost_after: Duration,
    pub(crate) metrics: KubernetesMetrics,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("instance", &self.instance)
            .field("namespaces", &self.namespaces)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A connection whose calls nobody counts.
    pub(crate) async fn connect(config: KubernetesConfig) -> Result<Self, BackendError> {
        Self::connect_counted(config, &KubernetesMetrics::default()).await
    }

    pub(crate) async fn connect_counted(
        config: KubernetesConfig,
        metrics: &KubernetesMetrics,
    ) -> Result<Self, BackendError> {
        let (source, found) = find_config(&config).await;
        let unusable = |message: String| BackendError::Corrupt { what: source.clone(), message };
        let mut client_config = found.map_err(&unusable)?;
        client_config.connect_timeout = Some(config.request_timeout);
        // Streams share the client, and a log may be silent for hours: each bounds itself.
        client_config.read_timeout = None;
        client_config.write_timeout = Some(WRITE_TIMEOUT);
        // kube would repeat a POST on 429, 503 and 504, which is not for it to decide (`runs`).
        client_config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("longshore/", env!("CARGO_PKG_VERSION")));
        client_config.headers.push((USER_AGENT, agent));
        let server = client_config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = ClientBuilder::try_from(client_config).map_err(|error| unusable(chain(&error)))?;
        let KubernetesConfig { instance, namespaces, request_timeout, node_lost_after, .. } = config;
        let client = client.with_layer(&metrics.layer(request_timeout)).build();
        let metrics = metrics.clone();
        Ok(Self { client, server, instance, namespaces, request_timeout, node_lost_after, metrics })
    }

    /// The Kubernetes namespace of `namespace`.
    pub(crate) fn target(&self, namespace: &NamespaceName) -> Result<&str, BackendError> {
        self.namespaces.target(namespace).ok_or_else(|| BackendError::NotFound(format!("namespace {namespace}")))
    }

    pub(crate) fn jobs(&self, kube_namespace: &str) -> Api<Job> {
        Api::namespaced(self.client.clone(), kube_namespace)
    }

    pub(crate) fn pods(&self, kube_namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), kube_namespace)
    }

    pub(crate) fn secrets(&self, kube_namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), kube_namespace)
    }

    /// Selects what this installation made, and nothing else.
    pub(crate) fn selector(&self) -> String {
        format!("{}={},{}={}", label::MANAGED_BY, label::MANAGED_BY_VALUE, label::INSTANCE, self.instance)
    }

    /// A call that has an answer, within the bound.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
        match tokio::time::timeout(self.request_timeout, call).await {
            Ok(answer) => answer.map_err(CallError::from),
            Err(_) => Err(CallError::TimedOut(self.request_timeout)),
        }
    }

    /// As [`Cluster::call`]: `None` if there is no such object.
    pub(crate) async fn read<T>(
        &self,
        target: Target<'_>,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, BackendError> {
        match self.call(call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.to_backend(target)),
        }
    }

    /// The Jobs that `params` ask for, at most a page of them, and what asks for the next page if there is one.
    pub(crate) async fn jobs_page(
        &self,
        kube_namespace: &str,
        params: ListParams,
    ) -> Result<(Vec<Job>, Option<ListParams>), BackendError> {
        let params = params.limit(JOBS_PAGE);
        let page = self.call(self.jobs(kube_namespace).list(&params)).await;
        let page = page.map_err(|error| error.to_backend(Target::new("list", "Job", kube_namespace, "")))?;
        let more = page.metadata.continue_.filter(|token| !token.is_empty());
        Ok((page.items, more.map(|token| params.continue_token(&token))))
    }

    /// A JSON patch (RFC 6902), which kube has only with another crate for its types.
    pub(crate) async fn json_patch<K>(
        &self,
        kube_namespace: &str,
        name: &str,
        operations: &Value,
    ) -> Result<K, CallError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned,
    {
        let body = serde_json::to_vec(operations).map_err(kube::Error::SerdeError)?;
        let request = http::Request::patch(format!("{}/{name}", K::url_path(&(), Some(kube_namespace))))
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.call(self.client.request(request)).await
    }
}

/// Where the configuration comes from, in words, and what is there.
async fn find_config(config: &KubernetesConfig) -> (String, Result<Config, String>) {
    let options = KubeConfigOptions { context: config.context.clone(), ..KubeConfigOptions::default() };
    if config.in_cluster {
        let source = "the in-cluster configuration".to_owned();
        return (source, Config::incluster().map_err(|error| chain(&error)));
    }
    match &config.kubeconfig {
        Some(path) => {
            let found = match Kubeconfig::read_from(path) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            };
            (format!("kubeconfig {}", path.display()), found.map_err(|error| chain(&error)))
        }
        None => {
            let source = "the kubeconfig of $KUBECONFIG or ~/.kube/config".to_owned();
            (source, Config::from_kubeconfig(&options).await.map_err(|error| chain(&error)))
        }
    }
}
