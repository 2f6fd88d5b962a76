//! A client of the API for programs in Rust: one connection that is made again when it breaks, credentials, and calls
//! that are repeated while that may help. Knows of ours the API alone; the command line is built on it.
//!
//! ```no_run
//! use longshore_api::v1;
//! use longshore_client::{Client, Credentials, Token};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials { token: Token::File("/var/run/longshore/token".into()), ..Credentials::default() };
//! let client = Client::new("https://longshore.example.com", &credentials)?;
//! let spec = v1::RunSpec {
//!     workload: Some(v1::run_spec::Workload::Runner(v1::RunnerWorkload { profile: "sql".to_owned() })),
//!     ..v1::RunSpec::default()
//! };
//! let run = client.submit("namespaces/default", "ticket-4711", spec).await?;
//! let run = client.wait(&run.name).await?;
//! println!("{:?}: {}", run.state(), run.result.unwrap_or_default().json);
//! # Ok(())
//! # }
//! ```
//!
//! Every call that answers once may be repeated: a run is submitted under a key, so that it is one run however often
//! the request arrives. Streams are opened once; [`Client::again`] says whether and when to open one anew.

mod address;
mod client;
mod credentials;
mod retry;
mod unreached;

pub use address::ServerAddress;
pub use client::{Client, ConnectError, TlsSetting};
pub use credentials::{Credentials, Token};
pub use retry::{CALL_PATIENCE, FOLLOW_PATIENCE, RetryBackoff, is_transient, retry_delay};
pub use unreached::Unreached;
