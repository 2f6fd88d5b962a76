//! Who has to act on a failure: the table of what depends on who named the program.
//!
//! A reason alone does not say it. The same missing image is the caller's to correct where the
//! caller named it, and the operator's where a profile did.

use super::super::facts::{Mentions, Submission};
use super::super::failure::{Failure, FailureClass, FailureReason};
use super::super::spec::{EnvSource, RunSpec, Workload};

/// `failure` of the run that was submitted so, whose words are about `mentions`, with the class of those who can do
/// something about it. To be asked once, where the failure is made.
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
pub(super) fn assign(mut failure: Failure, mentions: Mentions, submission: &Submission) -> Failure {
    let by_profile = matches!(submission.effective.workload, Workload::Runner { .. });
    let whose_program = if by_profile { FailureClass::Platform } else { FailureClass::User };
    failure.failure_class = match failure.reason {
        FailureReason::ImagePull if mentions.refusal => whose_program,
        FailureReason::ImageInvalid => whose_program,
        // A class that is not the reason's own was chosen by what is known better.
        FailureReason::ConfigError if failure.failure_class != FailureReason::ConfigError.class() => {
            failure.failure_class
        }
        FailureReason::ConfigError if mentions.secret && names_secret_of(&submission.spec, &failure.message) => {
            FailureClass::User
        }
        FailureReason::ConfigError if mentions.volume => FailureClass::Platform,
        FailureReason::ConfigError => whose_program,
        _ => failure.failure_class,
    };
    failure
}

/// Whether a Secret that the caller chose is named in the message.
fn names_secret_of(spec: &RunSpec, message: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let named = |secret: &str| message.split(|c| !part_of_name(c)).any(|word| word == secret);
    spec.env.iter().any(|variable| match &variable.source {
        EnvSource::SecretKeyRef { name, .. } => named(name),
        EnvSource::Value(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::spec::EnvVar;
    use super::*;
    use crate::testing::facts;

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
        let (nothing, refusal, secret, volume) = (
            Mentions::default(),
            Mentions { refusal: true, ..Mentions::default() },
            Mentions { secret: true, ..Mentions::default() },
            Mentions { volume: true, ..Mentions::default() },
        );
        for (reason, mentions, message, by_caller, by_profile) in [
            (ImagePull, refusal, "there is no such image", User, Platform),
            (ImagePull, nothing, "connection reset by peer", Infra, Infra),
            (ImageInvalid, nothing, "couldn't parse image name", User, Platform),
            (ImageInvalid, nothing, "the container could not be started: exec: \"/app\": no such file", User, Platform),
            (
                ConfigError,
                nothing,
                "the program could not be started: `report` is not in the PATH of runs",
                User,
                Platform,
            ),
            (ConfigError, secret, "CreateContainerConfigError: secret \"db\" not found", User, User),
            (
                ConfigError,
                secret,
                "CreateContainerConfigError: couldn't find key password in Secret runs/db",
                User,
                User,
            ),
            (ConfigError, secret, "CreateContainerConfigError: secret \"db-input\" not found", User, Platform),
            (ConfigError, nothing, "CreateContainerConfigError: configmap \"settings\" not found", User, Platform),
            (ConfigError, volume, "FailedMount: MountVolume.SetUp failed for volume \"data\"", Platform, Platform),
            (ConfigError, volume, "Unschedulable: persistentvolumeclaim \"datasets\" not found", Platform, Platform),
            (Unschedulable, nothing, "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu", Policy, Policy),
            (NonzeroExit, nothing, "the program exited with 127", User, User),
            (OomKilled, nothing, "the program used more memory than its limit", User, User),
        ] {
            for (submission, class) in [(&image, by_caller), (&profile, by_profile)] {
                let failure = assign(Failure::new(reason, message), mentions, submission);
                assert_eq!(failure.failure_class, class, "{message}: {:?}", submission.effective.workload);
                assert!(class == Infra || reason == Unschedulable || !failure.retryable(), "{message}");
            }
        }
        let known = Failure { failure_class: Infra, ..Failure::new(ConfigError, "the API server is away") };
        assert_eq!(assign(known, nothing, &profile).failure_class, Infra);
    }
}
