//! Secrets: those that a run names, its input, and a result too large for its record.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;

use super::super::manifest;
use super::{KubernetesRuns, RESULT_KEY};
use crate::api::error::Target;
use crate::api::names::{label, result_secret_name};
use crate::api::owned::{is_owned_by, owner, run_labels};
use longshore_backend::{BackendError, Launch};
use longshore_domain::name::RunName;
use longshore_domain::run::spec::EnvSource;

/// How often a Secret is posted at most: its name is deterministic, so no second can come.
const POSTS_MAX: u32 = 2;

impl KubernetesRuns {
    /// Refuses what the kubelet would refuse later: a variable from a Secret that is not there, not
    /// released for runs, or has no such key.
    pub(super) async fn check_secret_refs(&self, namespace: &str, launch: &Launch) -> Result<(), BackendError> {
        let mut wanted: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for variable in &launch.submission.effective.env {
            if let EnvSource::SecretKeyRef { name, key } = &variable.source {
                wanted.entry(name).or_default().push((&variable.name, key));
            }
        }
        for (secret, uses) in wanted {
            let target = Target::new("read", "Secret", namespace, secret);
            let found = self.cluster.read(target, self.cluster.secrets(namespace).get(secret)).await?;
            let keys = found.as_ref().and_then(released_keys);
            for (variable, key) in uses {
                let why = match &keys {
                    None => format!(
                        "no Secret `{secret}` with the label {}=true is in Kubernetes namespace {namespace}",
                        label::ALLOW_RUNS
                    ),
                    Some(keys) if !keys.contains(key) => format!("Secret `{secret}` has no key `{key}`"),
                    Some(_) => continue,
                };
                return Err(invalid_variable(launch, variable, why));
            }
        }
        Ok(())
    }

    /// Writes the input Secret of a run whose Job is there, unless it is or none is needed.
    pub(super) async fn write_input(&self, namespace: &str, launch: &Launch, job: &Job) -> Result<(), BackendError> {
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let context = self.manifest_context(namespace);
        if let Some(secret) = manifest::input_secret(launch, uid, &context) {
            self.post_secret(namespace, uid, &secret).await?;
        }
        self.memory.confirm_input(uid);
        Ok(())
    }

    pub(super) async fn store_result(&self, name: &RunName, uid: &str, json: &str) -> Result<(), BackendError> {
        let namespace = self.cluster.target(&name.namespace)?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(result_secret_name(&name.run)),
                namespace: Some(namespace.to_owned()),
                labels: Some(run_labels(&self.cluster.instance, &name.run)),
                owner_references: Some(vec![owner(&name.run, uid)]),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            immutable: Some(true),
            data: Some([(RESULT_KEY.to_owned(), ByteString(json.as_bytes().to_vec()))].into()),
            ..Secret::default()
        };
        self.post_secret(namespace, uid, &secret).await
    }

    /// Posts a Secret of the Job with uid `owner`; that it is there already is as good.
    async fn post_secret(&self, namespace: &str, owner: &str, secret: &Secret) -> Result<(), BackendError> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let target = Target::new("create", "Secret", namespace, name);
        let secrets = self.cluster.secrets(namespace);
        let mut posts = 0;
        let error = loop {
            posts += 1;
            match self.cluster.call(secrets.create(&PostParams::default(), secret)).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_ambiguous() && posts < POSTS_MAX => {}
                Err(error) => break error,
            }
        };
        if !error.is_already_exists() {
            return Err(error.to_backend(target));
        }
        match self.cluster.read(target, secrets.get(name)).await? {
            Some(found) if is_owned_by(&found.metadata, owner) => Ok(()),
            // What a deleted run of the same name left behind is collected in a moment.
            _ => Err(BackendError::Conflict(target.object())),
        }
    }
}

/// The keys of a Secret that an operator released for runs.
fn released_keys(secret: &Secret) -> Option<BTreeSet<&str>> {
    let labels = secret.metadata.labels.as_ref()?;
    let released = labels.get(label::ALLOW_RUNS).is_some_and(|value| value == "true");
    released.then(|| secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect())
}

/// Names the field that a variable came from: the caller's, or the profile.
fn invalid_variable(launch: &Launch, variable: &str, why: String) -> BackendError {
    match launch.submission.spec.env.iter().position(|own| own.name == variable) {
        Some(at) => BackendError::InvalidField { field: format!("spec.env[{at}].secret_key_ref"), message: why },
        None => BackendError::InvalidField {
            field: "spec.runner.profile".to_owned(),
            message: format!("its variable `{variable}` has no value: {why}"),
        },
    }
}
