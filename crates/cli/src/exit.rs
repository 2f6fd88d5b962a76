//! Exit codes: what a shell gets of a run.

use longshore_api::v1::{FailureClass, FailureReason, Run, RunState};

/// `longshore result` found no object.
pub(super) const NO_OBJECT: u8 = 1;
/// The result rule was not met, or `--result` found no object.
pub(super) const RESULT: u8 = 122;
/// Infrastructure, platform or policy.
pub(super) const INFRA: u8 = 123;
/// A clock.
pub(super) const CLOCK: u8 = 124;
/// Longshore itself, its API, or wrong usage.
pub(super) const LONGSHORE: u8 = 125;
/// The image, or what keeps a container from starting.
pub(super) const START: u8 = 126;
/// Stopped on request, as if by Ctrl-C.
pub(super) const CANCELLED: u8 = 130;
/// The reader of stdout has left: what a shell shows for a program that SIGPIPE ended.
pub(super) const READER_LEFT: u8 = 141;

/// The table for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  the program's own   it ended by itself
  128+n               signal n ended it (137: too much memory, too)
  122                 the result rule was not met, or --result found no object
  123                 infrastructure, platform or policy: node lost, quota, …
  124                 a clock: --timeout, --start-timeout
  125                 Longshore, its API, or wrong usage
  126                 the image, or what keeps a container from starting
  130                 the run was cancelled
  141                 the reader of stdout closed it (the run continues)
Where a program's own code is one of these, `longshore get RUN` shows which it was.";

/// The exit code for a terminal run. A run that is not terminal, or makes no sense, is [`LONGSHORE`].
pub(super) fn code_of(run: &Run) -> u8 {
    match run.state() {
        RunState::Succeeded => 0,
        RunState::Cancelled => CANCELLED,
        RunState::Failed => code_of_failed(run),
        _ => LONGSHORE,
    }
}

/// The exit code for several: what somebody has to act on counts before what a program says.
pub(super) fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    const RISING: [u8; 6] = [CANCELLED, RESULT, START, INFRA, CLOCK, LONGSHORE];
    let rank = |code: &u8| (RISING.iter().position(|known| known == code).map_or(0, |at| at + 1), *code);
    codes.into_iter().max_by_key(rank).unwrap_or_default()
}

fn code_of_failed(run: &Run) -> u8 {
    use FailureReason as R;
    let Some(failure) = &run.failure else { return own_code(run).unwrap_or(LONGSHORE) };
    match failure.reason() {
        R::NonzeroExit | R::Signalled => own_code(run).unwrap_or(LONGSHORE),
        // SIGKILL, whether or not the runtime passed it on.
        R::OomKilled => own_code(run).unwrap_or(128 + 9),
        R::EphemeralStorage => own_code(run).unwrap_or(INFRA),
        R::RunDeadline | R::StartDeadline | R::QueueDeadline | R::TotalDeadline => CLOCK,
        R::ImagePull | R::ImageInvalid | R::ConfigError => START,
        R::ResultMissing | R::ResultInvalid => RESULT,
        R::RunnerReported => own_code(run).unwrap_or(RESULT),
        R::Unschedulable
        | R::Quota
        | R::AdmissionDenied
        | R::Evicted
        | R::Preempted
        | R::NodeLost
        | R::NodeShutdown
        | R::ResultUnavailable
        | R::Deleted
        | R::Lost
        | R::Internal => INFRA,
        // A reason that a newer server gives: the class still says who has to act.
        R::Unspecified => match failure.failure_class() {
            FailureClass::User => own_code(run).unwrap_or(LONGSHORE),
            FailureClass::Infra | FailureClass::Platform | FailureClass::Policy => INFRA,
            FailureClass::Unspecified => LONGSHORE,
        },
    }
}

/// The program's own code, if it is one that reports failure.
fn own_code(run: &Run) -> Option<u8> {
    let failure = run.failure.as_ref();
    let code = failure.and_then(|failure| failure.exit_code).or(run.exit_code);
    let signal = failure.and_then(|failure| failure.signal);
    let nonzero = |code: i32| u8::try_from(code).ok().filter(|code| *code != 0);
    code.and_then(nonzero).or_else(|| signal.and_then(|signal| nonzero(signal.checked_add(128)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_api::v1::Failure;

    fn failed(reason: FailureReason, class: FailureClass, exit_code: Option<i32>, signal: Option<i32>) -> Run {
        let failure =
            Failure { failure_class: class.into(), reason: reason.into(), exit_code, signal, ..Default::default() };
        Run { state: RunState::Failed.into(), failure: Some(failure), ..Default::default() }
    }

    #[test]
    fn each_reason_has_its_code() {
        use FailureClass::{Infra, Platform, Policy, User};
        use FailureReason as R;
        let table = [
            (R::NonzeroExit, User, Some(3), None, 3),
            (R::NonzeroExit, User, Some(255), None, 255),
            // Broken answers: no code, a success, none that a process can have.
            (R::NonzeroExit, User, None, None, 125),
            (R::NonzeroExit, User, Some(0), None, 125),
            (R::NonzeroExit, User, Some(-1), None, 125),
            (R::NonzeroExit, User, Some(256), None, 125),
            (R::Signalled, User, Some(139), Some(11), 139),
            (R::Signalled, User, None, Some(15), 143),
            (R::Signalled, User, None, Some(i32::MAX), 125),
            (R::OomKilled, User, Some(137), Some(9), 137),
            (R::OomKilled, User, None, None, 137),
            (R::EphemeralStorage, User, None, None, 123),
            (R::RunDeadline, Policy, Some(143), Some(15), 124),
            (R::StartDeadline, Policy, None, None, 124),
            (R::QueueDeadline, Policy, None, None, 124),
            (R::ImagePull, Infra, None, None, 126),
            (R::ImageInvalid, User, None, None, 126),
            (R::ConfigError, User, None, None, 126),
            (R::Unschedulable, Policy, None, None, 123),
            (R::Quota, Policy, None, None, 123),
            (R::AdmissionDenied, Policy, None, None, 123),
            (R::Evicted, Infra, Some(137), None, 123),
            (R::Preempted, Infra, None, None, 123),
            (R::NodeLost, Infra, None, None, 123),
            (R::NodeShutdown, Infra, None, None, 123),
            (R::ResultMissing, User, Some(0), None, 122),
            (R::ResultInvalid, User, Some(0), None, 122),
            (R::ResultUnavailable, Infra, Some(0), None, 123),
            (R::RunnerReported, User, Some(0), None, 122),
            (R::RunnerReported, User, Some(1), None, 1),
            (R::Deleted, Infra, None, None, 123),
            (R::Lost, Infra, None, None, 123),
            (R::Internal, Platform, None, None, 123),
            (R::Unspecified, User, Some(9), None, 9),
            (R::Unspecified, Policy, Some(9), None, 123),
        ];
        for (reason, class, exit_code, signal, wanted) in table {
            let run = failed(reason, class, exit_code, signal);
            assert_eq!(code_of(&run), wanted, "{reason:?} {exit_code:?} {signal:?}");
        }
    }

    #[test]
    fn the_worst_of_several() {
        for (codes, wanted) in [
            (vec![], 0),
            (vec![0, 0], 0),
            (vec![3, 0, 7], 7),
            (vec![137, 130], 130),
            (vec![130, 122, 1], 122),
            (vec![122, 126], 126),
            (vec![123, 126], 123),
            (vec![124, 123], 124),
            (vec![124, 125, 255], 125),
        ] {
            assert_eq!(worst(codes.clone()), wanted, "{codes:?}");
        }
    }

    #[test]
    fn each_state_has_its_code() {
        let of = |state: i32| code_of(&Run { state, ..Default::default() });
        assert_eq!(of(RunState::Succeeded.into()), 0);
        assert_eq!(of(RunState::Cancelled.into()), 130);
        assert_eq!(of(RunState::Failed.into()), 125, "failed without saying why");
        assert_eq!(of(RunState::Running.into()), 125);
        assert_eq!(of(4711), 125);
    }

    #[test]
    fn a_reason_from_the_future_goes_by_its_class() {
        let mut run = failed(FailureReason::Unspecified, FailureClass::Infra, None, None);
        run.failure.as_mut().unwrap().reason = 9999;
        assert_eq!(code_of(&run), 123);
    }
}
