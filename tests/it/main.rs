//! Tests of the whole from outside: real files, processes and sockets, no cluster. `contract` and
//! `local` call the backend itself; all others go through gRPC.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and exports nothing"
)]

mod access;
mod architecture;
mod attack;
mod cli_client;
mod cli_result;
mod cli_runs;
mod compression;
mod contract;
mod cost;
mod data;
mod demo;
mod docs;
mod doctor;
mod door;
mod drain;
mod errors;
mod fake_server;
mod fixture;
mod health;
mod limits;
mod listing;
mod local;
mod logs;
mod many;
mod metrics;
mod programs;
mod queue;
mod restart;
mod rights;
mod room;
mod runners;
mod runs;
mod rust_client;
mod sandbox;
mod service;
mod sql;
mod stored;
#[path = "../support/support.rs"]
#[allow(dead_code, reason = "shared with the suite for clusters")]
mod support;
mod unreadable;
mod words;
