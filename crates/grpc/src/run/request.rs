//! Requests as the engine takes them, or everything that is wrong with them.

use std::time::Duration;

use crate::run::spec;
use crate::wire::{At, View, quoted, set};
use longshore_domain::log::{LogStream, RUN_CONTAINER};
use longshore_domain::name::{BatchId, NamespaceName, Parent, RunId, RunName};
use longshore_domain::run::batch::BATCH_MAX;
use longshore_domain::run::failure::FailureClass;

use longshore_api::v1;
use longshore_domain::notation::violation::Violations;
use longshore_domain::run::{RunState, STOP_REASON_MAX_BYTES};
use longshore_domain::selector::LabelSelector;
use longshore_engine::{
    AttemptSelector, BatchSpecs, BatchSubmit, List, LogQuery, LogStart, Matching, RunFilter, Submit, SubmittedWorkload,
    UnreadSpec, Watched,
};

/// How long WaitRun waits if the caller does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// How long it waits at most: balancers cut calls that are silent for a minute.
const WAIT_MAX: Duration = Duration::from_secs(50);
/// Most states that a filter may name; there are fewer than that.
const STATES_MAX: usize = 64;

/// Reads SubmitRun, all but its spec: the engine does that once it knows that the caller may submit it. Violations that
/// the engine can add its own to travel inside; only a request that names no namespace or has no spec can't get that
/// far.
pub(crate) fn submit(request: v1::SubmitRunRequest) -> Result<Submit, Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let namespace = single_namespace(&mut at, &request.parent, "a run is submitted to one");
    if !request.run_id.is_empty() && !request.request_id.is_empty() {
        at.add("run_id", "cannot be set together with request_id");
        at.add("request_id", "cannot be set together with run_id");
    }
    let run_id = set(request.run_id).and_then(|id| at.name("run_id", &id, RunId::parse_chosen));
    let request_id = set(request.request_id).filter(|id| {
        // The id is derived by the engine; here only whether one can be.
        let any = NamespaceName::default_namespace();
        at.name("request_id", id, |id| RunId::from_request_id(&any, id)).is_some()
    });
    let Some(spec) = request.spec.map(unread) else {
        at.add("spec", "is required");
        return Err(found);
    };
    let Some(namespace) = namespace else { return Err(found) };
    Ok(Submit { namespace, run_id, request_id, spec, violations: found, validate_only: request.validate_only })
}

/// A spec that the engine reads; paths in it begin with `spec`.
fn unread(wire: v1::RunSpec) -> UnreadSpec {
    let workload = wire.workload.as_ref().map(|workload| match workload {
        v1::run_spec::Workload::Container(container) => SubmittedWorkload::Image(container.image.clone()),
        v1::run_spec::Workload::Runner(runner) => SubmittedWorkload::Profile(runner.profile.clone()),
    });
    UnreadSpec::new(workload, |found| spec::from_wire(wire, "spec", found))
}

/// Reads BatchSubmitRuns, all but its specs, as [`submit`] does.
pub(crate) fn batch_submit(request: v1::BatchSubmitRunsRequest) -> Result<BatchSubmit, Violations> {
    let v1::BatchSubmitRunsRequest { parent, batch_id, requests, spec, count, validate_only } = request;
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let namespace = single_namespace(&mut at, &parent, "runs are submitted to one");
    let batch = at.name("batch_id", &batch_id, BatchId::parse);
    let specs = match (requests.is_empty(), spec) {
        (true, Some(spec)) => {
            let allowed = u32::try_from(count).ok().filter(|count| (1..=BATCH_MAX).contains(count));
            if allowed.is_none() {
                at.add("count", format!("`{count}` is not a valid number of runs; expected 1 to {BATCH_MAX}"));
            }
            allowed.map(|count| BatchSpecs::Same { spec: unread(spec), count })
        }
        (false, None) => {
            if count != 0 {
                at.add("count", "cannot be set together with requests");
            }
            batch_specs(&parent, requests, &mut found).map(BatchSpecs::Each)
        }
        (true, None) => {
            at.add("requests", "is required, or else spec and count");
            None
        }
        (false, Some(_)) => {
            at.add("requests", "cannot be set together with spec");
            at.add("spec", "cannot be set together with requests");
            None
        }
    };
    let (Some(namespace), Some(batch), Some(specs)) = (namespace, batch, specs) else { return Err(found) };
    Ok(BatchSubmit { namespace, batch, specs, violations: found, validate_only })
}

/// The specs of a batch, if each is there.
fn batch_specs(parent: &str, requests: Vec<v1::SubmitRunRequest>, found: &mut Violations) -> Option<Vec<UnreadSpec>> {
    if requests.len() > BATCH_MAX as usize {
        found.add("requests", format!("has {} runs; at most {BATCH_MAX} are taken", requests.len()));
        return None;
    }
    let mut specs = Vec::with_capacity(requests.len());
    let count = requests.len();
    for (i, request) in requests.into_iter().enumerate() {
        let path = format!("requests[{i}]");
        let mut at = At::new(&path, found);
        if !request.parent.is_empty() && request.parent != parent {
            at.add("parent", "is not that of the batch; leave it out");
        }
        let theirs = [
            ("run_id", !request.run_id.is_empty()),
            ("request_id", !request.request_id.is_empty()),
            ("validate_only", request.validate_only),
        ];
        for (field, _) in theirs.into_iter().filter(|(_, is_set)| *is_set) {
            at.add(field, "cannot be set for one run of a batch; it follows from the batch's");
        }
        match request.spec {
            Some(spec) => specs.push(unread(spec)),
            None => at.add("spec", "is required"),
        }
    }
    (specs.len() == count).then_some(specs)
}

/// Reads GetRun.
pub(crate) fn get(request: &v1::GetRunRequest) -> Result<(RunName, View), Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let name = at.name("name", &request.name, RunName::parse);
    let view = view(&mut at, request.view, View::Full);
    all(name, found).map(|name| (name, view))
}

/// Reads ListRuns.
pub(crate) fn list(request: v1::ListRunsRequest) -> Result<(List, View), Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let parent = at.name("parent", &request.parent, Parent::parse);
    let view = view(&mut at, request.view, View::Basic);
    let page_size = at.not_negative("page_size", i64::from(request.page_size)).unwrap_or_default();
    let filter = filter(request.filter, &mut found);
    let page_token = request.page_token;
    all(parent, found).map(|parent| (List { parent, filter, page_size, page_token }, view))
}

/// Reads WatchRuns.
pub(crate) fn watch(request: v1::WatchRunsRequest) -> Result<(Watched, RunFilter, View), Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let parent = at.name("parent", &request.parent, Parent::parse);
    let name = set(request.name).and_then(|name| at.name("name", &name, RunName::parse));
    if let (Some(Parent::Namespace(parent)), Some(name)) = (&parent, &name)
        && name.namespace != *parent
    {
        at.add("name", format!("is not in the parent, `namespaces/{parent}`"));
    }
    let view = view(&mut at, request.view, View::Basic);
    let filter = filter(request.filter, &mut found);
    all(parent, found).map(|parent| (name.map_or(Watched::In(parent), Watched::Run), filter, view))
}

/// Reads WaitRun.
pub(crate) fn wait(request: &v1::WaitRunRequest) -> Result<(RunName, Duration, View), Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let name = at.name("name", &request.name, RunName::parse);
    let timeout = at.duration("timeout", request.timeout).unwrap_or(WAIT_DEFAULT).min(WAIT_MAX);
    let view = view(&mut at, request.view, View::Full);
    all(name, found).map(|name| (name, timeout, view))
}

/// Reads StreamLogs.
pub(crate) fn stream_logs(request: v1::StreamLogsRequest) -> Result<(LogQuery, v1::LogFormat), Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let name = at.name("name", &request.name, RunName::parse);
    let attempts = attempts(&mut at, request.attempt_selector);
    let start = log_start(&mut at, request.start);
    let stream = at.enumeration("stream", request.stream).and_then(|stream| match stream {
        v1::LogStream::Unspecified => None,
        v1::LogStream::Stdout => Some(LogStream::Stdout),
        v1::LogStream::Stderr => Some(LogStream::Stderr),
    });
    let format = at.enumeration("format", request.format).unwrap_or(v1::LogFormat::Bytes);
    let limit_bytes = at.not_negative("limit_bytes", request.limit_bytes).filter(|limit| *limit != 0);
    let container = set(request.container).unwrap_or_else(|| RUN_CONTAINER.to_owned());
    let follow = request.follow;
    let skip_result_lines = request.skip_result_lines;
    all(name, found).map(|name| {
        (LogQuery { name, attempts, container, stream, follow, start, limit_bytes, skip_result_lines }, format)
    })
}

/// Reads ReadResult.
pub(crate) fn read_result(request: &v1::ReadResultRequest) -> Result<(RunName, u64), Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let name = at.name("name", &request.name, RunName::parse);
    let offset = at.not_negative("read_offset", request.read_offset).unwrap_or_default();
    all(name, found).map(|name| (name, offset))
}

/// Reads CancelRun; the reason stays in the request.
pub(crate) fn cancel(request: &v1::CancelRunRequest) -> Result<RunName, Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let name = at.name("name", &request.name, RunName::parse);
    check_reason(&mut at, &request.reason);
    all(name, found)
}

fn check_reason(at: &mut At<'_>, reason: &str) {
    if reason.len() > STOP_REASON_MAX_BYTES {
        at.add("reason", format!("has {} bytes; at most {STOP_REASON_MAX_BYTES} are allowed", reason.len()));
    }
}

/// Reads CancelRuns; answers the reason too.
pub(crate) fn cancel_matching(request: v1::CancelRunsRequest) -> Result<(Matching, String), Violations> {
    let v1::CancelRunsRequest { parent, filter, reason, validate_only } = request;
    let mut found = Violations::new();
    check_reason(&mut At::new("", &mut found), &reason);
    matching(&parent, filter, validate_only, found).map(|matching| (matching, reason))
}

/// Reads DeleteRuns.
pub(crate) fn delete_matching(request: v1::DeleteRunsRequest) -> Result<Matching, Violations> {
    matching(&request.parent, request.filter, request.validate_only, Violations::new())
}

fn matching(
    parent: &str,
    wire: Option<v1::RunFilter>,
    validate_only: bool,
    mut found: Violations,
) -> Result<Matching, Violations> {
    let namespace = single_namespace(&mut At::new("", &mut found), parent, "name the one whose runs are meant");
    let filter = filter(wire, &mut found);
    all(namespace, found).map(|namespace| Matching { namespace, filter, validate_only })
}

/// Reads DeleteRun.
pub(crate) fn delete(request: &v1::DeleteRunRequest) -> Result<RunName, Violations> {
    let mut found = Violations::new();
    let name = At::new("", &mut found).name("name", &request.name, RunName::parse);
    all(name, found)
}

/// Reads ListRunnerProfiles.
pub(crate) fn profiles(request: &v1::ListRunnerProfilesRequest) -> Result<NamespaceName, Violations> {
    let mut found = Violations::new();
    let mut at = At::new("", &mut found);
    let namespace = single_namespace(&mut at, &request.parent, "profiles are allowed by namespace");
    all(namespace, found)
}

/// The namespace that `parent` names; all of them are refused, and why.
fn single_namespace(at: &mut At<'_>, parent: &str, why: &str) -> Option<NamespaceName> {
    match at.name("parent", parent, Parent::parse)? {
        Parent::Namespace(namespace) => Some(namespace),
        Parent::All => {
            at.add("parent", format!("`namespaces/-` is not a single namespace; {why}"));
            None
        }
    }
}

/// The request, if nothing was found. A missing `required` was reported as a violation.
fn all<T>(required: Option<T>, found: Violations) -> Result<T, Violations> {
    match required {
        Some(value) if found.is_empty() => Ok(value),
        _ => Err(found),
    }
}

fn view(at: &mut At<'_>, value: i32, unset: View) -> View {
    match at.enumeration("view", value) {
        None | Some(v1::RunView::Unspecified) => unset,
        Some(v1::RunView::Basic) => View::Basic,
        Some(v1::RunView::Full) => View::Full,
    }
}

fn filter(filter: Option<v1::RunFilter>, found: &mut Violations) -> RunFilter {
    let Some(filter) = filter else { return RunFilter::default() };
    let mut at = At::new("filter", found);
    let states = states(&mut at, &filter.states);
    let labels = LabelSelector::parse(&filter.label_selector).unwrap_or_else(|wrong| {
        at.add("label_selector", format!("{}: {wrong}", quoted(&filter.label_selector)));
        LabelSelector::default()
    });
    RunFilter {
        states,
        labels,
        from_create_time: at.timestamp("from_create_time", filter.from_create_time),
        to_create_time: at.timestamp("to_create_time", filter.to_create_time),
        profile: set(filter.profile),
        failure_class: at.enumeration("failure_class", filter.failure_class).and_then(|class| match class {
            v1::FailureClass::Unspecified => None,
            v1::FailureClass::User => Some(FailureClass::User),
            v1::FailureClass::Infra => Some(FailureClass::Infra),
            v1::FailureClass::Platform => Some(FailureClass::Platform),
            v1::FailureClass::Policy => Some(FailureClass::Policy),
        }),
    }
}

/// Each state once, however often it was named: they are compared with every run.
fn states(at: &mut At<'_>, named: &[i32]) -> Vec<RunState> {
    if named.len() > STATES_MAX {
        at.add("states", format!("has {} states; at most {STATES_MAX} are read", named.len()));
        return Vec::new();
    }
    let mut states = Vec::new();
    for (i, value) in named.iter().enumerate() {
        if let Some(state) = state(at, i, *value)
            && !states.contains(&state)
        {
            states.push(state);
        }
    }
    states
}

fn state(at: &mut At<'_>, index: usize, value: i32) -> Option<RunState> {
    let field = format!("states[{index}]");
    if value == 0 {
        // In a list nothing can be left unset: taken as "any" it would widen the query.
        at.add(&field, "must not be RUN_STATE_UNSPECIFIED");
        return None;
    }
    at.enumeration(&field, value).and_then(|state| match state {
        v1::RunState::Unspecified => None,
        v1::RunState::Queued => Some(RunState::Queued),
        v1::RunState::Pending => Some(RunState::Pending),
        v1::RunState::Starting => Some(RunState::Starting),
        v1::RunState::Running => Some(RunState::Running),
        v1::RunState::Finishing => Some(RunState::Finishing),
        v1::RunState::Cancelling => Some(RunState::Cancelling),
        v1::RunState::Succeeded => Some(RunState::Succeeded),
        v1::RunState::Failed => Some(RunState::Failed),
        v1::RunState::Cancelled => Some(RunState::Cancelled),
    })
}

fn attempts(at: &mut At<'_>, selector: Option<v1::stream_logs_request::AttemptSelector>) -> AttemptSelector {
    use v1::stream_logs_request::AttemptSelector as Wire;
    match selector {
        None | Some(Wire::AllAttempts(false)) => AttemptSelector::Latest,
        Some(Wire::AllAttempts(true)) => AttemptSelector::All,
        Some(Wire::Attempt(number)) => match u32::try_from(number) {
            Ok(number) if number > 0 => AttemptSelector::Number(number),
            _ => {
                at.add("attempt", format!("`{number}` is not a valid attempt; the first is 1"));
                AttemptSelector::Latest
            }
        },
    }
}

fn log_start(at: &mut At<'_>, start: Option<v1::stream_logs_request::Start>) -> LogStart {
    use v1::stream_logs_request::Start as Wire;
    let start = match start {
        None => None,
        Some(Wire::Cursor(cursor)) => set(cursor).map(LogStart::Cursor),
        Some(Wire::TailLines(lines)) => at.not_negative("tail_lines", lines).map(LogStart::Tail),
        Some(Wire::SinceTime(time)) => at.timestamp("since_time", Some(time)).map(LogStart::Since),
    };
    start.unwrap_or(LogStart::Beginning)
}

#[cfg(test)]
mod tests;
