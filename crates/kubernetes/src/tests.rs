//! The I/O of this backend: against a scripted API server, and (ignored) against a real cluster.

mod attempts;
mod create;
mod doctor;
pub(super) mod fake;
mod logs;
mod metrics;
mod orphans;
mod stop;
mod stored;
mod watch;
