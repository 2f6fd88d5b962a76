//! What is typed in the configuration file, and how it becomes what it means.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::access::{self, Access, AuthenticationFile, Authorization, AuthorizationFile, TlsFile};
use super::profiles::ProfileSection;
use super::{BackendChoice, Config, ConfigError, KubernetesSection, LocalSection, ServeArgs, builtin};
use crate::domain::name::NamespaceName;
use crate::domain::profile::{Limits, Profile, Volume};
use crate::domain::quantity::Quantity;
use crate::runtime::telemetry::LogFormat;

/// The file as typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfigFile {
    listen: Option<SocketAddr>,
    admin_listen: Option<String>,
    health_listen: Option<String>,
    insecure_no_auth: bool,
    insecure_plaintext: bool,
    backend: Option<String>,
    instance: Option<String>,
    log_format: Option<String>,
    drain_timeout: Option<String>,
    result_deadline: Option<String>,
    tls: TlsFile,
    authentication: AuthenticationFile,
    authorization: AuthorizationFile,
    namespaces: BTreeMap<String, NamespaceSection>,
    kubernetes: KubernetesFile,
    local: LocalFile,
    limits: LimitsSection,
    volumes: BTreeMap<String, VolumeSection>,
    profiles: BTreeMap<String, ProfileSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NamespaceSection {
    kubernetes_namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KubernetesFile {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    network_policies: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LocalFile {
    state_dir: Option<PathBuf>,
    bwrap: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VolumeSection {
    persistent_volume_claim: Option<String>,
    config_map: Option<String>,
    local_path: Option<String>,
    read_only: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsSection {
    default_start_timeout: Option<String>,
    max_start_timeout: Option<String>,
    default_run_timeout: Option<String>,
    max_run_timeout: Option<String>,
    default_termination_grace: Option<String>,
    max_termination_grace: Option<String>,
    default_retention: Option<String>,
    max_retention: Option<String>,
    default_requests: BTreeMap<String, String>,
    default_limits: BTreeMap<String, String>,
    max_limits: BTreeMap<String, String>,
    default_tmp_size: Option<String>,
    default_user: Option<i64>,
    min_user: Option<i64>,
    max_user: Option<i64>,
    max_result_bytes: Option<usize>,
}

/// Reads the text; an unknown key is told with the nearest known one.
pub(super) fn parse(text: &str) -> Result<ConfigFile, String> {
    toml::from_str(text).map_err(|error| {
        let message = error.to_string();
        match nearest(error.message()) {
            Some(nearest) => format!("{}\ndid you mean `{nearest}`?", message.trim_end()),
            None => message.trim_end().to_owned(),
        }
    })
}

/// The known key nearest to the unknown one that serde's message names with all known ones.
fn nearest(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, known) = rest.split_once('`')?;
    let known = known.split('`').skip(1).step_by(2);
    let close = known.map(|key| (strsim::jaro_winkler(unknown, key), key));
    close.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key.to_owned())
}

/// Collects what is wrong, so that all of it is told at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, key: &str, what: impl std::fmt::Display) {
        self.0.push(format!("{key}: {what}"));
    }

    /// A duration such as `90s`, `5m`, `1h30m`, in whole seconds.
    pub(super) fn duration(&mut self, key: &str, text: &str) -> Option<Duration> {
        let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
        match parsed {
            Some(duration) if duration.subsec_nanos() == 0 => Some(duration),
            _ => {
                self.add(key, format!("`{text}` is no duration in whole seconds, such as `90s`, `5m` or `1h 30m`"));
                None
            }
        }
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, text: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.add(key, format!("`{text}` is none of {}", names.join(", ")));
        }
        found
    }

    fn quantities(&mut self, key: &str, map: &BTreeMap<String, String>) {
        for (name, text) in map {
            if let Err(error) = Quantity::parse(text) {
                self.add(&format!("{key}.{name}"), error);
            }
        }
    }
}

impl ConfigFile {
    /// What it means, with the flags over it.
    pub(super) fn resolve(self, args: &ServeArgs) -> Result<Config, ConfigError> {
        let mut faults = Faults::default();
        let listen =
            args.listen.or(self.listen).unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7420));
        let own_admin = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7421));
        let admin_listen = args.admin_listen.as_deref().or(self.admin_listen.as_deref());
        let admin_listen = address("admin_listen", admin_listen, own_admin, &mut faults);
        let health_listen = args.health_listen.as_deref().or(self.health_listen.as_deref());
        let health_listen = address("health_listen", health_listen, None, &mut faults);
        let backend = self.backend.as_deref().and_then(|text| {
            use BackendChoice::{Auto, Kubernetes, Local};
            faults.choice("backend", text, &[("auto", Auto), ("kubernetes", Kubernetes), ("local", Local)])
        });
        let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log_format = args.log_format.as_deref().or(self.log_format.as_deref());
        let log_format = log_format.and_then(|text| faults.choice("log_format", text, &formats)).unwrap_or_default();
        let mut duration = |key: &str, text: &Option<String>, default: u64| {
            let parsed = text.as_deref().and_then(|text| faults.duration(key, text));
            parsed.unwrap_or_else(|| Duration::from_secs(default))
        };
        let drain_timeout = duration("drain_timeout", &self.drain_timeout, 20);
        let result_deadline = duration("result_deadline", &self.result_deadline, 10);
        let instance = args.installation.instance.clone().or(self.instance).unwrap_or_else(|| "longshore".to_owned());
        if !crate::domain::syntax::is_label_value(&instance) || instance.is_empty() {
            faults
                .add("instance", format!("`{instance}` is no label value: 1 to 63 letters, digits, `-`, `_` and `.`"));
        }
        let namespaces = namespaces(self.namespaces, &mut faults);
        let kubernetes = kubernetes(self.kubernetes, args, &mut faults);
        let local = local(self.local, args, &mut faults);
        let limits = self.limits.resolve(&mut faults);
        let volumes = self.volumes.into_iter().map(|(name, section)| (name, section.into())).collect();
        let access = access::resolve(self.tls, self.authentication, self.authorization, &mut faults);
        let mut profiles = builtin::profiles();
        for (name, section) in self.profiles {
            let profile = section.over(profiles.remove(&name), &name, &mut faults);
            profiles.insert(name, profile);
        }
        check_policy(&access, &namespaces, &profiles, &mut faults);
        if !faults.0.is_empty() {
            return Err(ConfigError::Invalid(faults.0));
        }
        Ok(Config {
            listen,
            admin_listen,
            health_listen,
            insecure_no_auth: args.insecure_no_auth || self.insecure_no_auth,
            insecure_plaintext: args.insecure_plaintext || self.insecure_plaintext,
            access,
            backend: args.backend.or(backend).unwrap_or_default(),
            instance,
            log_format,
            drain_timeout,
            result_deadline,
            namespaces,
            kubernetes,
            local,
            limits,
            volumes,
            profiles,
        })
    }
}

/// An address, or `off`.
fn address(key: &str, text: Option<&str>, default: Option<SocketAddr>, faults: &mut Faults) -> Option<SocketAddr> {
    match text {
        None => default,
        Some("off") => None,
        Some(text) => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                faults.add(key, format!("`{text}` is no address such as 127.0.0.1:7421, nor `off`"));
                None
            }
        },
    }
}

/// What a policy names has to be there: a word that is misspelt would allow nothing, silently.
fn check_policy(
    access: &Access,
    namespaces: &BTreeMap<NamespaceName, String>,
    profiles: &BTreeMap<String, Profile>,
    faults: &mut Faults,
) {
    let Some(Authorization::Policy(policy)) = &access.authorization else { return };
    for (index, name) in policy.unknown_namespaces(|name| namespaces.contains_key(name)) {
        faults.add(&format!("authorization.rules[{index}].namespaces"), format!("there is no namespace `{name}`"));
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        for name in rule.profiles.iter().flatten().filter(|name| !profiles.contains_key(*name)) {
            faults.add(&format!("authorization.rules[{index}].profiles"), format!("there is no profile `{name}`"));
        }
    }
}

fn namespaces(sections: BTreeMap<String, NamespaceSection>, faults: &mut Faults) -> BTreeMap<NamespaceName, String> {
    let mut namespaces = BTreeMap::from([(NamespaceName::default_namespace(), "longshore-runs".to_owned())]);
    for (name, section) in sections {
        match NamespaceName::parse(&name) {
            Ok(parsed) => {
                let target = section.kubernetes_namespace.unwrap_or_else(|| format!("longshore-{name}"));
                if !crate::domain::syntax::is_dns_label(&target) {
                    faults
                        .add(&format!("namespaces.{name}.kubernetes_namespace"), format!("`{target}` is no DNS label"));
                }
                namespaces.insert(parsed, target);
            }
            Err(error) => faults.add(&format!("namespaces.{name}"), error),
        }
    }
    // One to one: two namespaces in one Kubernetes namespace could not be told apart.
    let mut seen = BTreeMap::new();
    for (name, target) in &namespaces {
        if let Some(other) = seen.insert(target.clone(), name.clone()) {
            let key = format!("namespaces.{name}.kubernetes_namespace");
            faults.add(&key, format!("`{target}` is taken by namespace `{other}` already"));
        }
    }
    namespaces
}

fn kubernetes(file: KubernetesFile, args: &ServeArgs, faults: &mut Faults) -> KubernetesSection {
    let policies = file
        .network_policies
        .as_deref()
        .and_then(|text| faults.choice("kubernetes.network_policies", text, &[("installed", true), ("none", false)]));
    KubernetesSection {
        kubeconfig: args.installation.kubeconfig.clone().or(file.kubeconfig),
        context: args.installation.context.clone().or(file.context),
        network_policies: policies.unwrap_or(false),
    }
}

fn local(file: LocalFile, args: &ServeArgs, faults: &mut Faults) -> LocalSection {
    let choices = [("auto", false), ("off", true)];
    let no_bwrap = file.bwrap.as_deref().and_then(|text| faults.choice("local.bwrap", text, &choices));
    LocalSection { state_dir: args.state_dir.clone().or(file.state_dir), no_bwrap: no_bwrap.unwrap_or(false) }
}

impl From<VolumeSection> for Volume {
    fn from(section: VolumeSection) -> Self {
        let VolumeSection { persistent_volume_claim, config_map, local_path, read_only } = section;
        Self { persistent_volume_claim, config_map, local_path, read_only: read_only.unwrap_or(true) }
    }
}

impl LimitsSection {
    fn resolve(self, faults: &mut Faults) -> Limits {
        let mut limits = Limits::default();
        let clocks = [
            ("default_start_timeout", &self.default_start_timeout, &mut limits.default_start_timeout),
            ("max_start_timeout", &self.max_start_timeout, &mut limits.max_start_timeout),
            ("default_run_timeout", &self.default_run_timeout, &mut limits.default_run_timeout),
            ("max_run_timeout", &self.max_run_timeout, &mut limits.max_run_timeout),
            ("default_termination_grace", &self.default_termination_grace, &mut limits.default_termination_grace),
            ("max_termination_grace", &self.max_termination_grace, &mut limits.max_termination_grace),
            ("default_retention", &self.default_retention, &mut limits.default_retention),
            ("max_retention", &self.max_retention, &mut limits.max_retention),
        ];
        for (key, text, target) in clocks {
            if let Some(duration) = text.as_deref().and_then(|t| faults.duration(&format!("limits.{key}"), t)) {
                *target = duration;
            }
        }
        faults.quantities("limits.default_requests", &self.default_requests);
        faults.quantities("limits.default_limits", &self.default_limits);
        faults.quantities("limits.max_limits", &self.max_limits);
        limits.default_requests.extend(self.default_requests);
        limits.default_limits.extend(self.default_limits);
        limits.max_limits.extend(self.max_limits);
        if let Some(size) = self.default_tmp_size {
            faults.quantities("limits", &BTreeMap::from([("default_tmp_size".to_owned(), size.clone())]));
            limits.default_tmp_size = size;
        }
        limits.default_user = self.default_user.unwrap_or(limits.default_user);
        limits.min_user = self.min_user.unwrap_or(limits.min_user).max(1);
        limits.max_user = self.max_user.unwrap_or(limits.max_user).min(i64::from(i32::MAX));
        limits.max_result_bytes = self.max_result_bytes.unwrap_or(limits.max_result_bytes);
        for (name, default, max) in [
            ("start_timeout", limits.default_start_timeout, limits.max_start_timeout),
            ("run_timeout", limits.default_run_timeout, limits.max_run_timeout),
            ("termination_grace", limits.default_termination_grace, limits.max_termination_grace),
            ("retention", limits.default_retention, limits.max_retention),
        ] {
            if default > max {
                faults.add(&format!("limits.default_{name}"), format!("is above limits.max_{name}"));
            }
        }
        limits
    }
}
