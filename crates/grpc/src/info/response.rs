//! What the server is and offers, as it is reported.

use std::collections::{BTreeSet, HashMap};

use crate::run::spec;
use crate::wire::{View, int64, wire_duration};
use longshore_api::v1;
use longshore_domain::name::NamespaceName;
use longshore_domain::run::profile::{Capabilities, Limits, Profile};
use longshore_domain::run::rules::Rules;
use longshore_domain::run::spec::NetworkMode;

/// What the server knows about itself and the engine does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version of the daemon.
    pub version: String,
    /// Why this backend was chosen, for people.
    pub backend_reason: String,
}

/// Writes the answer to GetServerInfo.
pub(crate) fn info(
    facts: &ServerFacts,
    rules: &Rules,
    namespaces: &BTreeSet<NamespaceName>,
) -> v1::GetServerInfoResponse {
    let capabilities = &rules.capabilities;
    v1::GetServerInfoResponse {
        version: facts.version.clone(),
        backend: capabilities.backend.to_owned(),
        backend_reason: facts.backend_reason.clone(),
        isolation: Some(isolation(capabilities)),
        limits: Some(limits(&rules.limits)),
        features: features(capabilities),
        namespaces: namespaces.iter().map(|namespace| format!("namespaces/{namespace}")).collect(),
    }
}

fn isolation(capabilities: &Capabilities) -> v1::Isolation {
    v1::Isolation {
        kind: capabilities.isolation.to_owned(),
        user: capabilities.user,
        network: !capabilities.network_modes.is_empty(),
        resources: capabilities.resource_limits,
        notes: capabilities.notes.clone(),
    }
}

/// By name, as `GetServerInfoResponse.features` lists them.
fn features(capabilities: &Capabilities) -> Vec<String> {
    let every_mode = NetworkMode::ALL.iter().all(|mode| capabilities.network_modes.contains(mode));
    [
        ("container-workload", capabilities.container_workload),
        ("log-stream-split", capabilities.split_streams),
        ("network-policies", every_mode),
        ("stdin-input", capabilities.stdin_input),
    ]
    .into_iter()
    .filter(|(_, has)| *has)
    .map(|(name, _)| name.to_owned())
    .collect()
}

fn limits(limits: &Limits) -> v1::Limits {
    let bytes = |size: usize| int64(u64::try_from(size).unwrap_or(u64::MAX));
    v1::Limits {
        max_input_bytes: bytes(limits.max_input_bytes),
        max_env_bytes: bytes(limits.max_env_bytes),
        max_result_bytes: bytes(limits.max_result_bytes),
        max_run_timeout: Some(wire_duration(limits.max_run_timeout)),
        default_run_timeout: Some(wire_duration(limits.default_run_timeout)),
        max_start_timeout: Some(wire_duration(limits.max_start_timeout)),
        default_start_timeout: Some(wire_duration(limits.default_start_timeout)),
        max_retention: Some(wire_duration(limits.max_retention)),
        default_retention: Some(wire_duration(limits.default_retention)),
        max_termination_grace: Some(wire_duration(limits.max_termination_grace)),
        max_resources: limits.max_limits.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<HashMap<_, _>>(),
    }
}

/// Writes the answer to ListRunnerProfiles; each profile comes with why it can't be used here, if
/// it can't.
pub(crate) fn profiles(profiles: Vec<(Profile, Option<String>)>) -> v1::ListRunnerProfilesResponse {
    let mut profiles: Vec<_> = profiles.into_iter().map(|(profile, missing)| one(profile, missing)).collect();
    profiles.sort_by(|a, b| a.name.cmp(&b.name));
    v1::ListRunnerProfilesResponse { profiles }
}

fn one(profile: Profile, missing: Option<String>) -> v1::RunnerProfile {
    v1::RunnerProfile {
        name: profile.name,
        description: profile.description,
        input_schema: profile.input_schema.map(|schema| schema.text().to_owned()).unwrap_or_default(),
        result_schema: profile.result_schema.map(|schema| schema.text().to_owned()).unwrap_or_default(),
        overridable: profile.overridable,
        default_spec: Some(spec::to_wire(&profile.defaults, View::Full)),
        available: missing.is_none(),
        unavailable_reason: missing.unwrap_or_default(),
    }
}
