//! The caller's spec over the profile's over the server's defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::notation::quantity::Quantity;
use crate::run::profile::{Capabilities, Profile};
use crate::run::spec::{
    EffectiveResultRule, EffectiveSecurity, EffectiveSpec, EnvVar, NetworkMode, Placement, Resources, ResultMode,
    ResultScan, RunSpec, Security, VolumeMount, Workload,
};
use crate::run::validate::amounts::whole_seconds;
use crate::run::validate::{allows, is_read_only};

use super::Rules;

/// What is applied. What the backend can't enforce and the caller did not set becomes its best.
pub(super) fn merge(
    workload: Workload,
    resources: Resources,
    spec: &RunSpec,
    profile: Option<&Profile>,
    rules: &Rules,
) -> EffectiveSpec {
    let none = RunSpec::default();
    let defaults = profile.map_or(&none, |profile| &profile.defaults);
    let (limits, capabilities) = (&rules.limits, &rules.capabilities);
    let security = merge_security(&spec.security, &defaults.security, profile);
    let placement = merge_placement(&spec.placement, &defaults.placement, profile);
    let run_as_group = security.run_as_group.unwrap_or(limits.default_user);
    let scan = match workload {
        Workload::Container(_) => ResultScan::Off,
        Workload::Runner { .. } => ResultScan::LastObject,
    };
    let clock = |own: Option<Duration>, profiles: Option<Duration>, default: Duration, max: Duration| {
        Duration::from_secs(whole_seconds(own.or(profiles).unwrap_or(default)).min(whole_seconds(max)))
    };
    EffectiveSpec {
        workload,
        env: merge_env(&spec.env, &defaults.env),
        resources,
        security: EffectiveSecurity {
            run_as_user: security.run_as_user.unwrap_or(limits.default_user),
            run_as_group,
            fs_group: security.fs_group.unwrap_or(run_as_group),
            read_only_root_filesystem: security.read_only_root_filesystem.unwrap_or(true)
                && capabilities.root_filesystem,
            runtime_class_name: security.runtime_class_name.filter(|_| capabilities.placement),
        },
        start_timeout: clock(
            spec.start_timeout,
            defaults.start_timeout,
            limits.default_start_timeout,
            limits.max_start_timeout,
        ),
        run_timeout: clock(spec.run_timeout, defaults.run_timeout, limits.default_run_timeout, limits.max_run_timeout),
        termination_grace: clock(
            spec.termination_grace,
            defaults.termination_grace,
            limits.default_termination_grace,
            limits.max_termination_grace,
        ),
        retention: clock(spec.retention, defaults.retention, limits.default_retention, limits.max_retention),
        volumes: merge_volumes(&spec.volumes, &defaults.volumes, rules),
        network_mode: enforced_mode(
            spec.network_mode.or(defaults.network_mode).unwrap_or(NetworkMode::None),
            capabilities,
        ),
        placement: if capabilities.placement { placement } else { Placement::default() },
        labels: merge_map(&spec.labels, &defaults.labels),
        annotations: merge_map(&spec.annotations, &defaults.annotations),
        result: EffectiveResultRule {
            mode: spec.result.mode.or(defaults.result.mode).unwrap_or(ResultMode::None),
            scan: spec.result.scan.or(defaults.result.scan).unwrap_or(scan),
            dialect: spec.result.dialect.or(defaults.result.dialect),
        },
        tmp_size: tmp_size(spec, defaults, rules),
        max_retries: tries(spec.max_retries, defaults.max_retries),
        infra_retries: tries(spec.infra_retries, defaults.infra_retries),
        retry_on: if spec.retry_on.is_empty() { &defaults.retry_on } else { &spec.retry_on }.clone(),
        total_timeout: spec.total_timeout.or(defaults.total_timeout).map(whole_seconds).map(Duration::from_secs),
        // A backend without queues takes a profile's as its best.
        queue_name: spec
            .queue_name
            .as_ref()
            .or(defaults.queue_name.as_ref())
            .filter(|_| !capabilities.queues.is_empty())
            .cloned(),
    }
}

/// The profile's variables in their order, with the caller's in place of those of the same name,
/// then the caller's others.
fn merge_env(own: &[EnvVar], profiles: &[EnvVar]) -> Vec<EnvVar> {
    let by_name: BTreeMap<&str, &EnvVar> = own.iter().map(|variable| (variable.name.as_str(), variable)).collect();
    let replaced = profiles.iter().map(|variable| by_name.get(variable.name.as_str()).copied().unwrap_or(variable));
    let profile_names: std::collections::BTreeSet<&str> = profiles.iter().map(|v| v.name.as_str()).collect();
    let added = own.iter().filter(|variable| !profile_names.contains(variable.name.as_str()));
    replaced.chain(added).cloned().collect()
}

fn merge_map(own: &BTreeMap<String, String>, profiles: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut merged = profiles.clone();
    merged.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    merged
}

/// The message replaces where the whole of it may be set. Where only parts may be, the others stay
/// the profile's: else setting one would drop a RuntimeClass that must not be dropped.
fn merge_security(own: &Security, profiles: &Security, profile: Option<&Profile>) -> Security {
    if own.is_empty() {
        return profiles.clone();
    }
    if profile.is_none_or(|profile| allows(profile, "security")) {
        return own.clone();
    }
    Security {
        run_as_user: own.run_as_user.or(profiles.run_as_user),
        run_as_group: own.run_as_group.or(profiles.run_as_group),
        fs_group: own.fs_group.or(profiles.fs_group),
        read_only_root_filesystem: own.read_only_root_filesystem.or(profiles.read_only_root_filesystem),
        runtime_class_name: own.runtime_class_name.clone().or_else(|| profiles.runtime_class_name.clone()),
    }
}

/// As [`merge_security`].
fn merge_placement(own: &Placement, profiles: &Placement, profile: Option<&Profile>) -> Placement {
    if own.is_empty() {
        return profiles.clone();
    }
    if profile.is_none_or(|profile| allows(profile, "placement")) {
        return own.clone();
    }
    let Placement { node_selector, tolerations, priority_class_name } = own;
    let own_tolerations = !tolerations.is_empty();
    Placement {
        node_selector: merge_map(node_selector, &profiles.node_selector),
        tolerations: if own_tolerations { tolerations } else { &profiles.tolerations }.clone(),
        priority_class_name: priority_class_name.clone().or_else(|| profiles.priority_class_name.clone()),
    }
}

fn merge_volumes(own: &[VolumeMount], profiles: &[VolumeMount], rules: &Rules) -> Vec<VolumeMount> {
    let mounts = if own.is_empty() { profiles } else { own };
    let configured = |mount: &VolumeMount| rules.volumes.get(&mount.volume).is_some_and(is_read_only);
    mounts
        .iter()
        .map(|mount| VolumeMount {
            read_only: Some(mount.read_only.unwrap_or(false) || configured(mount)),
            ..mount.clone()
        })
        .collect()
}

/// The mode itself if it is enforced, or nothing is; else the next more open one, so that what is
/// shown is not stricter than what holds; else the most open one there is.
fn enforced_mode(wanted: NetworkMode, capabilities: &Capabilities) -> NetworkMode {
    let openness = |mode: &NetworkMode| match mode {
        NetworkMode::None => 0,
        NetworkMode::Egress => 1,
        NetworkMode::Cluster => 2,
    };
    let modes = &capabilities.network_modes;
    let at_least = modes.iter().filter(|mode| openness(mode) >= openness(&wanted)).min_by_key(|mode| openness(mode));
    at_least.or_else(|| modes.iter().max_by_key(|mode| openness(mode))).copied().unwrap_or(wanted)
}

fn tries(own: Option<i32>, profiles: Option<i32>) -> u32 {
    own.or(profiles).and_then(|tries| u32::try_from(tries).ok()).unwrap_or_default()
}

/// Zero stands for none, however it is written.
fn tmp_size(spec: &RunSpec, defaults: &RunSpec, rules: &Rules) -> Option<String> {
    let default = Some(&rules.limits.default_tmp_size);
    let text = spec.tmp_size.as_ref().or(defaults.tmp_size.as_ref()).or(default)?;
    let is_zero = Quantity::parse(text).is_ok_and(Quantity::is_zero);
    (!is_zero && rules.capabilities.root_filesystem).then(|| text.clone())
}
