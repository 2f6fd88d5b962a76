//! The wire: code generated from `proto/`, its descriptors, and the files themselves.
//! Knows nothing of ours.

/// Messages, clients and servers of package `longshore.v1`.
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::large_futures,
    clippy::or_fun_call,
    rustdoc::all
)]
pub mod v1 {
    tonic::include_proto!("longshore.v1");
}

/// Descriptors of every proto file, imports included, for server reflection and for JSON output.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The proto files as they are in the source tree, for `longshore proto`.
pub static FILES: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/proto");
