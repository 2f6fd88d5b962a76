//! What is typed in the configuration file, and how it becomes what it means.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::access::{self, Access, AuthenticationFile, Authorization, AuthorizationFile, TlsFile};
use super::faults::ConfigFaults;
use super::profiles::ProfileFile;
use super::{BackendChoice, Config, Kubernetes, Local, ServeArgs, Serving, builtin, socket_address};
use longshore_domain::name::{NamespaceName, shown};
use longshore_domain::notation::quantity::Quantity;
use longshore_domain::run::profile::{Capabilities, Limits, Profile, Volume};
use longshore_domain::run::rules::Rules;
use longshore_domain::run::validate::{check_limits, check_profile};
use longshore_runtime::telemetry::LogFormat;

/// The file as typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfigFile {
    listen: Option<String>,
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
    namespaces: BTreeMap<String, NamespaceFile>,
    kubernetes: KubernetesFile,
    local: LocalFile,
    limits: LimitsFile,
    volumes: BTreeMap<String, VolumeFile>,
    profiles: BTreeMap<String, ProfileFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NamespaceFile {
    kubernetes_namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KubernetesFile {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    network_policies: Option<String>,
    node_lost_after: Option<String>,
    queues: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LocalFile {
    state_dir: Option<PathBuf>,
    bwrap: Option<String>,
    log_max_bytes: Option<u64>,
    max_processes: Option<u64>,
    max_concurrent_runs: Option<usize>,
    max_finished_runs: Option<usize>,
    max_finished_bytes: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VolumeFile {
    persistent_volume_claim: Option<String>,
    config_map: Option<String>,
    local_path: Option<String>,
    read_only: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsFile {
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
    min_memory: Option<String>,
    default_tmp_size: Option<String>,
    default_user: Option<i64>,
    min_user: Option<i64>,
    max_user: Option<i64>,
    max_result_bytes: Option<usize>,
    max_live_runs_per_caller: Option<usize>,
    max_connections: Option<usize>,
    max_connections_per_address: Option<usize>,
    max_streams_per_caller: Option<usize>,
}

impl ConfigFile {
    /// What it means, with the flags over it.
    ///
    /// # Errors
    /// What can't be used: keys, or flags, and why.
    pub(super) fn resolve(self, args: &ServeArgs) -> Result<Config, Vec<(String, String)>> {
        let mut faults = ConfigFaults::default();
        let typed = self.listen.as_deref().and_then(|text| faults.address("listen", text));
        let listen =
            args.addresses.listen.or(typed).unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7420));
        let own_admin = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7421));
        let (admin_key, admin_listen) = flag_or_key("admin_listen", &args.addresses.admin_listen, &self.admin_listen);
        let admin_listen = address(&admin_key, admin_listen, own_admin, &mut faults);
        let (health_key, health_listen) =
            flag_or_key("health_listen", &args.addresses.health_listen, &self.health_listen);
        let health_listen = address(&health_key, health_listen, None, &mut faults);
        let others = [("listen", Some(listen)), (admin_key.as_str(), admin_listen)];
        for (at, (key, own)) in [(&admin_key, admin_listen), (&health_key, health_listen)].into_iter().enumerate() {
            let taken = |other: Option<SocketAddr>| own.zip(other).is_some_and(|(own, other)| collide(own, other));
            if let Some((other, _)) = others.iter().take(at + 1).find(|(_, other)| taken(*other)) {
                let other = other.trim_start_matches("--").replace('-', "_");
                faults.add(key, format!("is the address of `{other}` already; choose another port"));
            }
        }
        let backend = self.backend.as_deref().and_then(|text| {
            use BackendChoice::{Auto, Kubernetes, Local};
            faults.choice("backend", text, &[("auto", Auto), ("kubernetes", Kubernetes), ("local", Local)])
        });
        let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
        let (key, log_format) = flag_or_key("log_format", &args.log_format, &self.log_format);
        let log_format = log_format.and_then(|text| faults.choice(&key, text, &formats)).unwrap_or_default();
        let mut duration = |key: &str, text: &Option<String>, default: u64| {
            let parsed = text.as_deref().and_then(|text| faults.duration(key, text));
            parsed.unwrap_or_else(|| Duration::from_secs(default))
        };
        let drain_timeout = duration("drain_timeout", &self.drain_timeout, 20);
        let result_deadline = duration("result_deadline", &self.result_deadline, 10);
        let instance = args.installation.instance.clone().or(self.instance).unwrap_or_else(|| "longshore".to_owned());
        if !longshore_domain::notation::syntax::is_label_value(&instance) || instance.is_empty() {
            let rule = "1 to 63 letters, digits, `-`, `_` and `.`";
            faults.add("instance", format!("`{instance}` is not a valid label value: {rule}"));
        }
        let namespaces = namespaces(self.namespaces, &mut faults);
        let kubernetes = kubernetes(self.kubernetes, args, &mut faults);
        let local = local(self.local, args, &mut faults);
        let serving = self.limits.serving(&mut faults);
        let limits = self.limits.resolve(&mut faults);
        let volumes: BTreeMap<String, Volume> =
            self.volumes.into_iter().map(|(name, section)| (name, section.into())).collect();
        let access = access::resolve(self.tls, self.authentication, self.authorization, &mut faults);
        let dir = args.installation.config.as_deref().and_then(|file| std::path::absolute(file).ok());
        let dir = dir.as_deref().and_then(Path::parent);
        let mut profiles = builtin::profiles();
        for (name, section) in self.profiles {
            let profile = section.over(profiles.remove(&name), &name, dir, &mut faults);
            profiles.insert(name, profile);
        }
        for (name, profile) in &profiles {
            if let Some(queue) = profile.defaults.queue_name.as_ref().filter(|queue| !kubernetes.queues.contains(queue))
            {
                let key = format!("profiles.{name}.defaults.queue_name");
                faults.add(&key, format!("queue `{}` is not listed in `kubernetes.queues`", shown(queue)));
            }
        }
        check_policy(&access, &namespaces, &profiles, &mut faults);
        check_values(&limits, &volumes, &profiles, &mut faults);
        let found = faults.into_list();
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Config {
            listen,
            admin_listen,
            health_listen,
            insecure_no_auth: args.addresses.insecure_no_auth || self.insecure_no_auth,
            insecure_plaintext: args.addresses.insecure_plaintext || self.insecure_plaintext,
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
            serving,
            volumes,
            profiles,
        })
    }
}

/// Whether nobody can listen on both: one address, or all of this machine's and one of them. Any free port is never
/// another's.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |address: SocketAddr| address.ip().is_unspecified() && one.is_ipv4() == other.is_ipv4();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || all(one) || all(other))
}

/// The value of a flag, else that of its key in the file; and what it is called there.
fn flag_or_key<'a>(key: &str, flag: &'a Option<String>, value: &'a Option<String>) -> (String, Option<&'a str>) {
    match flag {
        Some(flag) => (format!("--{}", key.replace('_', "-")), Some(flag)),
        None => (key.to_owned(), value.as_deref()),
    }
}

/// Limits and profiles are judged by the rules of a request: a submit checks only what its caller set.
fn check_values(
    limits: &Limits,
    volumes: &BTreeMap<String, Volume>,
    profiles: &BTreeMap<String, Profile>,
    faults: &mut ConfigFaults,
) {
    faults.extend(check_limits(limits, "limits"));
    let rules = Rules {
        limits: limits.clone(),
        // None of these checks asks what a backend can do.
        capabilities: Capabilities::default(),
        profiles: BTreeMap::new(),
        volumes: volumes.clone(),
    };
    for (name, profile) in profiles {
        faults.extend(check_profile(profile, &format!("profiles.{name}"), &rules));
    }
}

/// An address, or `off`.
fn address(
    key: &str,
    text: Option<&str>,
    default: Option<SocketAddr>,
    faults: &mut ConfigFaults,
) -> Option<SocketAddr> {
    match text {
        None => default,
        Some("off") => None,
        Some(text) => match socket_address(text) {
            Ok(address) => Some(address),
            Err(_) => {
                faults.add(key, format!("`{text}` is neither an address such as 127.0.0.1:7421 nor `off`"));
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
    faults: &mut ConfigFaults,
) {
    let Some(Authorization::Policy(policy)) = &access.authorization else { return };
    for (index, name) in policy.unknown_namespaces(|name| namespaces.contains_key(name)) {
        faults
            .add(&format!("authorization.rules[{index}].namespaces"), format!("namespace `{name}` is not configured"));
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        for name in rule.profiles.iter().flatten().filter(|name| !profiles.contains_key(*name)) {
            faults
                .add(&format!("authorization.rules[{index}].profiles"), format!("profile `{name}` is not configured"));
        }
    }
}

fn namespaces(sections: BTreeMap<String, NamespaceFile>, faults: &mut ConfigFaults) -> BTreeMap<NamespaceName, String> {
    let mut namespaces = BTreeMap::from([(NamespaceName::default_namespace(), "longshore-runs".to_owned())]);
    for (name, section) in sections {
        match NamespaceName::parse(&name) {
            Ok(parsed) => {
                let target = section.kubernetes_namespace.unwrap_or_else(|| format!("longshore-{name}"));
                if !longshore_domain::notation::syntax::is_dns_label(&target) {
                    faults.add(
                        &format!("namespaces.{name}.kubernetes_namespace"),
                        format!("`{target}` is not a DNS label"),
                    );
                }
                namespaces.insert(parsed, target);
            }
            Err(error) => faults.add(&format!("namespaces.{name}"), error),
        }
    }
    // One to one: two namespaces in one Kubernetes namespace could not be distinguished.
    let mut seen = BTreeMap::new();
    for (name, target) in &namespaces {
        if let Some(other) = seen.insert(target.clone(), name.clone()) {
            let key = format!("namespaces.{name}.kubernetes_namespace");
            faults.add(&key, format!("`{target}` is taken by namespace `{other}` already"));
        }
    }
    namespaces
}

/// Twice as long as Kubernetes takes to delete the Pods of a node that does not report, so that its word comes first.
const NODE_LOST_AFTER: Duration = Duration::from_secs(600);
/// Kubelets that are restarted or busy are silent for seconds, and the control plane notices after 40 to 50.
const NODE_LOST_AFTER_MIN: Duration = Duration::from_secs(30);

fn kubernetes(file: KubernetesFile, args: &ServeArgs, faults: &mut ConfigFaults) -> Kubernetes {
    let policies = file
        .network_policies
        .as_deref()
        .and_then(|text| faults.choice("kubernetes.network_policies", text, &[("installed", true), ("none", false)]));
    let node_lost_after =
        file.node_lost_after.as_deref().and_then(|text| faults.duration("kubernetes.node_lost_after", text));
    if node_lost_after.is_some_and(|time| time < NODE_LOST_AFTER_MIN) {
        faults.add(
            "kubernetes.node_lost_after",
            format!(
                "must be at least {}s: nodes are silent for less while they are well",
                NODE_LOST_AFTER_MIN.as_secs()
            ),
        );
    }
    for (i, queue) in file.queues.iter().enumerate() {
        let key = format!("kubernetes.queues[{i}]");
        if !longshore_domain::notation::syntax::is_dns_label(queue) {
            faults.add(&key, format!("`{}` is not a valid LocalQueue name: a DNS label is expected", shown(queue)));
        } else if file.queues.iter().take(i).any(|other| other == queue) {
            faults.add(&key, format!("`{queue}` is listed twice"));
        }
    }
    Kubernetes {
        kubeconfig: args.installation.kubeconfig.clone().or(file.kubeconfig),
        context: args.installation.context.clone().or(file.context),
        network_policies: policies.unwrap_or(false),
        node_lost_after: node_lost_after.unwrap_or(NODE_LOST_AFTER),
        queues: file.queues,
    }
}

fn local(file: LocalFile, args: &ServeArgs, faults: &mut ConfigFaults) -> Local {
    let choices = [("auto", false), ("off", true)];
    let no_bwrap = file.bwrap.as_deref().and_then(|text| faults.choice("local.bwrap", text, &choices));
    if file.log_max_bytes == Some(0) {
        faults.add("local.log_max_bytes", "it must be positive");
    }
    if file.max_processes == Some(0) {
        faults.add("local.max_processes", "is 0, with which no program could start another; it must be at least 1");
    }
    if file.max_concurrent_runs == Some(0) {
        faults.add("local.max_concurrent_runs", "is 0, with which no run would ever start; it must be at least 1");
    }
    let bytes = file.max_finished_bytes.as_deref().and_then(|text| match Quantity::parse(text) {
        Ok(quantity) if quantity.is_negative() => {
            faults.add("local.max_finished_bytes", "must not be negative; leave it unset for no bound");
            None
        }
        Ok(quantity) => u64::try_from(quantity.units()).ok(),
        Err(error) => {
            faults.add("local.max_finished_bytes", error);
            None
        }
    });
    Local {
        state_dir: args.state_dir.clone().or(file.state_dir),
        no_bwrap: no_bwrap.unwrap_or(false),
        log_max_bytes: file.log_max_bytes,
        max_processes: file.max_processes,
        max_concurrent_runs: file.max_concurrent_runs,
        max_finished_runs: file.max_finished_runs,
        max_finished_bytes: bytes,
    }
}

impl From<VolumeFile> for Volume {
    fn from(section: VolumeFile) -> Self {
        let VolumeFile { persistent_volume_claim, config_map, local_path, read_only } = section;
        Self { persistent_volume_claim, config_map, local_path, read_only: read_only.unwrap_or(true) }
    }
}

impl LimitsFile {
    /// What of it is about connections and calls.
    fn serving(&self, faults: &mut ConfigFaults) -> Serving {
        let mut at_least_one = |key: &str, value: Option<usize>| {
            if value == Some(0) {
                faults.add(&format!("limits.{key}"), "is 0, with which nobody could call; it must be at least 1");
            }
            value
        };
        Serving {
            max_connections: at_least_one("max_connections", self.max_connections),
            max_connections_per_address: at_least_one("max_connections_per_address", self.max_connections_per_address),
            max_streams_per_caller: at_least_one("max_streams_per_caller", self.max_streams_per_caller),
        }
    }

    fn resolve(self, faults: &mut ConfigFaults) -> Limits {
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
        if let Some(min) = self.min_memory {
            faults.quantities("limits", &BTreeMap::from([("min_memory".to_owned(), min.clone())]));
            limits.min_memory = min;
        }
        if let Some(size) = self.default_tmp_size {
            faults.quantities("limits", &BTreeMap::from([("default_tmp_size".to_owned(), size.clone())]));
            limits.default_tmp_size = size;
        }
        limits.default_user = self.default_user.unwrap_or(limits.default_user);
        limits.min_user = self.min_user.unwrap_or(limits.min_user).max(1);
        limits.max_user = self.max_user.unwrap_or(limits.max_user).min(i64::from(i32::MAX));
        limits.max_result_bytes = self.max_result_bytes.unwrap_or(limits.max_result_bytes);
        limits.max_live_runs_per_caller = self.max_live_runs_per_caller.unwrap_or(limits.max_live_runs_per_caller);
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
