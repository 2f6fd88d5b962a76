//! Every literal that is recognised, and one that is not, with what it comes down to: a golden text, so that a word that
//! is taken for another shows as a change.

use std::fmt::{Debug, Write as _};

use super::*;
use longshore_domain::run::facts::{AttemptFacts, AttemptPhase};
use longshore_domain::run::verdict::known_cause;
use longshore_domain::testing;

const JOB: &str = "run-hello";

/// Reasons why a Pod has not started, with messages that distinguish them.
const WAITS: &[(&str, &[&str])] = &[
    ("PodInitializing", &[""]),
    ("ContainerCreating", &[""]),
    (
        "ErrImagePull",
        &[
            "rpc error: manifest unknown: Not Found",
            "unexpected status: 401 Unauthorized",
            "no match for platform in manifest",
            "pull access denied, repository does not exist",
            "403 Forbidden",
            "503 Service Unavailable",
        ],
    ),
    ("ImagePullBackOff", &["Back-off pulling image: not found", "connection reset by peer"]),
    ("RegistryUnavailable", &["no such host"]),
    ("ImageInspectError", &[""]),
    ("ErrImageNeverPull", &["Container image is not present with pull policy of Never"]),
    ("InvalidImageName", &["couldn't parse image name"]),
    ("CreateContainerError", &["failed to generate container spec: no command specified", "context deadline exceeded"]),
    ("RunContainerError", &["no command specified", "cgroups"]),
    (
        "CreateContainerConfigError",
        &[
            "secret \"db\" not found",
            "couldn't find key password in Secret runs/db",
            "configmap \"settings\" not found",
            "secret \"run-hello-input-0123456789abcdef\" not found",
            "secret \"run-other-input-0123456789abcdef\" not found",
        ],
    ),
    (
        "FailedMount",
        &[
            "MountVolume.SetUp failed for volume \"data\": secret \"mine\" not found",
            "MountVolume.SetUp failed for volume \"in\": secret \"run-hello-input-0123456789abcdef\" not found",
            "unmounted volumes: timed out waiting for the condition",
        ],
    ),
    ("FailedAttachVolume", &["volume \"x\" not found", "Multi-Attach error for volume \"x\""]),
    (
        "FailedCreatePodSandBox",
        &[
            "failed to start sandbox: container init was OOM-killed (memory limit too low?)",
            "failed to setup network: no IP addresses available",
        ],
    ),
    ("FailedKillPod", &[""]),
    ("NetworkNotReady", &["network is not ready"]),
    ("Unschedulable", &["0/3 nodes are available: 3 Insufficient cpu", "persistentvolumeclaim \"datasets\" not found"]),
    ("SchedulingGated", &["Scheduling is blocked due to non-empty scheduling gates"]),
    (
        "FailedCreate",
        &[
            "pods \"a-\" is forbidden: exceeded quota: q",
            "Internal error occurred: failed calling webhook \"x.y.z\": failed to call webhook: Post \"https://w.svc:443/m\": dial tcp: connect: connection refused",
            "failed calling webhook \"x\": denied",
            "failed to call webhook: EOF",
            "Internal error occurred: x",
            "Timeout: request did not complete within requested timeout",
            "etcdserver: request timed out",
            "context deadline exceeded",
            "dial tcp 10.0.0.1:443: connection refused",
            "the server is currently unable to handle the request",
            "unexpected EOF",
            "read tcp: i/o timeout",
            "pods \"a-\" is forbidden: error looking up service account n/s: serviceaccount \"s\" not found",
            "pods \"a-\" is forbidden: no PriorityClass with name gold was found",
            "pods \"a-\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
            "pods \"a-\" is forbidden: unable to create new content in namespace n because it is being terminated",
            "admission webhook \"x\" denied the request: no",
            "pods \"a-\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "pods \"a-\" is forbidden: violates PodSecurity \"restricted:latest\": x",
            "Pod \"a\" is invalid: spec: x",
        ],
    ),
    ("SomethingNew", &["not found"]),
];

const ENDS: [&str; 8] = [
    "Completed",
    "Error",
    "OOMKilled",
    "StartError",
    "ContainerCannotRun",
    "ContainerStatusUnknown",
    "SomethingNew",
    "",
];

const POD_ENDS: [(&str, &str); 16] = [
    ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
    ("Evicted", "The node was low on resource: memory."),
    ("Evicted", "Usage of EmptyDir volume \"tmp\" exceeds the limit \"10Mi\"."),
    ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]."),
    ("NodeLost", ""),
    ("NodeShutdown", ""),
    ("Terminated", "Pod was terminated in response to imminent node shutdown."),
    ("Shutdown", ""),
    ("Preempting", ""),
    ("Preempted", ""),
    ("NodeAffinity", ""),
    ("UnexpectedAdmissionError", ""),
    ("TopologyAffinityError", ""),
    ("OutOfcpu", ""),
    ("OutOfmemory", ""),
    ("SomethingNew", ""),
];

const DISRUPTIONS: [&str; 7] = [
    "PreemptionByScheduler",
    "JobSuspended",
    "DeletionByPodGC",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
    "TerminationByKubelet",
    "SomethingNew",
];

const JOB_ENDS: [(&str, &str); 6] = [
    ("PodFailurePolicy", "Pod n/p has condition DisruptionTarget matching FailJob rule at index 0"),
    ("PodFailurePolicy", "Container run for pod n/p failed with exit code 3"),
    ("DeadlineExceeded", "Job was active longer than specified deadline"),
    ("BackoffLimitExceeded", "Job has reached the specified backoff limit"),
    ("CompletionsReached", ""),
    ("SomethingNew", ""),
];

fn row(text: &mut String, reason: &str, message: &str, cause: impl Debug) {
    writeln!(text, "  {reason:?} {message:?}\n    {cause:?}").unwrap();
}

#[test]
fn what_the_words_come_down_to() {
    let mut text = "waiting, and the failure that it is once the start clock has passed\n".to_owned();
    for (reason, messages) in WAITS {
        for message in *messages {
            let mut job = Job::default();
            job.metadata.name = Some(JOB.to_owned());
            let why = explanation(&job, (*reason).to_owned(), (*message).to_owned(), None);
            let about = [
                ("a refusal", why.mentions.refusal),
                ("a secret", why.mentions.secret),
                ("a volume", why.mentions.volume),
            ];
            let about: Vec<&str> = about.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
            let about = if about.is_empty() { "nothing".to_owned() } else { about.join(", ") };
            let cause = format!("{:?}, mentions {about}", why.cause);
            let attempt = AttemptFacts { phase: AttemptPhase::Absent, waiting: Some(why), ..testing::attempt() };
            let failure = known_cause(&attempt).map_or_else(
                || "none".to_owned(),
                |failure| format!("{:?} {:?}", failure.reason, failure.failure_class),
            );
            writeln!(text, "  {reason:?} {message:?}\n    {cause}: {failure}").unwrap();
        }
    }
    text.push_str("end of a container\n");
    ENDS.iter().for_each(|reason| row(&mut text, reason, "", end(reason)));
    text.push_str("end of a Pod\n");
    POD_ENDS.iter().for_each(|(reason, message)| row(&mut text, reason, message, pod_end(reason, message)));
    text.push_str("disruption of a Pod\n");
    DISRUPTIONS.iter().for_each(|reason| row(&mut text, reason, "", disruption(reason)));
    text.push_str("end of a Job\n");
    JOB_ENDS.iter().for_each(|(reason, message)| row(&mut text, reason, message, job_end(reason, message)));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("words", text));
}

#[test]
fn what_events_say_of_pulls_and_evictions() {
    let said = |reasons: &[&str]| -> Vec<Evidence> {
        let said = |reason: &&str| {
            let (reason, message) = ((*reason).to_owned(), "words".to_owned());
            Evidence { report_time: Some(testing::at(4)), reason, message, count: 1 }
        };
        reasons.iter().map(said).collect()
    };
    for (reasons, pulling) in [
        (&[] as &[&str], false),
        (&["Pulling"], true),
        (&["Pulling", "Pulled"], false),
        (&["Pulled"], false),
        (&["Pulled", "Pulling"], true),
        (&["Pulling", "BackOff"], true),
    ] {
        assert_eq!(is_pulling(&said(reasons)), pulling, "{reasons:?}");
    }
    assert_eq!(eviction(&said(&["Pulling"])), None);
    let eviction = eviction(&said(&["Pulling", "Evicted"])).unwrap();
    let reported = (eviction.cause, eviction.reason.as_str(), eviction.message.as_str(), eviction.time);
    assert_eq!(reported, (PlatformCause::Evicted, "Evicted", "words", Some(testing::at(4))));
}

#[test]
fn a_stop_that_states_a_failure_is_read_by_the_same_words() {
    let about = mentions("the program did not start within its start_timeout of 5m: ErrImagePull: manifest unknown");
    assert_eq!(about, Mentions { refusal: true, ..Mentions::default() });
    assert_eq!(mentions("enough"), Mentions::default());
}
