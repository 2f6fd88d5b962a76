//! Input and files: one immutable Secret, owned by the Job, and how the Pod gets at it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{EnvVar, KeyToPath, Secret, SecretVolumeSource, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ManifestContext, ManifestError, variable};
use crate::api::names::{self, input_secret_name, path, secret};
use crate::api::owned::{owner, run_labels};
use longshore_backend::Launch;
use longshore_domain::run::profile::InputDelivery;
use longshore_domain::run::spec::DEFAULT_FILE_MODE;

/// Name of the volume in the Pod.
const VOLUME: &str = "input";

/// Whether the run has a Secret at all.
#[must_use]
pub fn needs_input(launch: &Launch) -> bool {
    launch.input.is_some() || !launch.files.is_empty()
}

/// The Secret with input and files, owned by the Job with this uid; `None` if there are neither.
#[must_use]
pub fn input_secret(launch: &Launch, job_uid: &str, ctx: &ManifestContext) -> Option<Secret> {
    if !needs_input(launch) {
        return None;
    }
    let files = launch.files.iter().enumerate();
    let mut data: BTreeMap<_, _> =
        files.map(|(i, file)| (secret::file_key(i), ByteString(file.content.clone()))).collect();
    if let Some(input) = &launch.input {
        data.insert(secret::INPUT_KEY.to_owned(), ByteString(input.as_bytes().to_vec()));
    }
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(input_secret_name(&launch.name.run, launch.digest())),
            namespace: Some(ctx.kube_namespace.clone()),
            labels: Some(run_labels(&ctx.instance, &launch.name.run)),
            owner_references: Some(vec![owner(&launch.name.run, job_uid)]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        string_data: None,
    })
}

/// The variable that leads to the input, or that is the input.
pub(super) fn env(launch: &Launch) -> Result<Option<EnvVar>, ManifestError> {
    if launch.input.is_none() {
        return Ok(None);
    }
    match &launch.input_delivery {
        InputDelivery::File => Ok(Some(EnvVar {
            name: names::variable::INPUT.to_owned(),
            value: Some(path::INPUT.to_owned()),
            value_from: None,
        })),
        InputDelivery::Env(name) => {
            let secret_name = input_secret_name(&launch.name.run, launch.digest());
            Ok(Some(variable::from_secret(name, &secret_name, secret::INPUT_KEY)))
        }
        InputDelivery::Stdin => Err(ManifestError::StandardInput { run: launch.name.to_string() }),
    }
}

/// The Secret's volume and its mount, with only those keys that are asked for as files.
pub(super) fn volume(launch: &Launch) -> Option<(Volume, VolumeMount)> {
    let mut items = Vec::new();
    if launch.input.is_some() && launch.input_delivery == InputDelivery::File {
        items.push(KeyToPath { key: secret::INPUT_KEY.to_owned(), path: secret::INPUT_KEY.to_owned(), mode: None });
    }
    items.extend(launch.files.iter().enumerate().map(|(index, file)| KeyToPath {
        key: secret::file_key(index),
        path: format!("{}/{}", secret::FILES_DIR, file.path),
        mode: file.mode.map(effective_mode),
    }));
    if items.is_empty() {
        return None;
    }
    let source = SecretVolumeSource {
        secret_name: Some(input_secret_name(&launch.name.run, launch.digest())),
        default_mode: i32::try_from(DEFAULT_FILE_MODE).ok(),
        items: Some(items),
        optional: None,
    };
    let volume = Volume { name: VOLUME.to_owned(), secret: Some(source), ..Volume::default() };
    let mount = VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: path::MOUNT.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    Some((volume, mount))
}

/// A file's permission bits, the owner's given to the group too: the kubelet makes root the owner
/// and `fsGroup` the group, so the program has what the group has.
fn effective_mode(asked: u32) -> i32 {
    let bits = asked & 0o777;
    i32::try_from(bits | (bits & 0o700) >> 3).unwrap_or(0o444)
}
