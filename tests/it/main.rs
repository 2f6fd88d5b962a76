//! Tests of the whole from outside: real files, processes and sockets, no cluster.

mod contract;
mod local;
