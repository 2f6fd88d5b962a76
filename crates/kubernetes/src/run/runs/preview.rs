//! What would be made, and what the API server says to it without making it.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::manifest;
use super::KubernetesRuns;
use super::create::unwritable;
use crate::api::error::Target;
use longshore_backend::{BackendError, DryRunVerdict, Launch, Preview};

impl KubernetesRuns {
    pub(super) async fn preview_run(&self, launch: &Launch) -> Result<Preview, BackendError> {
        let namespace = self.cluster.target(&launch.name.namespace)?;
        let context = self.manifest_context(namespace);
        let refused = |error: manifest::ManifestError| unwritable(launch, &error);
        let job = manifest::job(launch, &context).map_err(refused)?;
        let yaml = manifest::preview_yaml(&job, launch, &context).map_err(refused)?;
        self.check_secret_refs(namespace, launch).await?;
        let pod = manifest::pod_for_dry_run(&job);
        let verdicts = vec![
            self.dry_run(namespace, "Job", self.cluster.jobs(namespace), job).await?,
            self.dry_run(namespace, "Pod", self.cluster.pods(namespace), pod).await?,
        ];
        Ok(Preview { manifest: yaml, verdicts })
    }

    /// The verdict on one object. What is wrong with the cluster or with us is not a verdict.
    async fn dry_run<K>(
        &self,
        namespace: &str,
        kind: &'static str,
        api: Api<K>,
        mut object: K,
    ) -> Result<DryRunVerdict, BackendError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let params = PostParams { dry_run: true, field_manager: None };
        let name = object.meta().name.clone().unwrap_or_default();
        let mut answer = self.cluster.call(api.create(&params, &object)).await;
        if answer.as_ref().is_err_and(|error| error.is_already_exists()) {
            // The verdict is about what is asked for, not about its name.
            object.meta_mut().name = None;
            object.meta_mut().generate_name = Some("run-".to_owned());
            answer = self.cluster.call(api.create(&params, &object)).await;
        }
        let Err(error) = answer else {
            return Ok(DryRunVerdict { kind, accepted: true, message: "accepted by a dry run".to_owned() });
        };
        match error.to_backend(Target::new("create", kind, namespace, &name)) {
            BackendError::Rejected { message, .. }
            | BackendError::Exhausted { message, .. }
            | BackendError::AdmissionDenied { message, .. } => Ok(DryRunVerdict { kind, accepted: false, message }),
            other => Err(other),
        }
    }
}
