//! RunService: its requests, its answers, its streams.

pub(crate) mod failure;
pub(crate) mod log;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod service;
pub(crate) mod spec;
pub(crate) mod watch;
