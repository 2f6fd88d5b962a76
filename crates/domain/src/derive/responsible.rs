//! Who has to act on a failure: the table of what depends on who named the program.
//!
//! A reason alone does not say it. The same missing image is the caller's to correct where the
//! caller named it, and the operator's where a profile did.

use super::super::facts::Submission;
use super::super::failure::{Failure, FailureClass, FailureReason};
use super::super::spec::{EnvSource, RunSpec, Workload};

/// Words by which a registry or a kubelet refuses an image for good: no waiting mends it.
const REFUSED: [&str; 6] =
    ["not found", "denied", "unauthorized", "forbidden", "no match for platform", "manifest unknown"];

/// Whether these words refuse an image for good, and not only for now.
pub(super) fn is_refused_image(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    REFUSED.iter().any(|word| message.contains(word))
}

/// Whether a Pod can't be placed because a claim that it mounts is not there.
pub(super) fn is_missing_claim(message: &str) -> bool {
    message.contains("persistentvolumeclaim") && message.contains("not found")
}

/// `failure` of the run that was submitted so, with the class of those who can do something about it.
///
/// | what failed | image of the caller's | profile |
/// | --- | --- | --- |
/// | the image is refused for good, is unusable, or can't be executed | USER | PLATFORM |
/// | the image could not be pulled for now | INFRA | INFRA |
/// | a volume can't be mounted: only operators name volumes | PLATFORM | PLATFORM |
/// | a Secret that the caller's `env` names is missing | USER | USER |
/// | anything else in the configuration of the program | USER | PLATFORM |
///
/// Other reasons keep the class that goes with them.
pub(super) fn assign(mut failure: Failure, submission: &Submission) -> Failure {
    let by_profile = matches!(submission.effective.workload, Workload::Runner { .. });
    let whose_program = if by_profile { FailureClass::Platform } else { FailureClass::User };
    failure.failure_class = match failure.reason {
        FailureReason::ImagePull if is_refused_image(&failure.message) => whose_program,
        FailureReason::ImageInvalid => whose_program,
        // A class that is not the reason's own was chosen by what is known better.
        FailureReason::ConfigError if failure.failure_class != FailureReason::ConfigError.class() => {
            failure.failure_class
        }
        FailureReason::ConfigError if names_secret_of(&submission.spec, &failure.message) => FailureClass::User,
        FailureReason::ConfigError if is_about_volume(&failure.message) => FailureClass::Platform,
        FailureReason::ConfigError => whose_program,
        _ => failure.failure_class,
    };
    failure
}

fn is_about_volume(message: &str) -> bool {
    ["FailedMount", "MountVolume", "persistentvolumeclaim"].iter().any(|word| message.contains(word))
}

/// Whether the message is about a Secret that the caller chose.
fn names_secret_of(spec: &RunSpec, message: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let named = |secret: &str| message.split(|c| !part_of_name(c)).any(|word| word == secret);
    message.to_ascii_lowercase().contains("secret")
        && spec.env.iter().any(|variable| match &variable.source {
            EnvSource::SecretKeyRef { name, .. } => named(name),
            EnvSource::Value(_) => false,
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::spec::EnvVar;
    use super::super::super::testing::facts;
    use super::*;

    fn submission(workload: Workload) -> Submission {
        let mut submission = facts().submission;
        let source = EnvSource::SecretKeyRef { name: "db".to_owned(), key: "password".to_owned() };
        Arc::make_mut(&mut submission.spec).env = vec![EnvVar { name: "PASSWORD".to_owned(), source }];
        Arc::make_mut(&mut submission.effective).workload = workload;
        submission
    }

    #[test]
    fn who_has_to_act() {
        use FailureClass::{Infra, Platform, Policy, User};
        use FailureReason::{ConfigError, ImageInvalid, ImagePull, NonzeroExit, OomKilled, Unschedulable};
        let image = submission(facts().submission.effective.workload.clone());
        let profile = submission(Workload::Runner { profile: "report".to_owned() });
        for (reason, message, by_caller, by_profile) in [
            (ImagePull, "ImagePullBackOff: manifest unknown: not found", User, Platform),
            (ImagePull, "ErrImagePull: unexpected status: 401 Unauthorized", User, Platform),
            (ImagePull, "ErrImagePull: no match for platform in manifest", User, Platform),
            (ImagePull, "ImagePullBackOff: connection reset by peer", Infra, Infra),
            (ImagePull, "ErrImagePull: 503 Service Unavailable", Infra, Infra),
            (ImageInvalid, "InvalidImageName: couldn't parse image name", User, Platform),
            (ImageInvalid, "the container could not be started: exec: \"/app\": no such file", User, Platform),
            (ConfigError, "the program could not be started: `report` is not in the PATH of runs", User, Platform),
            (ConfigError, "CreateContainerConfigError: secret \"db\" not found", User, User),
            (ConfigError, "CreateContainerConfigError: couldn't find key password in Secret runs/db", User, User),
            (ConfigError, "CreateContainerConfigError: secret \"db-input\" not found", User, Platform),
            (ConfigError, "CreateContainerConfigError: configmap \"settings\" not found", User, Platform),
            (ConfigError, "FailedMount: MountVolume.SetUp failed for volume \"data\"", Platform, Platform),
            (ConfigError, "Unschedulable: persistentvolumeclaim \"datasets\" not found", Platform, Platform),
            (Unschedulable, "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu", Policy, Policy),
            (NonzeroExit, "the program exited with 127", User, User),
            (OomKilled, "the program used more memory than its limit", User, User),
        ] {
            for (submission, class) in [(&image, by_caller), (&profile, by_profile)] {
                let failure = assign(Failure::new(reason, message), submission);
                assert_eq!(failure.failure_class, class, "{message}: {:?}", submission.effective.workload);
                assert!(class == Infra || reason == Unschedulable || !failure.retryable(), "{message}");
            }
        }
        let known = Failure { failure_class: Infra, ..Failure::new(ConfigError, "the API server is away") };
        assert_eq!(assign(known, &profile).failure_class, Infra);
    }
}
