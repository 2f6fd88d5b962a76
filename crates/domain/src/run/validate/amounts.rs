//! Numbers: resources, users, clocks, sizes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::name::shown;
use crate::notation::quantity::Quantity;
use crate::notation::syntax::{is_dns_subdomain, is_extended_resource};
use crate::notation::violation::Violations;
use crate::run::failure::{FailureClass, FailureReason};
use crate::run::profile::Limits;
use crate::run::spec::{Resources, RetryOn, RunSpec, Security};

use super::listed;

/// Resources that every node has.
pub(crate) const CORE_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn check_resources(resources: &Resources, at: &str, out: &mut Violations) {
    check_amounts(&resources.requests, &format!("{at}.resources.requests"), out);
    check_amounts(&resources.limits, &format!("{at}.resources.limits"), out);
}

fn check_amounts(amounts: &BTreeMap<String, String>, at: &str, out: &mut Violations) {
    for (name, text) in amounts {
        let field = format!("{at}[\"{}\"]", shown(name));
        let core = CORE_RESOURCES.contains(&name.as_str());
        if !core && !is_extended_resource(name) {
            out.add(
                field,
                format!(
                    "`{}` is not a resource that can be requested; use `cpu`, `memory`, `ephemeral-storage` or an extended resource such as `example.com/gpu`",
                    shown(name)
                ),
            );
            continue;
        }
        let Some(quantity) = parse(text, &field, out) else { continue };
        if !quantity.is_positive() {
            out.add(field, format!("`{}` is not above 0; leave it out for the default", shown(text)));
        } else if !core && !quantity.is_whole() {
            out.add(
                field,
                format!("`{}` is not a whole number; extended resources are counted in pieces", shown(text)),
            );
        } else if core && name != "cpu" {
            check_bytes(text, &field, out);
        }
    }
}

/// Thousandths of a byte are always a mistake for `M` or `Mi`, and one that is hard to see later.
fn check_bytes(text: &str, field: &str, out: &mut Violations) {
    if let Some(number) = text.strip_suffix(['m', 'u', 'n']) {
        let (number, text) = (shown(number), shown(text));
        out.add(field, format!("`{text}` is a fraction of a byte; perhaps `{number}M` or `{number}Mi` was meant"));
    }
}

fn parse(text: &str, field: &str, out: &mut Violations) -> Option<Quantity> {
    Quantity::parse(text).map_err(|error| out.add(field, format!("`{}` {error}", shown(text)))).ok()
}

pub(super) fn check_tmp_size(text: Option<&str>, field: &str, out: &mut Violations) {
    let Some(text) = text else { return };
    match parse(text, field, out) {
        Some(size) if size.is_negative() => {
            out.add(field, format!("`{}` is below 0; `0` stands for no `/tmp`", shown(text)));
        }
        Some(_) => check_bytes(text, field, out),
        None => {}
    }
}

pub(super) fn check_security(security: &Security, at: &str, limits: &Limits, out: &mut Violations) {
    let Security { run_as_user, run_as_group, fs_group, read_only_root_filesystem: _, runtime_class_name } = security;
    for (name, id) in [("run_as_user", run_as_user), ("run_as_group", run_as_group), ("fs_group", fs_group)] {
        if let Some(id) = id {
            check_id(*id, &format!("{at}.security.{name}"), limits, out);
        }
    }
    if let Some(name) = runtime_class_name
        && !is_dns_subdomain(name)
    {
        out.add(
            format!("{at}.security.runtime_class_name"),
            format!("`{}` is not a valid RuntimeClass name: a DNS subdomain is expected", shown(name)),
        );
    }
}

fn check_id(id: i64, field: &str, limits: &Limits, out: &mut Violations) {
    let (min, max) = (limits.min_user, limits.max_user);
    let way_out = format!("use one from {min} to {max}, or leave it unset for {}", limits.default_user);
    if id == 0 {
        let reason = "0 is root, and no run is executed as root, on any backend";
        out.add(field, format!("{reason}; {way_out}"));
    } else if !(1..=i64::from(i32::MAX)).contains(&id) {
        out.add(field, format!("{id} is not an id that Kubernetes accepts, which are 1 to 2147483647; {way_out}"));
    } else if !(min..=max).contains(&id) {
        out.add(field, format!("{id} is outside of what this server allows; {way_out}"));
    }
}

/// The longest that a run may be asked to wait in a queue.
const QUEUE_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The longest that a run may be given for all its attempts.
const TOTAL_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How often a run may be tried again, for each of the two causes.
const RETRIES_MAX: i32 = 20;
/// How many exit codes may be listed.
const EXIT_CODES_MAX: usize = 32;

pub(super) fn check_retries(spec: &RunSpec, at: &str, out: &mut Violations) {
    for (name, tries) in [("max_retries", spec.max_retries), ("infra_retries", spec.infra_retries)] {
        match tries {
            Some(tries) if tries < 0 => {
                out.add(format!("{at}.{name}"), format!("{tries} is below 0; leave it unset for none"));
            }
            Some(tries) if tries > RETRIES_MAX => {
                out.add(format!("{at}.{name}"), format!("{tries} is above {RETRIES_MAX}, the most that are made"));
            }
            _ => {}
        }
    }
    let RetryOn { reasons, exit_codes } = &spec.retry_on;
    if reasons.len() > RetryOn::REASONS.len() {
        let (field, most) = (format!("{at}.retry_on.reasons"), RetryOn::REASONS.len());
        out.add(field, format!("{} reasons are listed; there are {most} to be listed, each once", reasons.len()));
    } else {
        check_reasons(reasons, &format!("{at}.retry_on.reasons"), out);
    }
    if exit_codes.len() > EXIT_CODES_MAX {
        let field = format!("{at}.retry_on.exit_codes");
        out.add(field, format!("{} exit codes are listed; at most {EXIT_CODES_MAX} are taken", exit_codes.len()));
    } else {
        for (i, code) in exit_codes.iter().enumerate() {
            if !(1..=255).contains(code) {
                out.add(
                    format!("{at}.retry_on.exit_codes[{i}]"),
                    format!("{code} is not an exit code of a failure, which are 1 to 255"),
                );
            }
        }
    }
}

fn check_reasons(reasons: &[FailureReason], at: &str, out: &mut Violations) {
    for (i, reason) in reasons.iter().enumerate() {
        let field = format!("{at}[{i}]");
        if !RetryOn::REASONS.contains(reason) {
            let known = listed(RetryOn::REASONS.iter().map(|reason| reason.as_str()));
            let instead = if reason.class() == FailureClass::Infra { "; `infra_retries` is for it" } else { "" };
            let name = reason.as_str();
            out.add(field, format!("{name} cannot be retried by `max_retries`; expected one of {known}{instead}"));
        } else if reasons.iter().take(i).any(|earlier| earlier == reason) {
            out.add(field, format!("{} is listed twice", reason.as_str()));
        }
    }
}

pub(super) fn check_clocks(spec: &RunSpec, at: &str, limits: &Limits, out: &mut Violations) {
    for (name, value, least, most) in [
        ("queue_timeout", spec.queue_timeout, 1, QUEUE_TIMEOUT_MAX),
        ("total_timeout", spec.total_timeout, 1, TOTAL_TIMEOUT_MAX),
        ("start_timeout", spec.start_timeout, 1, limits.max_start_timeout),
        ("run_timeout", spec.run_timeout, 1, limits.max_run_timeout),
        ("termination_grace", spec.termination_grace, 0, limits.max_termination_grace),
        ("retention", spec.retention, 1, limits.max_retention),
    ] {
        let Some(seconds) = value.map(whole_seconds) else { continue };
        let most = whole_seconds(most);
        if seconds < least {
            out.add(format!("{at}.{name}"), format!("must be at least {least} s; leave it unset for the default"));
        } else if seconds > most {
            out.add(format!("{at}.{name}"), format!("is longer than this server allows: at most {}", in_units(most)));
        }
    }
}

/// Seconds as people type them: `90s`, `1h30m`, `24h`, `7d`.
fn in_units(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds % 86_400 / 3_600, seconds % 3_600 / 60, seconds % 60);
    match (days, hours, minutes, rest) {
        (2.., 0, 0, 0) => format!("{days}d"),
        (_, _, 0, 0) if seconds >= 3_600 => format!("{}h", seconds / 3_600),
        (_, _, _, 0) if seconds >= 3_600 => format!("{}h{minutes}m", seconds / 3_600),
        (0, 0, 1.., 0) => format!("{minutes}m"),
        _ => format!("{seconds}s"),
    }
}

/// In seconds, rounded up: Kubernetes' clocks know no fractions.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

pub(super) fn check_limits(limits: &Limits, at: &str, out: &mut Violations) {
    check_amounts(&limits.default_requests, &format!("{at}.default_requests"), out);
    check_amounts(&limits.default_limits, &format!("{at}.default_limits"), out);
    for (name, text) in &limits.max_limits {
        parse(text, &format!("{at}.max_limits[\"{}\"]", shown(name)), out);
    }
    for name in CORE_RESOURCES {
        if !limits.default_limits.contains_key(name) {
            let field = format!("{at}.default_limits[\"{name}\"]");
            out.add(field, "must be set: every Pod has limits for cpu, memory and ephemeral-storage");
        }
    }
    check_tmp_size(Some(&limits.default_tmp_size), &format!("{at}.default_tmp_size"), out);
    for (name, id) in [("min_user", limits.min_user), ("max_user", limits.max_user)] {
        if !(1..=i64::from(i32::MAX)).contains(&id) {
            out.add(
                format!("{at}.{name}"),
                format!("{id} is not an id that Kubernetes accepts, which are 1 to 2147483647"),
            );
        }
    }
    let (min, max, user) = (limits.min_user, limits.max_user, limits.default_user);
    if !(min..=max).contains(&user) {
        out.add(format!("{at}.default_user"), format!("{user} is not within min_user and max_user, {min} to {max}"));
    }
}

#[cfg(test)]
mod tests {
    use super::in_units;

    #[test]
    fn seconds_as_people_type_them() {
        for (seconds, wanted) in [
            (0, "0s"),
            (90, "90s"),
            (600, "10m"),
            (5_400, "1h30m"),
            (86_400, "24h"),
            (604_800, "7d"),
            (90_000, "25h"),
            (3_601, "3601s"),
        ] {
            assert_eq!(in_units(seconds), wanted);
        }
    }
}
