//! The spec as the Job's annotation keeps it. A stand-in: `domain::stored` takes its place.

use serde::{Deserialize, Serialize};

use crate::domain::spec::{EffectiveSpec, RunSpec};

/// Why an annotation is no spec.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Not our JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The effective spec lacks a field.
    #[error("the effective spec has no `{0}`")]
    Unset(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Stored<S> {
    spec: S,
    effective: S,
}

/// Both as one line of JSON.
pub(super) fn encode(spec: &RunSpec, effective: &EffectiveSpec) -> Result<String, StoredError> {
    let effective = effective.to_spec();
    Ok(serde_json::to_string(&Stored { spec, effective: &effective })?)
}

/// What [`encode`] wrote.
pub(super) fn decode(text: &str) -> Result<(RunSpec, EffectiveSpec), StoredError> {
    let stored: Stored<RunSpec> = serde_json::from_str(text)?;
    Ok((stored.spec, effective(stored.effective)?))
}

fn effective(spec: RunSpec) -> Result<EffectiveSpec, StoredError> {
    let unset = |field: &'static str| move || StoredError::Unset(field);
    Ok(EffectiveSpec {
        workload: spec.workload.ok_or_else(unset("workload"))?,
        env: spec.env,
        resources: spec.resources,
        run_as_user: spec.security.run_as_user.ok_or_else(unset("security.run_as_user"))?,
        run_as_group: spec.security.run_as_group.ok_or_else(unset("security.run_as_group"))?,
        fs_group: spec.security.fs_group.ok_or_else(unset("security.fs_group"))?,
        read_only_root_filesystem: spec
            .security
            .read_only_root_filesystem
            .ok_or_else(unset("security.read_only_root_filesystem"))?,
        runtime_class_name: spec.security.runtime_class_name,
        start_timeout: spec.start_timeout.ok_or_else(unset("start_timeout"))?,
        run_timeout: spec.run_timeout.ok_or_else(unset("run_timeout"))?,
        termination_grace: spec.termination_grace.ok_or_else(unset("termination_grace"))?,
        retention: spec.retention.ok_or_else(unset("retention"))?,
        volumes: spec.volumes,
        network_mode: spec.network_mode.ok_or_else(unset("network_mode"))?,
        placement: spec.placement,
        labels: spec.labels,
        annotations: spec.annotations,
        result_mode: spec.result.mode.ok_or_else(unset("result.mode"))?,
        result_scan: spec.result.scan.ok_or_else(unset("result.scan"))?,
        tmp_size: spec.tmp_size.filter(|size| size != "0"),
    })
}
