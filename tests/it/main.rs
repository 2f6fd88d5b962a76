//! Tests of the whole from outside: real files, processes and sockets, no cluster.

mod architecture;
mod cli_client;
mod contract;
mod fake_server;
mod local;
