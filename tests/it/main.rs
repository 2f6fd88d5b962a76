//! Black-box tests: the public surface and the executable.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod cli_client;
mod fake_server;
