//! What the black-box suites share: a real daemon process, clients, waits for states, programs,
//! and the contract that holds on every backend. Everything goes through the wire.

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod contract;
pub(crate) mod daemon;
pub(crate) mod errors;
pub(crate) mod logs;
pub(crate) mod spec;
pub(crate) mod strict;
pub(crate) mod wait;
