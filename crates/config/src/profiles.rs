//! Profiles as typed, and how they become [`Profile`]s.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use strum::VariantArray;

use super::builtin;
use super::faults::ConfigFaults;
use longshore_domain::result::schema::JsonSchema;
use longshore_domain::run::profile::{InputDelivery, KubernetesProfile, LocalProfile, Profile, SideContainer};
use longshore_domain::run::spec::{EnvSource, EnvVar, Placement, Resources, RetryOn, RunSpec, Security, VolumeMount};

/// One `[profiles.NAME]`; what is unset keeps what the built-in profile of that name has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProfileFile {
    description: Option<String>,
    input: Option<String>,
    overridable: Option<Vec<String>>,
    pod_annotations: Option<Vec<String>>,
    input_schema: Option<String>,
    result_schema: Option<String>,
    reports_status: Option<bool>,
    kubernetes: Option<KubernetesProfileFile>,
    local: Option<LocalProfileFile>,
    defaults: DefaultsFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KubernetesProfileFile {
    image: String,
    command: Option<Vec<String>>,
    args: Vec<String>,
    working_dir: Option<String>,
    image_pull_policy: Option<String>,
    image_pull_secrets: Vec<String>,
    init: Vec<SideContainerFile>,
    sidecars: Vec<SideContainerFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SideContainerFile {
    name: String,
    image: String,
    image_pull_policy: Option<String>,
    command: Vec<String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
    volumes: Vec<VolumeMountFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LocalProfileFile {
    command: Vec<String>,
    mounts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DefaultsFile {
    env: BTreeMap<String, String>,
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
    security: Option<SecurityFile>,
    start_timeout: Option<String>,
    run_timeout: Option<String>,
    termination_grace: Option<String>,
    retention: Option<String>,
    volumes: Vec<VolumeMountFile>,
    network_mode: Option<String>,
    node_selector: BTreeMap<String, String>,
    priority_class_name: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    result: Option<String>,
    scan: Option<String>,
    dialect: Option<String>,
    tmp_size: Option<String>,
    max_retries: Option<i32>,
    infra_retries: Option<i32>,
    retry_on: Option<RetryOnFile>,
    total_timeout: Option<String>,
    queue_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RetryOnFile {
    reasons: Vec<String>,
    exit_codes: Vec<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SecurityFile {
    run_as_user: Option<i64>,
    run_as_group: Option<i64>,
    fs_group: Option<i64>,
    read_only_root_filesystem: Option<bool>,
    runtime_class_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VolumeMountFile {
    volume: String,
    mount_path: String,
    read_only: Option<bool>,
}

impl ProfileFile {
    /// The profile `name`: this over `base`. `dir`: the directory of the file, which relative paths
    /// begin at.
    pub(super) fn over(
        self,
        base: Option<Profile>,
        name: &str,
        dir: Option<&Path>,
        faults: &mut ConfigFaults,
    ) -> Profile {
        let key = format!("profiles.{name}");
        if !longshore_domain::notation::syntax::is_dns_label(name) {
            faults.add(&key, "is not a DNS label: lower-case letters, digits and `-`");
        }
        let is_new = base.is_none();
        let mut profile = base.unwrap_or_default();
        name.clone_into(&mut profile.name);
        set(&mut profile.description, self.description);
        set(&mut profile.overridable, self.overridable);
        set(&mut profile.pod_annotations, self.pod_annotations);
        for (name, text, target) in [
            ("input_schema", self.input_schema, &mut profile.input_schema),
            ("result_schema", self.result_schema, &mut profile.result_schema),
        ] {
            match text.as_deref().map(JsonSchema::compile) {
                None => {}
                Some(Ok(schema)) => *target = Some(schema),
                Some(Err(error)) => faults.add(&format!("{key}.{name}"), error),
            }
        }
        set(&mut profile.reports_status, self.reports_status);
        if let Some(text) = self.input {
            set(&mut profile.input, input(&format!("{key}.input"), &text, faults));
        }
        if let Some(part) = self.kubernetes {
            profile.kubernetes = Some(part.resolve(&format!("{key}.kubernetes"), name, faults));
        }
        if let Some(part) = self.local {
            profile.local = Some(part.resolve(&format!("{key}.local"), dir, faults));
        }
        if is_new && profile.kubernetes.is_none() && profile.local.is_none() {
            faults.add(&key, "has neither a `kubernetes` nor a `local` part, so nothing can run it");
        }
        profile.defaults = self.defaults.over(profile.defaults, &format!("{key}.defaults"), faults);
        profile
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn input(key: &str, text: &str, faults: &mut ConfigFaults) -> Option<InputDelivery> {
    match text {
        "file" => Some(InputDelivery::File),
        "stdin" => Some(InputDelivery::Stdin),
        _ => match text.strip_prefix("env:") {
            Some(name) if longshore_domain::notation::syntax::is_env_name(name) => {
                Some(InputDelivery::Env(name.to_owned()))
            }
            _ => {
                faults.add(key, format!("`{text}` is not one of `file`, `stdin`, `env:NAME`"));
                None
            }
        },
    }
}

impl LocalProfileFile {
    fn resolve(mut self, key: &str, dir: Option<&Path>, faults: &mut ConfigFaults) -> LocalProfile {
        match self.command.first_mut() {
            None => faults.add(&format!("{key}.command"), "is empty; name the program and its arguments"),
            // A bare name is looked for in the run's PATH.
            Some(program) if program.contains('/') => {
                place(program, &format!("{key}.command[0]"), dir, faults);
            }
            Some(_) => {}
        }
        for (i, path) in self.mounts.iter_mut().enumerate() {
            place(path, &format!("{key}.mounts[{i}]"), dir, faults);
        }
        LocalProfile { command: self.command, mounts: self.mounts }
    }
}

/// Makes a relative path begin at `dir`.
fn place(path: &mut String, key: &str, dir: Option<&Path>, faults: &mut ConfigFaults) {
    if path.starts_with(['~', '$']) {
        return faults.add(key, format!("`{path}`: `~` and variables are not expanded here; write the absolute path"));
    }
    if Path::new(path.as_str()).is_absolute() {
        return;
    }
    let joined = dir.map(|dir| plain(&dir.join(path.as_str())));
    match joined.as_deref().map(Path::to_str) {
        Some(Some(joined)) => joined.clone_into(path),
        _ => faults
            .add(key, format!("`{path}` is relative to a directory that has no UTF-8 name; write the absolute path")),
    }
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            // The root is its own parent.
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

impl KubernetesProfileFile {
    fn resolve(self, key: &str, profile: &str, faults: &mut ConfigFaults) -> KubernetesProfile {
        if self.image.is_empty() {
            faults.add(&format!("{key}.image"), "is not set; name the image");
        }
        check_pull_policy(self.image_pull_policy.as_deref(), key, faults);
        let mut containers = |kind: &str, containers: Vec<SideContainerFile>| {
            let containers = containers.into_iter().enumerate();
            containers.map(|(i, side)| side.resolve(&format!("{key}.{kind}[{i}]"), faults)).collect()
        };
        KubernetesProfile {
            init: containers("init", self.init),
            sidecars: containers("sidecars", self.sidecars),
            image: self.image,
            command: self.command.unwrap_or_else(|| builtin::image_command(profile)),
            args: self.args,
            working_dir: self.working_dir,
            image_pull_policy: self.image_pull_policy,
            image_pull_secrets: self.image_pull_secrets,
        }
    }
}

impl SideContainerFile {
    fn resolve(self, key: &str, faults: &mut ConfigFaults) -> SideContainer {
        let Self { name, image, image_pull_policy, command, args, env, requests, limits, volumes } = self;
        check_pull_policy(image_pull_policy.as_deref(), key, faults);
        let resources = Resources { requests, limits };
        let volumes = volumes.into_iter().map(VolumeMountFile::resolve).collect();
        SideContainer { name, image, image_pull_policy, command, args, env, resources, volumes }
    }
}

impl VolumeMountFile {
    fn resolve(self) -> VolumeMount {
        let Self { volume, mount_path, read_only } = self;
        VolumeMount { volume, mount_path, read_only }
    }
}

fn check_pull_policy(policy: Option<&str>, key: &str, faults: &mut ConfigFaults) {
    if let Some(policy) = policy {
        let choices = [("Always", ()), ("IfNotPresent", ()), ("Never", ())];
        faults.choice(&format!("{key}.image_pull_policy"), policy, &choices);
    }
}

impl DefaultsFile {
    fn over(self, mut spec: RunSpec, key: &str, faults: &mut ConfigFaults) -> RunSpec {
        for (name, value) in self.env {
            spec.env.retain(|var| var.name != name);
            spec.env.push(EnvVar { name, source: EnvSource::Value(value) });
        }
        let Resources { requests, limits } = &mut spec.resources;
        requests.extend(self.requests);
        limits.extend(self.limits);
        if let Some(part) = self.security {
            let SecurityFile { run_as_user, run_as_group, fs_group, read_only_root_filesystem, runtime_class_name } =
                part;
            spec.security =
                Security { run_as_user, run_as_group, fs_group, read_only_root_filesystem, runtime_class_name };
        }
        for (name, text, target) in [
            ("start_timeout", self.start_timeout, &mut spec.start_timeout),
            ("run_timeout", self.run_timeout, &mut spec.run_timeout),
            ("termination_grace", self.termination_grace, &mut spec.termination_grace),
            ("retention", self.retention, &mut spec.retention),
            ("total_timeout", self.total_timeout, &mut spec.total_timeout),
        ] {
            if let Some(text) = text {
                *target = faults.duration(&format!("{key}.{name}"), &text).or(*target);
            }
        }
        if !self.volumes.is_empty() {
            spec.volumes = self.volumes.into_iter().map(VolumeMountFile::resolve).collect();
        }
        choose(&mut spec.network_mode, self.network_mode, &format!("{key}.network_mode"), faults);
        if !self.node_selector.is_empty() || self.priority_class_name.is_some() {
            let (node_selector, priority_class_name) = (self.node_selector, self.priority_class_name);
            spec.placement = Placement { node_selector, priority_class_name, tolerations: Vec::new() };
        }
        spec.labels.extend(self.labels);
        spec.annotations.extend(self.annotations);
        choose(&mut spec.result.mode, self.result, &format!("{key}.result"), faults);
        choose(&mut spec.result.scan, self.scan, &format!("{key}.scan"), faults);
        choose(&mut spec.result.dialect, self.dialect, &format!("{key}.dialect"), faults);
        spec.tmp_size = self.tmp_size.or(spec.tmp_size);
        spec.queue_name = self.queue_name.or(spec.queue_name);
        spec.max_retries = self.max_retries.or(spec.max_retries);
        spec.infra_retries = self.infra_retries.or(spec.infra_retries);
        if let Some(RetryOnFile { reasons, exit_codes }) = self.retry_on {
            let named = reasons.iter().enumerate();
            let reasons =
                named.filter_map(|(i, name)| faults.variant(&format!("{key}.retry_on.reasons[{i}]"), name)).collect();
            spec.retry_on = RetryOn { reasons, exit_codes };
        }
        spec
    }
}

fn choose<T: VariantArray + Copy + Into<&'static str>>(
    target: &mut Option<T>,
    text: Option<String>,
    key: &str,
    faults: &mut ConfigFaults,
) {
    if let Some(text) = text {
        *target = faults.variant(key, &text).or(*target);
    }
}
