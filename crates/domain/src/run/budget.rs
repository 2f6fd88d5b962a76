//! What is left of a run's retries.

use super::facts::RunFacts;
use super::failure::FailureReason;
use super::settled::RetryBudget;

/// Whether another attempt may follow the present one, by what is left of the budgets: which of them a failure is charged
/// to may depend on more than the exit.
#[must_use]
pub fn is_left(facts: &RunFacts) -> bool {
    facts.stop.is_none()
        && [RetryBudget::Program, RetryBudget::Infra].into_iter().any(|budget| is_budget_left(facts, budget))
}

/// The same once the program was seen to exit with this code: after 0 another attempt follows only where that is asked for
/// by a reason of the result's.
#[must_use]
pub fn may_follow(facts: &RunFacts, exit_code: i32) -> bool {
    use FailureReason::{ResultInvalid, ResultMissing, ResultUnavailable};
    let retry_on = &facts.submission.effective.retry_on;
    let by_result = || [ResultMissing, ResultInvalid, ResultUnavailable].iter().any(|it| retry_on.covers(*it, None));
    is_left(facts) && (exit_code != 0 || by_result())
}

/// Whether something of this budget is left.
pub(super) fn is_budget_left(facts: &RunFacts, budget: RetryBudget) -> bool {
    let effective = &facts.submission.effective;
    let most = match budget {
        RetryBudget::Program => effective.max_retries,
        RetryBudget::Infra => effective.infra_retries,
    };
    let spent = facts.settled.iter().filter(|settled| settled.budget == budget).count();
    u32::try_from(spent).unwrap_or(u32::MAX) < most
}
