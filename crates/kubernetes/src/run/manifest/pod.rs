//! The Pod of a run: one container that passes Pod Security `restricted`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
    SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::variable::from_secret;
use super::{ManifestContext, ManifestError, input};
use crate::api::names::{RUN_CONTAINER, path, variable};
use longshore_backend::Launch;
use longshore_domain::run::batch::BatchItem;
use longshore_domain::run::profile::{self, Program, SideContainer};
use longshore_domain::run::spec::{self, EffectiveSpec, EnvSource, Resources, ResultMode};
use longshore_domain::run::verdict::WHOLE_SECOND;

/// Largest `activeDeadlineSeconds` that the API server accepts.
const DEADLINE_MAX_SECONDS: u64 = i32::MAX.unsigned_abs() as u64;

pub(super) fn spec(launch: &Launch, ctx: &ManifestContext) -> Result<PodSpec, ManifestError> {
    let effective = &launch.submission.effective;
    let Program::Container(program) = &launch.program else {
        return Err(ManifestError::NotAContainer { run: launch.name.to_string() });
    };
    let mut mounted = mounted(launch, ctx)?;
    let mut side = |kind: SideKind, containers: &[SideContainer]| {
        containers
            .iter()
            .map(|side| side_container(side, kind, effective, &mut mounted, ctx))
            .collect::<Result<Vec<_>, _>>()
    };
    // What the others may need is there first.
    let sidecars = side(SideKind::Sidecar, &program.sidecars)?;
    let init = side(SideKind::Init, &program.init)?;
    let secrets = program.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    let (node_selector, tolerations) = placement(&effective.placement);
    Ok(PodSpec {
        active_deadline_seconds: Some(deadline_seconds(effective)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: some_list(secrets.collect()),
        node_selector,
        priority_class_name: effective.placement.priority_class_name.clone(),
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: effective.security.runtime_class_name.clone(),
        security_context: Some(pod_security_context(effective)),
        termination_grace_period_seconds: Some(seconds(effective.termination_grace)),
        tolerations,
        volumes: some_list(mounted.volumes),
        init_containers: some_list(sidecars.into_iter().chain(init).collect()),
        containers: vec![Container {
            name: RUN_CONTAINER.to_owned(),
            image: Some(program.image.clone()),
            image_pull_policy: program.image_pull_policy.clone(),
            command: literals(&program.command),
            args: literals(&program.args),
            working_dir: program.working_dir.clone(),
            env: some_list(env(launch)?),
            resources: Some(resources(&effective.resources)),
            security_context: Some(security_context(effective)),
            termination_message_path: Some(path::RESULT.to_owned()),
            termination_message_policy: Some("File".to_owned()),
            volume_mounts: some_list(mounted.mounts),
            ..Container::default()
        }],
        ..PodSpec::default()
    })
}

/// Where it may be scheduled: its node selector and its tolerations.
pub(super) fn placement(placement: &spec::Placement) -> (Option<BTreeMap<String, String>>, Option<Vec<Toleration>>) {
    let tolerations = placement.tolerations.iter().map(toleration).collect();
    (some_map(placement.node_selector.clone()), some_list(tolerations))
}

/// Start and run budget together, and a second for times that are whole seconds: the backstop if
/// the daemon is down when `run` starts; it lowers the deadline then.
fn deadline_seconds(effective: &EffectiveSpec) -> i64 {
    let budget = effective.start_timeout.saturating_add(effective.run_timeout).saturating_add(WHOLE_SECOND).as_secs();
    i64::try_from(budget.clamp(1, DEADLINE_MAX_SECONDS)).unwrap_or(i64::MAX)
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn pod_security_context(effective: &EffectiveSpec) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(effective.security.run_as_user),
        run_as_group: Some(effective.security.run_as_group),
        fs_group: Some(effective.security.fs_group),
        // The default changes the owner of every file of a claim at each start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn security_context(effective: &EffectiveSpec) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        read_only_root_filesystem: Some(effective.security.read_only_root_filesystem),
        ..SecurityContext::default()
    }
}

/// When a container beside the program's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SideKind {
    /// To its end, before the program.
    Init,
    /// Beside it.
    Sidecar,
}

/// A container of the profile's beside that of the program: as confined as that, with the same `/tmp`, and without the
/// run's input and result.
fn side_container(
    side: &SideContainer,
    kind: SideKind,
    effective: &EffectiveSpec,
    mounted: &mut Mounted,
    ctx: &ManifestContext,
) -> Result<Container, ManifestError> {
    let SideContainer { name, image, image_pull_policy, command, args, env, resources: amounts, volumes } = side;
    let tmp = mounted.mounts.iter().find(|mount| mount.mount_path == path::TMP).cloned();
    let is_taken = volumes.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path::TMP);
    let own = mounted.configured(volumes, ctx)?;
    Ok(Container {
        name: name.clone(),
        image: Some(image.clone()),
        image_pull_policy: image_pull_policy.clone(),
        command: literals(command),
        args: literals(args),
        env: some_list(env.iter().map(|(name, value)| plain(name, value)).collect()),
        resources: Some(resources(amounts)),
        security_context: Some(security_context(effective)),
        restart_policy: (kind == SideKind::Sidecar).then(|| "Always".to_owned()),
        volume_mounts: some_list(tmp.into_iter().filter(|_| !is_taken).chain(own).collect()),
        ..Container::default()
    })
}

fn resources(amounts: &Resources) -> ResourceRequirements {
    let quantities = |given: &BTreeMap<String, String>| {
        some_map(given.iter().map(|(name, quantity)| (name.clone(), Quantity(quantity.clone()))).collect())
    };
    ResourceRequirements { requests: quantities(&amounts.requests), limits: quantities(&amounts.limits), claims: None }
}

fn toleration(given: &spec::Toleration) -> Toleration {
    let set = |text: &String| (!text.is_empty()).then(|| text.clone());
    Toleration {
        key: set(&given.key),
        operator: set(&given.match_operator),
        value: set(&given.value),
        effect: set(&given.effect),
        toleration_seconds: None,
    }
}

/// The user's variables, then ours: of two with one name the last wins.
fn env(launch: &Launch) -> Result<Vec<EnvVar>, ManifestError> {
    let submission = &launch.submission;
    let given = submission.effective.env.iter().map(|given| match &given.source {
        EnvSource::Value(value) => plain(&given.name, value),
        EnvSource::SecretKeyRef { name, key } => from_secret(&given.name, name, key),
    });
    let mut env: Vec<EnvVar> = given.collect();
    // The image's home directory can't be written to under a read-only root.
    let effective = &submission.effective;
    let is_home = |name: &String| name == variable::HOME;
    let has_home =
        effective.env.iter().any(|given| is_home(&given.name)) || submission.spec.secret_env.keys().any(is_home);
    if effective.security.read_only_root_filesystem && effective.tmp_size.is_some() && !has_home {
        env.push(plain(variable::HOME, path::TMP));
    }
    env.push(plain(variable::RUN, launch.name.run.as_str()));
    env.push(plain(variable::ATTEMPT, "1"));
    if let Some(BatchItem { id: _, index, count }) = &submission.batch {
        env.push(plain(variable::INDEX, &index.to_string()));
        env.push(plain(variable::COUNT, &count.to_string()));
    }
    env.push(plain(variable::RESULT, path::RESULT));
    if submission.effective.result.mode != ResultMode::None {
        env.push(plain(variable::RESULT_MARKER, &submission.result_marker));
    }
    env.extend(input::env(launch)?);
    if !launch.files.is_empty() {
        env.push(plain(variable::FILES, path::FILES));
    }
    Ok(env)
}

/// As [`literal`], each.
fn literals(texts: &[String]) -> Option<Vec<String>> {
    some_list(texts.iter().map(|text| literal(text)).collect())
}

/// A variable with this value as it is.
fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(literal(value)), ..EnvVar::default() }
}

/// `text` written so that the kubelet hands it over as it is: it replaces `$(NAME)` by a variable's
/// value and `$$` by `$` in command, arguments and plain values.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[derive(Default)]
struct Mounted {
    volumes: Vec<Volume>,
    /// In the program's container.
    mounts: Vec<VolumeMount>,
    /// Names in the Pod of configured volumes.
    names: BTreeMap<String, String>,
}

/// What is mounted. Any volume costs about 300 ms at start, so there is none that is not needed.
fn mounted(launch: &Launch, ctx: &ManifestContext) -> Result<Mounted, ManifestError> {
    let effective = &launch.submission.effective;
    let mut mounted = Mounted::default();
    if let Some((volume, mount)) = input::volume(launch) {
        mounted.volumes.push(volume);
        mounted.mounts.push(mount);
    }
    let taken = |mount: &spec::VolumeMount| mount.mount_path.trim_end_matches('/') == path::TMP;
    if let Some(size) = &effective.tmp_size
        && !effective.volumes.iter().any(taken)
    {
        mounted.volumes.push(Volume {
            name: "tmp".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity(size.clone())) }),
            ..Volume::default()
        });
        mounted.mounts.push(VolumeMount {
            name: "tmp".to_owned(),
            mount_path: path::TMP.to_owned(),
            ..VolumeMount::default()
        });
    }
    let configured = mounted.configured(&effective.volumes, ctx)?;
    mounted.mounts.extend(configured);
    Ok(mounted)
}

impl Mounted {
    /// Mounts of configured volumes, each of which is in the Pod once however often it is mounted. Their names there are
    /// numbers: the configured ones need not be DNS labels, nor differ from ours.
    fn configured(
        &mut self,
        wanted: &[spec::VolumeMount],
        ctx: &ManifestContext,
    ) -> Result<Vec<VolumeMount>, ManifestError> {
        let mut mounts = Vec::new();
        for mount in wanted {
            let configured = ctx
                .volumes
                .get(&mount.volume)
                .ok_or_else(|| ManifestError::UnknownVolume { volume: mount.volume.clone() })?;
            let name = match self.names.get(&mount.volume) {
                Some(name) => name.clone(),
                None => {
                    let name = format!("volume-{}", self.names.len());
                    self.volumes.push(configured_volume(&name, &mount.volume, configured)?);
                    self.names.insert(mount.volume.clone(), name.clone());
                    name
                }
            };
            let read_only = configured.read_only || mount.read_only.unwrap_or(false);
            mounts.push(VolumeMount {
                name,
                mount_path: mount.mount_path.clone(),
                read_only: read_only.then_some(true),
                ..VolumeMount::default()
            });
        }
        Ok(mounts)
    }
}

fn configured_volume(name: &str, configured_as: &str, volume: &profile::Volume) -> Result<Volume, ManifestError> {
    let name = name.to_owned();
    match (&volume.persistent_volume_claim, &volume.config_map) {
        (Some(claim), _) => Ok(Volume {
            name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                read_only: None,
            }),
            ..Volume::default()
        }),
        (None, Some(config_map)) => Ok(Volume {
            name,
            config_map: Some(ConfigMapVolumeSource { name: config_map.clone(), ..ConfigMapVolumeSource::default() }),
            ..Volume::default()
        }),
        (None, None) => Err(ManifestError::NotMountable { volume: configured_as.to_owned() }),
    }
}

fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then_some(map)
}
