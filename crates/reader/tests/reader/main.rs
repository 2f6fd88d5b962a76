//! The result reader beside CPython: thousands of generated texts, each judged by the machine's own `python3`
//! (`judge.py` says by what rules), and shapes meant to hurt it. Needs nothing but the domain.
//!
//! `LONGSHORE_READER_SEED` and `LONGSHORE_READER_CASES` choose another corpus.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and exports nothing"
)]

mod cases;
mod compare;
mod corpus;
mod differential;
mod hostile;
mod noise;
mod reading;
