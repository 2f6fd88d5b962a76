//! How a runner's result leaves the process: the result file and one line of stdout; and, if it is not in the file, the
//! wait for the pipe to empty.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::io::ioctl_fionread;
use tokio::time::{Instant, sleep};

use super::RunnerEnv;

/// The most bytes an object may have to be written to the result file and to be marked on stdout.
/// The kubelet reads no more than this of a termination message.
const SMALL_RESULT_BYTES: usize = 4096;

/// How long to wait for the other side to read what was printed.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How often the pipe is looked at; nothing announces that a pipe has become empty.
const DRAIN_STEP: Duration = Duration::from_millis(2);

/// Container runtimes drop what a process printed last if it exits at once: the pipe is empty as soon as the runtime
/// has *read* it, a moment before the runtime has passed it on. No signal shows when it has, so this pause is all there
/// is.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// Hands over `object`, a JSON object on one line.
///
/// A small one also goes to the result file and is marked on stdout. What can't be done is reported on
/// stderr. Returns whether the object left by at least one of the two ways.
pub(super) async fn deliver(env: &RunnerEnv, object: &str) -> bool {
    let small = object.len() <= SMALL_RESULT_BYTES;
    let in_file = small && env.result_path.as_deref().is_some_and(|path| write_result_file(path, object));

    if !small {
        // Lines of stderr that are still on their way could end up between the pieces of a long result line.
        drain(io::stderr(), DRAIN_LIMIT).await;
    }
    let marker = env.marker.as_deref().filter(|_| small).unwrap_or_default();
    let printed = print_line(&mut io::stdout().lock(), marker, object);
    if let Err(error) = &printed {
        note(&mut io::stderr(), format_args!("the result could not be printed: {error}"));
    }

    settle(in_file, io::stdout(), io::stderr()).await;
    in_file || printed.is_ok()
}

/// Waits until what was printed has been read. What is in the result file can't be lost on its way through a pipe, so
/// then there is nothing to wait for.
async fn settle(in_file: bool, out: impl AsFd, err: impl AsFd) {
    if !in_file && (drain(out, DRAIN_LIMIT).await | drain(err, DRAIN_LIMIT).await) {
        sleep(DRAIN_PAUSE).await;
    }
}

/// One line for people. A closed stderr is not a reason to fail a run.
pub(super) fn note(to: &mut dyn Write, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(to, "{line}");
}

fn write_result_file(path: &Path, object: &str) -> bool {
    // In place and not by rename: a termination message file is a mount point.
    let written = std::fs::write(path, object);
    if let Err(error) = &written {
        let path = path.display();
        note(&mut io::stderr(), format_args!("the result file {path} could not be written ({error}); see stdout"));
    }
    written.is_ok()
}

fn print_line(to: &mut impl Write, marker: &str, object: &str) -> io::Result<()> {
    let mut line = String::with_capacity(marker.len() + object.len() + 1);
    line.push_str(marker);
    line.push_str(object);
    line.push('\n');
    to.write_all(line.as_bytes())?;
    to.flush()
}

/// Waits until nothing is left in the pipe `fd`, at most `limit`. Returns whether `fd` is a pipe; anything else, such
/// as a file or a terminal, needs no wait.
async fn drain(fd: impl AsFd, limit: Duration) -> bool {
    let is_pipe = fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo());
    if !is_pipe {
        return false;
    }
    let deadline = Instant::now() + limit;
    while ioctl_fionread(&fd).is_ok_and(|left| left > 0) && Instant::now() < deadline {
        sleep(DRAIN_STEP).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_marked_line_is_marker_object_newline() {
        let mut out = Vec::new();
        print_line(&mut out, "mark-1:", r#"{"a":1}"#).unwrap();
        assert_eq!(out, b"mark-1:{\"a\":1}\n");
    }

    #[tokio::test]
    async fn drain_returns_once_the_reader_has_read() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, &[b'x'; 5000]).unwrap();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 5000];
            std::fs::File::from(read).read_exact(&mut buffer).unwrap();
        });
        assert!(drain(&write, Duration::from_secs(60)).await);
        assert_eq!(ioctl_fionread(&write).unwrap(), 0);
        reader.join().unwrap();
    }

    #[tokio::test]
    async fn drain_gives_up_on_a_reader_that_never_reads() {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, b"x").unwrap();
        assert!(drain(&write, Duration::from_millis(20)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_once_the_result_is_in_its_file() {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, b"x").unwrap();
        let start = Instant::now();
        settle(true, &write, &write).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        settle(false, &write, &write).await;
        assert!(start.elapsed() >= DRAIN_LIMIT);
    }

    #[tokio::test]
    async fn a_file_needs_no_drain() {
        assert!(!drain(tempfile::tempfile().unwrap(), DRAIN_LIMIT).await);
    }

    #[tokio::test]
    async fn small_results_go_to_the_result_file_large_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result");
        assert!(write_result_file(&path, "{}"));
        assert_eq!(std::fs::read(&path).unwrap(), b"{}");
        assert!(!write_result_file(&dir.path().join("missing/result"), "{}"));
    }
}
