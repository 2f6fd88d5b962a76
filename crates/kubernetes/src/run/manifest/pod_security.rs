//! Every Pod passes Pod Security `restricted`, whatever is asked for.
//!
//! The rules are those of the Pod Security Standards at 1.36, `baseline` included, written against
//! the serialised Pod so that no field is overlooked for being unknown here.

use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{job, pod_for_dry_run};
use crate::testing::{context, effective, launch_of};
use longshore_backend::Launch;
use longshore_domain::run::profile::{InputDelivery, Volume};
use longshore_domain::run::spec::{
    EffectiveResultRule, EffectiveSecurity, EffectiveSpec, EnvSource, EnvVar, File, Input, NetworkMode, Placement,
    ResultMode, Toleration, VolumeMount,
};

/// Volume types that `restricted` allows.
const VOLUME_TYPES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// Which rules of `restricted` a Pod breaks.
pub(crate) fn broken_rules(pod: &Value) -> Vec<&'static str> {
    let spec = &pod["spec"];
    let mut broken = Vec::new();
    let mut rule = |name: &'static str, holds: bool| {
        if !holds {
            broken.push(name);
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        rule("host namespaces", spec[field] != true);
    }
    rule("no ephemeral containers", spec["ephemeralContainers"].is_null());
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    for volume in volumes {
        let types = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
        rule("volume types", types.map(|(key, _)| key.as_str()).all(|key| VOLUME_TYPES.contains(&key)));
    }
    let pod_context = &spec["securityContext"];
    rule("sysctls", pod_context["sysctls"].is_null());
    let names = ["initContainers", "containers"];
    let containers: Vec<&Value> = names.iter().flat_map(|name| spec[*name].as_array().into_iter().flatten()).collect();
    rule("has containers", !containers.is_empty());
    for container in containers {
        let own = &container["securityContext"];
        let effective = |field: &str| if own[field].is_null() { &pod_context[field] } else { &own[field] };
        rule("privileged", own["privileged"] != true);
        rule("privilege escalation", own["allowPrivilegeEscalation"] == false);
        rule("non-root", *effective("runAsNonRoot") == true);
        rule("user", effective("runAsUser").as_i64().is_some_and(|user| user > 0));
        rule("group", effective("runAsGroup").as_i64().is_some_and(|group| group > 0));
        let dropped = own["capabilities"]["drop"].as_array().into_iter().flatten();
        rule("drops all capabilities", dropped.into_iter().any(|capability| capability == "ALL"));
        let mut added = own["capabilities"]["add"].as_array().into_iter().flatten();
        rule("adds no capability", added.all(|capability| capability == "NET_BIND_SERVICE"));
        let seccomp = &effective("seccompProfile")["type"];
        rule("seccomp", seccomp == "RuntimeDefault" || seccomp == "Localhost");
        rule("proc mount", own["procMount"].is_null() || own["procMount"] == "Default");
        for field in ["seLinuxOptions", "appArmorProfile", "windowsOptions"] {
            rule("security modules", effective(field).is_null());
        }
        let ports = container["ports"].as_array().into_iter().flatten();
        rule("host ports", ports.into_iter().all(|port| port["hostPort"].as_i64().unwrap_or(0) == 0));
        for hook in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            rule("probes reach no other host", container[hook].is_null());
        }
    }
    broken
}

fn pod_of(launch: &Launch, ctx: &super::ManifestContext) -> Value {
    serde_json::to_value(pod_for_dry_run(&job(launch, ctx).unwrap())).unwrap()
}

#[test]
fn rules_can_be_broken() {
    let good = pod_of(&launch_of("x", effective()), &context());
    assert_eq!(broken_rules(&good), Vec::<&str>::new());
    let breaks: [(&str, Value, &str); 14] = [
        ("/spec/hostNetwork", json!(true), "host namespaces"),
        ("/spec/securityContext/runAsNonRoot", json!(false), "non-root"),
        ("/spec/securityContext/runAsUser", json!(0), "user"),
        ("/spec/securityContext/runAsGroup", json!(0), "group"),
        ("/spec/securityContext/seccompProfile", json!({"type": "Unconfined"}), "seccomp"),
        ("/spec/securityContext/sysctls", json!([{"name": "a", "value": "b"}]), "sysctls"),
        ("/spec/volumes", json!([{"name": "v", "hostPath": {"path": "/"}}]), "volume types"),
        ("/spec/containers/0/securityContext/privileged", json!(true), "privileged"),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", json!(null), "privilege escalation"),
        ("/spec/containers/0/securityContext/capabilities/drop", json!([]), "drops all capabilities"),
        ("/spec/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"]), "adds no capability"),
        ("/spec/containers/0/securityContext/procMount", json!("Unmasked"), "proc mount"),
        ("/spec/containers/0/ports", json!([{"hostPort": 80}]), "host ports"),
        ("/spec/initContainers", json!([{"name": "i", "securityContext": {}}]), "privilege escalation"),
    ];
    for (place, value, rule) in breaks {
        let mut pod = good.clone();
        let (parent, field) = place.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value;
        assert!(broken_rules(&pod).contains(&rule), "{place} does not break `{rule}`: {:?}", broken_rules(&pod));
    }
}

fn id() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1), Just(65_532), Just(i64::from(i32::MAX)), 1..i64::from(i32::MAX)]
}

fn network() -> impl Strategy<Value = NetworkMode> {
    prop_oneof![Just(NetworkMode::None), Just(NetworkMode::Egress), Just(NetworkMode::Cluster)]
}

fn mounts() -> impl Strategy<Value = Vec<VolumeMount>> {
    let volume = prop_oneof![Just("claim"), Just("rules")];
    let mount = (volume, "/[a-z]{1,8}", any::<Option<bool>>())
        .prop_map(|(volume, mount_path, read_only)| VolumeMount { volume: volume.to_owned(), mount_path, read_only });
    vec(mount, 0..4)
}

fn toleration() -> impl Strategy<Value = Toleration> {
    let operator = prop_oneof![Just("Equal"), Just("Exists"), Just("")];
    ("[a-z]{0,5}", operator, "[a-z]{0,5}").prop_map(|(key, operator, value)| Toleration {
        key,
        match_operator: operator.to_owned(),
        value,
        effect: String::new(),
    })
}

fn specs() -> impl Strategy<Value = EffectiveSpec> {
    let who = (id(), id(), id(), any::<bool>());
    let clocks = (0..u64::MAX, 0..u64::MAX, 0..100_000_u64);
    let texts = (btree_map("[a-z]{1,8}", "[a-z]{0,8}", 0..4), vec(("[A-Z]{1,8}", ".{0,20}"), 0..4));
    let places = (mounts(), vec(toleration(), 0..3), proptest::option::of("[a-z]{1,8}"));
    let kinds = (network(), proptest::option::of(Just("10Mi".to_owned())), any::<bool>());
    (who, clocks, texts, places, kinds).prop_map(|(who, clocks, (labels, env), places, kinds)| EffectiveSpec {
        security: EffectiveSecurity {
            run_as_user: who.0,
            run_as_group: who.1,
            fs_group: who.2,
            read_only_root_filesystem: who.3,
            runtime_class_name: places.2.clone(),
        },
        start_timeout: Duration::from_secs(clocks.0),
        run_timeout: Duration::from_secs(clocks.1),
        termination_grace: Duration::from_secs(clocks.2),
        annotations: labels.clone(),
        labels,
        env: env.into_iter().map(|(name, value)| EnvVar { name, source: EnvSource::Value(value) }).collect(),
        volumes: places.0,
        placement: Placement { tolerations: places.1, priority_class_name: places.2, ..Placement::default() },
        network_mode: kinds.0,
        tmp_size: kinds.1,
        result: EffectiveResultRule {
            mode: if kinds.2 { ResultMode::Required } else { ResultMode::None },
            ..effective().result
        },
        ..effective()
    })
}

prop_compose! {
    fn launches()(
        spec in specs(),
        input in proptest::option::of(vec(any::<u8>(), 0..50)),
        in_variable in any::<bool>(),
        files in vec(("[a-z]{1,8}", any::<Option<u32>>()), 0..4),
    ) -> Launch {
        let mut launch = launch_of("random", spec);
        launch.pod_annotations = launch.submission.effective.annotations.keys().cloned().collect();
        launch.input = input.map(Input::Raw);
        if in_variable {
            launch.input_delivery = InputDelivery::Env("REQUEST".to_owned());
        }
        launch.files =
            files.into_iter().map(|(path, mode)| File { path, mode, content: Vec::new() }).collect();
        launch
    }
}

proptest! {
    #[test]
    fn every_pod_is_restricted(launch in launches()) {
        let mut ctx = context();
        let claim = Volume { persistent_volume_claim: Some("claim".to_owned()), ..Volume::default() };
        let rules = Volume { config_map: Some("rules".to_owned()), ..Volume::default() };
        ctx.volumes.extend([("claim".to_owned(), claim), ("rules".to_owned(), rules)]);
        let pod = pod_of(&launch, &ctx);
        prop_assert_eq!(broken_rules(&pod), Vec::<&str>::new());
        let spec = &pod["spec"];
        prop_assert_eq!(&spec["automountServiceAccountToken"], false);
        prop_assert_eq!(&spec["enableServiceLinks"], false);
        prop_assert!(spec["serviceAccountName"].is_null());
        let deadline = spec["activeDeadlineSeconds"].as_i64();
        prop_assert!(deadline.is_some_and(|seconds| (1..=i64::from(i32::MAX)).contains(&seconds)), "{:?}", deadline);
        for resources in ["requests", "limits"] {
            for name in ["cpu", "memory", "ephemeral-storage"] {
                prop_assert!(spec["containers"][0]["resources"][resources][name].is_string());
            }
        }
    }
}
