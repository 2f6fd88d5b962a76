//! Black-box tests of the daemon on a real cluster, named by `LONGSHORE_TEST_KUBECONFIG`. Without
//! one every test fails: those who run this suite want it run. See ../README.md for a cluster.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `LONGSHORE_TEST_KUBECONFIG` | kubeconfig of the cluster, with the rights of an administrator |
//! | `LONGSHORE_TEST_BUSYBOX` | image with a shell, default `localhost/busybox:test` |
//! | `LONGSHORE_TEST_IMAGE` | image with this binary, default `localhost/longshore:test` |
//! | `LONGSHORE_TEST_CRDS` | directory of CustomResourceDefinitions that are made and deleted; unset: what needs them is left out |
//! | `LONGSHORE_TEST_FAKETIME` | `libfaketime.so.1`, for daemons with another clock |
//! | `LONGSHORE_TEST_CONTROL` | socket that restarts the cluster's parts; unset: nothing is restarted |

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod admission;
mod case;
mod chaos;
mod cluster;
mod contract;
mod external;
mod installed;
mod interference;
mod logs;
mod node;
mod objects;
mod one_key;
mod outage;
mod outcomes;
mod proxy;
mod queues;
mod release;
mod restart;
mod retries;
mod sides;
mod stops;
#[path = "../../support/support.rs"]
#[allow(dead_code, reason = "shared with the suite for the local backend")]
mod support;
mod timeline;
mod truth;
mod witness;
