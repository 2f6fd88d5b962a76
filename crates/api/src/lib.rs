//! The wire: code generated from `proto/`, its descriptors, and the files themselves. Knows of
//! Longshore only the domain's results, which both sides report in the same words.

use tonic::Code;

pub mod codec;
pub mod enums;
pub mod result;
pub mod time;

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

    /// In place of a value that is not shown.
    struct Redacted;

    impl ::core::fmt::Debug for Redacted {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.write_str("***")
        }
    }

    impl RunState {
        /// Whether outcome and result are final.
        #[must_use]
        pub fn is_terminal(self) -> bool {
            matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
        }
    }

    // `Debug` of the messages with fields that carry `debug_redact`.
    include!(concat!(env!("OUT_DIR"), "/redacted.rs"));
}

/// Descriptors of every proto file, imports included, for server reflection and for JSON output.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The proto files as they are in the source tree, for `longshore proto`.
pub static FILES: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/../../proto");

/// The path of every method of this API: `/longshore.v1.RunService/GetRun`.
pub const METHODS: &[&str] = &include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// What the caller of a method has to be allowed, as the method says itself (`longshore/v1/options.proto`); `None`:
/// it is not a method of this API. `path` is that of the call, `/longshore.v1.RunService/GetRun`.
#[must_use]
pub fn required_verb(path: &str) -> Option<v1::Verb> {
    include!(concat!(env!("OUT_DIR"), "/required_verb.rs"))
}

/// The name of a code as gRPC spells it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
