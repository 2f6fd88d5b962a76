//! What of this machine every sandbox shows, and what of it no sandbox does.

use std::path::Path;

use crate::sys::{Probe, Unknown, look};

/// Directories of the system; which of them exist, and how, is asked of the machine.
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];
/// What of `/proc` runs do not see, since no namespace makes it their own: the files and directories that container
/// runtimes mask (`MaskedPaths` of the OCI runtime specification), and what there is to know of keys.
const MASKED_FILES: [&str; 8] = [
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const MASKED_DIRECTORIES: [&str; 3] = ["/proc/acpi", "/proc/asound", "/proc/scsi"];

/// Something that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Masked {
    /// A file.
    File(&'static str),
    /// A directory.
    Directory(&'static str),
}

/// A directory of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SystemPath {
    /// A directory.
    Directory(String),
    /// A symbolic link, as in a merged `/usr`.
    Link {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
}

/// The system's directories, as they are on this machine.
///
/// # Errors
/// One of them could not be looked at: a sandbox without it is not what was meant.
pub(crate) fn system_paths() -> Result<Vec<SystemPath>, Unknown> {
    SYSTEM.iter().filter_map(|path| system_path(path).transpose()).collect()
}

fn system_path(path: &str) -> Result<Option<SystemPath>, Unknown> {
    if let Ok(target) = std::fs::read_link(path) {
        return Ok(target.to_str().map(|target| SystemPath::Link { path: path.to_owned(), target: target.to_owned() }));
    }
    match look(Path::new(path)) {
        Probe::There(metadata) => Ok(metadata.is_dir().then(|| SystemPath::Directory(path.to_owned()))),
        Probe::Gone => Ok(None),
        Probe::Unknown(unknown) => Err(unknown),
    }
}

/// What there is to mask.
pub(super) fn masked() -> Result<Vec<Masked>, Unknown> {
    let files = MASKED_FILES.map(Masked::File).into_iter();
    let all = files.chain(MASKED_DIRECTORIES.map(Masked::Directory));
    let mut there = Vec::new();
    for masked in all {
        let (Masked::File(path) | Masked::Directory(path)) = masked;
        if look(Path::new(path)).known()?.is_some() {
            there.push(masked);
        }
    }
    Ok(there)
}
