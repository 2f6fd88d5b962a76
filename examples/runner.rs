//! A runner in Rust: the primes up to a number. docs/runner-contract.md says how it gives its result.
//! Of others' crates it needs sha2, serde_json and rustix.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const FILE_MAX_BYTES: usize = 4096;
const PART_MAX_BYTES: usize = 6144;

fn main() -> io::Result<ExitCode> {
    let limit = match read_input() {
        Ok(limit) => limit,
        Err(message) => {
            let error = json!({"type": "INVALID_INPUT", "message": message});
            give(&json!({"status": "error", "count": 0, "primes": [], "error": error}))?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let primes = primes_up_to(limit);
    // Whatever a program prints besides its result is no harm.
    writeln!(io::stdout(), "found {} primes", primes.len())?;
    give(&json!({"status": "success", "count": primes.len(), "primes": primes, "error": Value::Null}))?;
    Ok(ExitCode::SUCCESS)
}

fn variable(name: &str) -> io::Result<PathBuf> {
    let missing = || io::Error::other(format!("{name} is not set"));
    std::env::var_os(name).map(PathBuf::from).ok_or_else(missing)
}

fn read_input() -> Result<usize, String> {
    let text = variable("LONGSHORE_INPUT").and_then(std::fs::read).map_err(|error| error.to_string())?;
    let limit: Option<usize> = serde_json::from_slice(&text).ok();
    limit.filter(|limit| *limit <= 1_000_000).ok_or_else(|| "the input is no integer from 0 to 1000000".to_owned())
}

fn primes_up_to(limit: usize) -> Vec<usize> {
    let mut composite = vec![false; limit + 1];
    let mut primes = Vec::new();
    for number in 2..=limit {
        if composite.get(number) == Some(&false) {
            primes.push(number);
            composite.iter_mut().skip(number * number).step_by(number).for_each(|multiple| *multiple = true);
        }
    }
    primes
}

/// Gives the result: in the result file if it has room for it, else in marked parts on stdout.
fn give(result: &Value) -> io::Result<()> {
    // serde_json writes it on one line.
    let text = result.to_string();
    if text.len() <= FILE_MAX_BYTES {
        // In place, never by rename: in a container the file is a mount of its own.
        std::fs::write(variable("LONGSHORE_RESULT")?, &text)?;
    } else {
        let marker = variable("LONGSHORE_RESULT_MARKER")?;
        let marker = marker.display();
        let mut out = io::stdout().lock();
        let parts = text.as_bytes().chunks(PART_MAX_BYTES);
        let count = parts.len();
        for (number, part) in (1..).zip(parts) {
            write!(out, "{marker}+{number} ")?;
            out.write_all(part)?;
            writeln!(out)?;
        }
        let sum: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "{marker}={count} {sum}")?;
        out.flush()?;
    }
    drain();
    Ok(())
}

/// Waits until what was printed is read: container runtimes lose what is still in the pipe when a program exits.
fn drain() {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match rustix::io::ioctl_fionread(io::stdout()) {
            Ok(unread) if unread > 0 && Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            // The runtime has read it, and needs a moment to pass it on.
            Ok(_) => return std::thread::sleep(Duration::from_millis(100)),
            // No pipe.
            Err(_) => return,
        }
    }
}
