//! Black-box tests: the public surface and the executable.

mod cli_client;
mod fake_server;
