//! The contract of the service on every backend, on the local one.

use crate::fixture::{Local, script};
use crate::support::contract::{Subject, on_every_backend};

async fn on_local(_name: &str, case: impl AsyncFnOnce(&Subject)) {
    let local = Local::start().await;
    let subject = Subject { client: local.client().await, script, split_streams: true, limits_resources: false };
    case(&subject).await;
    local.finish().await;
}

on_every_backend!(on_local);

// The cluster makes no further attempts yet.
on_every_backend! { @ on_local:
    a_failure_is_tried_again_until_it_succeeds,
    the_last_failure_is_the_runs_once_the_budget_is_spent,
    only_what_is_listed_is_tried_again,
    a_cancel_ends_all_attempts,
    the_total_clock_ends_all_attempts,
    the_result_is_that_of_the_last_attempt,
    wrong_retries_are_refused_together,
}
