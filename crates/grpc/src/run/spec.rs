//! Run specs, both ways. What is unset stays unset: defaults are the domain's business.

use std::collections::{BTreeMap, HashMap};

use crate::run::failure::{failure_reason, failure_reason_from};
use crate::wire::{At, View, set, wire_duration};
use longshore_api::v1;
use longshore_domain::notation::violation::Violations;
use longshore_domain::run::spec::{
    ContainerWorkload, EnvSource, EnvVar, File, Input, NetworkMode, OneDialect, Placement, Resources, ResultMode,
    ResultRule, ResultScan, RetryOn, RunSpec, Secret, Security, Toleration, VolumeMount, Workload,
};

/// Reads the spec at `path`. Only what the wire itself can get wrong is judged here.
pub(crate) fn from_wire(spec: v1::RunSpec, path: &str, found: &mut Violations) -> RunSpec {
    let mut at = At::new(path, found);
    RunSpec {
        workload: spec.workload.map(workload_from),
        env: spec.env.into_iter().map(env_from).collect(),
        secret_env: spec.secret_env.into_iter().map(|(name, value)| (name, Secret(value))).collect(),
        input: spec.input.map(input_from),
        files: spec.files.into_iter().map(file_from).collect(),
        resources: spec.resources.map(resources_from).unwrap_or_default(),
        security: spec.security.map(security_from).unwrap_or_default(),
        queue_timeout: at.duration("queue_timeout", spec.queue_timeout),
        start_timeout: at.duration("start_timeout", spec.start_timeout),
        run_timeout: at.duration("run_timeout", spec.run_timeout),
        termination_grace: at.duration("termination_grace", spec.termination_grace),
        max_retries: spec.max_retries,
        infra_retries: spec.infra_retries,
        retention: at.duration("retention", spec.retention),
        volumes: spec.volumes.into_iter().map(volume_from).collect(),
        network_mode: at.enumeration("network_mode", spec.network_mode).and_then(network_mode_from),
        placement: spec.placement.map(placement_from).unwrap_or_default(),
        queue_name: set(spec.queue_name),
        labels: spec.labels.into_iter().collect(),
        annotations: spec.annotations.into_iter().collect(),
        result: spec.result.map(|rule| result_rule_from(rule, path, found)).unwrap_or_default(),
        tmp_size: spec.tmp_size.and_then(set),
        total_timeout: At::new(path, found).duration("total_timeout", spec.total_timeout),
        retry_on: spec.retry_on.map(|rule| retry_on_from(rule, path, found)).unwrap_or_default(),
    }
}

fn workload_from(workload: v1::run_spec::Workload) -> Workload {
    match workload {
        v1::run_spec::Workload::Container(container) => Workload::Container(ContainerWorkload {
            image: container.image,
            command: container.command,
            args: container.args,
            working_dir: set(container.working_dir),
        }),
        v1::run_spec::Workload::Runner(runner) => Workload::Runner { profile: runner.profile },
    }
}

fn env_from(env: v1::EnvVar) -> EnvVar {
    let source = match env.source {
        None => EnvSource::Value(String::new()),
        Some(v1::env_var::Source::Value(value)) => EnvSource::Value(value),
        Some(v1::env_var::Source::SecretKeyRef(key)) => EnvSource::SecretKeyRef { name: key.name, key: key.key },
    };
    EnvVar { name: env.name, source }
}

fn input_from(input: v1::Input) -> Input {
    match input.content {
        None => Input::Raw(Vec::new()),
        Some(v1::input::Content::Json(text)) => Input::Json(text),
        Some(v1::input::Content::Raw(bytes)) => Input::Raw(bytes),
    }
}

fn file_from(file: v1::File) -> File {
    let content = match file.content {
        None => Vec::new(),
        Some(v1::file::Content::Text(text)) => text.into_bytes(),
        Some(v1::file::Content::Data(bytes)) => bytes,
    };
    File { path: file.path, mode: file.mode, content }
}

fn resources_from(resources: v1::Resources) -> Resources {
    Resources { requests: resources.requests.into_iter().collect(), limits: resources.limits.into_iter().collect() }
}

fn security_from(security: v1::Security) -> Security {
    Security {
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        fs_group: security.fs_group,
        read_only_root_filesystem: security.read_only_root_filesystem,
        runtime_class_name: set(security.runtime_class_name),
    }
}

fn volume_from(mount: v1::VolumeMount) -> VolumeMount {
    VolumeMount { volume: mount.volume, mount_path: mount.mount_path, read_only: mount.read_only }
}

fn placement_from(placement: v1::Placement) -> Placement {
    let toleration = |t: v1::Toleration| Toleration {
        key: t.key,
        match_operator: t.match_operator,
        value: t.value,
        effect: t.effect,
    };
    Placement {
        node_selector: placement.node_selector.into_iter().collect(),
        tolerations: placement.tolerations.into_iter().map(toleration).collect(),
        priority_class_name: set(placement.priority_class_name),
    }
}

fn network_mode_from(mode: v1::NetworkMode) -> Option<NetworkMode> {
    match mode {
        v1::NetworkMode::Unspecified => None,
        v1::NetworkMode::None => Some(NetworkMode::None),
        v1::NetworkMode::Egress => Some(NetworkMode::Egress),
        v1::NetworkMode::Cluster => Some(NetworkMode::Cluster),
    }
}

fn result_rule_from(rule: v1::ResultRule, path: &str, found: &mut Violations) -> ResultRule {
    let path = format!("{path}.result");
    let mut at = At::new(&path, found);
    let mode = at.enumeration("mode", rule.mode).and_then(|mode| match mode {
        v1::ResultMode::Unspecified => None,
        v1::ResultMode::None => Some(ResultMode::None),
        v1::ResultMode::Optional => Some(ResultMode::Optional),
        v1::ResultMode::Required => Some(ResultMode::Required),
    });
    let scan = at.enumeration("scan", rule.scan).and_then(|scan| match scan {
        v1::ResultScan::Unspecified => None,
        v1::ResultScan::Off => Some(ResultScan::Off),
        v1::ResultScan::LastObject => Some(ResultScan::LastObject),
    });
    let dialect = at.enumeration("dialect", rule.dialect).and_then(|dialect| match dialect {
        v1::ResultDialect::Unspecified => None,
        v1::ResultDialect::Json => Some(OneDialect::Json),
        v1::ResultDialect::PythonLiteral => Some(OneDialect::PythonLiteral),
        v1::ResultDialect::JsonWithNan => {
            at.add(
                "dialect",
                "RESULT_DIALECT_JSON_WITH_NAN is only reported: RESULT_DIALECT_JSON reads NaN and Infinity too",
            );
            None
        }
    });
    ResultRule { mode, scan, dialect }
}

fn retry_on_from(rule: v1::RetryOn, path: &str, found: &mut Violations) -> RetryOn {
    let path = format!("{path}.retry_on");
    let mut at = At::new(&path, found);
    let reasons = rule.reasons.iter().enumerate().filter_map(|(i, reason)| {
        let field = format!("reasons[{i}]");
        let known: Option<v1::FailureReason> = at.enumeration(&field, *reason);
        if *reason == 0 {
            at.add(&field, "must be set");
        }
        known.and_then(failure_reason_from)
    });
    RetryOn { reasons: reasons.collect(), exit_codes: rule.exit_codes }
}

/// Writes a spec. Of `secret_env` only the names are reported; BASIC leaves input and files out.
pub(crate) fn to_wire(spec: &RunSpec, view: View) -> v1::RunSpec {
    let full = view == View::Full;
    v1::RunSpec {
        workload: spec.workload.as_ref().map(workload_to),
        env: spec.env.iter().map(env_to).collect(),
        secret_env: spec.secret_env.keys().map(|name| (name.clone(), String::new())).collect(),
        input: spec.input.as_ref().filter(|_| full).map(input_to),
        files: spec.files.iter().filter(|_| full).map(file_to).collect(),
        resources: (!spec.resources.is_empty()).then(|| v1::Resources {
            requests: map_to(&spec.resources.requests),
            limits: map_to(&spec.resources.limits),
        }),
        security: (!spec.security.is_empty()).then(|| security_to(&spec.security)),
        queue_timeout: spec.queue_timeout.map(wire_duration),
        start_timeout: spec.start_timeout.map(wire_duration),
        run_timeout: spec.run_timeout.map(wire_duration),
        termination_grace: spec.termination_grace.map(wire_duration),
        max_retries: spec.max_retries,
        infra_retries: spec.infra_retries,
        retention: spec.retention.map(wire_duration),
        volumes: spec.volumes.iter().map(volume_to).collect(),
        network_mode: spec.network_mode.map_or(v1::NetworkMode::Unspecified, network_mode_to).into(),
        placement: (!spec.placement.is_empty()).then(|| placement_to(&spec.placement)),
        queue_name: spec.queue_name.clone().unwrap_or_default(),
        labels: map_to(&spec.labels),
        annotations: map_to(&spec.annotations),
        result: (!spec.result.is_empty()).then(|| result_rule_to(spec.result)),
        tmp_size: spec.tmp_size.clone(),
        retry_on: (!spec.retry_on.is_empty()).then(|| retry_on_to(&spec.retry_on)),
        total_timeout: spec.total_timeout.map(wire_duration),
    }
}

fn map_to(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn workload_to(workload: &Workload) -> v1::run_spec::Workload {
    match workload {
        Workload::Container(container) => v1::run_spec::Workload::Container(v1::ContainerWorkload {
            image: container.image.clone(),
            command: container.command.clone(),
            args: container.args.clone(),
            working_dir: container.working_dir.clone().unwrap_or_default(),
        }),
        Workload::Runner { profile } => v1::run_spec::Workload::Runner(v1::RunnerWorkload { profile: profile.clone() }),
    }
}

fn env_to(env: &EnvVar) -> v1::EnvVar {
    let source = match &env.source {
        EnvSource::Value(value) => v1::env_var::Source::Value(value.clone()),
        EnvSource::SecretKeyRef { name, key } => {
            v1::env_var::Source::SecretKeyRef(v1::SecretKeyRef { name: name.clone(), key: key.clone() })
        }
    };
    v1::EnvVar { name: env.name.clone(), source: Some(source) }
}

fn input_to(input: &Input) -> v1::Input {
    let content = match input {
        Input::Json(text) => v1::input::Content::Json(text.clone()),
        Input::Raw(bytes) => v1::input::Content::Raw(bytes.clone()),
    };
    v1::Input { content: Some(content) }
}

fn file_to(file: &File) -> v1::File {
    let content = match std::str::from_utf8(&file.content) {
        Ok(text) => v1::file::Content::Text(text.to_owned()),
        Err(_) => v1::file::Content::Data(file.content.clone()),
    };
    v1::File { path: file.path.clone(), mode: file.mode, content: Some(content) }
}

fn security_to(security: &Security) -> v1::Security {
    v1::Security {
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        fs_group: security.fs_group,
        read_only_root_filesystem: security.read_only_root_filesystem,
        runtime_class_name: security.runtime_class_name.clone().unwrap_or_default(),
    }
}

fn volume_to(mount: &VolumeMount) -> v1::VolumeMount {
    v1::VolumeMount { volume: mount.volume.clone(), mount_path: mount.mount_path.clone(), read_only: mount.read_only }
}

fn placement_to(placement: &Placement) -> v1::Placement {
    let toleration = |t: &Toleration| v1::Toleration {
        key: t.key.clone(),
        match_operator: t.match_operator.clone(),
        value: t.value.clone(),
        effect: t.effect.clone(),
    };
    v1::Placement {
        node_selector: map_to(&placement.node_selector),
        tolerations: placement.tolerations.iter().map(toleration).collect(),
        priority_class_name: placement.priority_class_name.clone().unwrap_or_default(),
    }
}

fn network_mode_to(mode: NetworkMode) -> v1::NetworkMode {
    match mode {
        NetworkMode::None => v1::NetworkMode::None,
        NetworkMode::Egress => v1::NetworkMode::Egress,
        NetworkMode::Cluster => v1::NetworkMode::Cluster,
    }
}

fn retry_on_to(rule: &RetryOn) -> v1::RetryOn {
    v1::RetryOn {
        reasons: rule.reasons.iter().map(|reason| failure_reason(*reason).into()).collect(),
        exit_codes: rule.exit_codes.clone(),
    }
}

fn result_rule_to(rule: ResultRule) -> v1::ResultRule {
    let mode = match rule.mode {
        None => v1::ResultMode::Unspecified,
        Some(ResultMode::None) => v1::ResultMode::None,
        Some(ResultMode::Optional) => v1::ResultMode::Optional,
        Some(ResultMode::Required) => v1::ResultMode::Required,
    };
    let scan = match rule.scan {
        None => v1::ResultScan::Unspecified,
        Some(ResultScan::Off) => v1::ResultScan::Off,
        Some(ResultScan::LastObject) => v1::ResultScan::LastObject,
    };
    let dialect = match rule.dialect {
        None => v1::ResultDialect::Unspecified,
        Some(OneDialect::Json) => v1::ResultDialect::Json,
        Some(OneDialect::PythonLiteral) => v1::ResultDialect::PythonLiteral,
    };
    v1::ResultRule { mode: mode.into(), scan: scan.into(), dialect: dialect.into() }
}

#[cfg(test)]
mod tests;
