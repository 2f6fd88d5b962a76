//! The connection to a server: where it is, who calls, and what a failure means.

pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod unreached;
