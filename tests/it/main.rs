//! Tests of the whole from outside: real files, processes and sockets, no cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, and exports nothing"
)]

mod architecture;
mod cli_client;
mod contract;
mod docs;
mod fake_server;
mod local;
