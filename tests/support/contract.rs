//! What holds on every backend, as black-box cases. A suite names them with
//! [`on_every_backend`] and gives each a [`Subject`].

use longshore::proto::v1::RunSpec;

use super::client::Client;

mod idempotency;
mod lists;
mod logs;
mod many;
mod outcomes;
mod results;
mod retries;
mod stops;

pub(crate) use idempotency::*;
pub(crate) use lists::*;
pub(crate) use logs::*;
pub(crate) use many::*;
pub(crate) use outcomes::*;
pub(crate) use results::*;
#[allow(unused_imports, reason = "one of the suites has no further attempts yet")]
pub(crate) use retries::*;
pub(crate) use stops::*;

/// A daemon that serves, and what its backend is like.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) client: Client,
    /// Makes the spec that executes a shell script.
    pub(crate) script: fn(&str) -> RunSpec,
    /// Whether stdout and stderr are distinguished.
    pub(crate) split_streams: bool,
    /// Whether resource limits hold, so that they are reported.
    pub(crate) limits_resources: bool,
}

impl Subject {
    pub(crate) fn script(&self, text: &str) -> RunSpec {
        (self.script)(text)
    }
}

/// Makes a test of each case. `$run` is `async fn(name: &str, case: impl AsyncFnOnce(&Subject))`.
macro_rules! on_every_backend {
    ($run:path) => {
        $crate::support::contract::on_every_backend! { @ $run:
            exit_zero_reports_everything,
            a_nonzero_exit_is_the_users_failure,
            the_run_clock_keeps_exit_code_and_logs,
            input_and_files_are_found,
            a_cancel_keeps_the_first_reason_and_the_last_line,
            a_cancel_of_a_finished_run_changes_nothing,
            a_live_run_cannot_be_deleted,
            deleting_a_finished_run_frees_its_key,
            a_replay_is_the_same_run,
            another_payload_under_the_same_key_is_refused,
            replays_at_once_make_one_run,
            runs_of_a_batch_know_which_they_are,
            a_batch_again_adopts_what_is_there,
            a_batch_with_another_count_makes_nothing,
            a_batch_with_one_wrong_spec_makes_nothing,
            a_batch_is_only_checked_if_asked,
            runs_that_match_are_cancelled_and_deleted,
            an_empty_filter_is_refused,
            two_followers_get_every_byte,
            many_lines_are_complete,
            a_cursor_resumes_after_every_event,
            a_limit_of_bytes_is_exact,
            the_tail_is_the_last_lines,
            text_format_is_lossy_utf8,
            a_foreign_cursor_is_refused,
            a_result_file_is_found,
            a_marked_line_is_found,
            a_printed_object_is_found,
            a_dialect_that_is_asked_for_is_the_only_one,
            a_missing_required_result_fails_the_run,
            a_nonzero_exit_keeps_the_result,
            a_broken_required_result_fails_the_run,
            an_optional_result_never_decides,
            what_a_runner_reports_is_why_it_failed,
            a_report_does_not_outvote_exit_0,
            a_large_result_keeps_what_it_reports,
            a_result_that_breaks_its_schema_is_invalid,
            a_result_beside_the_record_is_reported_inline,
            a_large_result_is_streamed,
            a_list_and_a_watch_report_runs,
            one_run_is_watched_by_its_name,
            many_runs_at_once_keep_apart,
            a_wait_answers_with_the_live_run,
            a_failure_is_tried_again_until_it_succeeds,
            the_last_failure_is_the_runs_once_the_budget_is_spent,
            only_what_is_listed_is_tried_again,
            a_cancel_ends_all_attempts,
            the_total_clock_ends_all_attempts,
            the_result_is_that_of_the_last_attempt,
            wrong_retries_are_refused_together,
            the_server_reports_what_it_is,
        }
    };
    (@ $run:path: $($case:ident,)*) => {$(
        #[tokio::test]
        async fn $case() {
            $run(stringify!($case), async |subject| $crate::support::contract::$case(subject).await).await;
        }
    )*};
}
pub(crate) use on_every_backend;
