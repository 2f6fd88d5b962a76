//! What a run sees of this machine: its mounts, links and working directory, taken from the very
//! options that `bwrap` gets, so that an observer sees what the program will.
//!
//! Paths are followed here as the kernel would follow them there: a link that leads out of what is
//! mounted leads nowhere.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, access};

use crate::sys::{Cause, Unknown, look};

/// Where a run finds its own files.
pub(crate) const OWN: &str = "/run/longshore";
/// How many links are followed; as in Linux.
const LINKS_MAX: usize = 40;
/// Bits of a file's mode.
const READ: u32 = 0o4;
const EXECUTE: u32 = 0o1;

/// What a run sees.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// In the order in which they are made: a later one covers an earlier.
    places: Vec<Place>,
    /// Where the program starts.
    pub(crate) work: PathBuf,
    /// User and group of the program, where they are not those of this process.
    owner: Option<(u32, u32)>,
    /// Whether it sees less than the machine.
    pub(crate) sandboxed: bool,
}

#[derive(Clone, Debug)]
struct Place {
    target: PathBuf,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// What is at this path of the machine.
    Machine(PathBuf),
    /// A symbolic link.
    Link(PathBuf),
    /// A directory of its own.
    Empty,
    /// What is known to the run only, or made by the kernel.
    Unknown,
}

/// Something that is there.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Where it is on the machine.
    There {
        /// Its path on the machine, links followed.
        host: PathBuf,
        /// What it is.
        metadata: Metadata,
    },
    /// A directory that only the sandbox has.
    Directory,
    /// It can't be reported before the run is there.
    Unknown,
}

/// Why something can't be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It is not there, after `link` if that led there.
    Missing {
        /// As the run sees it.
        path: PathBuf,
        /// The last link on the way.
        link: Option<PathBuf>,
    },
    /// The run's user may not pass or open this.
    Denied(PathBuf),
    /// Links lead round in a circle.
    Circle(PathBuf),
}

enum Entry {
    Machine { host: PathBuf, is_mount: bool },
    Link(PathBuf),
    Directory,
    Unknown,
    Nothing,
}

impl Sight {
    /// Of a program without a sandbox, which starts in `work`.
    pub(crate) fn of_machine(work: PathBuf) -> Self {
        let all = Place { target: PathBuf::from("/"), source: Source::Machine(PathBuf::from("/")) };
        Self { places: vec![all], work, owner: None, sandboxed: false }
    }

    /// Of a program in the sandbox that these options make. `owner`: user and group of the program,
    /// where it is really given to them.
    pub(crate) fn of_sandbox(options: &[String], owner: Option<(u32, u32)>) -> Self {
        let mut sight = Self { places: Vec::new(), work: PathBuf::from("/"), owner, sandboxed: true };
        let mut options = options.iter().map(String::as_str);
        while let Some(option) = options.next() {
            let mut value = || options.next().map(PathBuf::from).unwrap_or_default();
            match option {
                "--ro-bind" | "--bind" => {
                    let source = value();
                    sight.add(value(), Source::Machine(source));
                }
                "--ro-bind-try" => {
                    let (source, target) = (value(), value());
                    if !look(&source).is_gone() {
                        sight.add(target, Source::Machine(source));
                    }
                }
                "--symlink" => {
                    let target = value();
                    sight.add(value(), Source::Link(target));
                }
                "--tmpfs" => sight.add(value(), Source::Empty),
                // Made where nothing is; it covers nothing.
                "--dir" => sight.places.insert(0, Place { target: value(), source: Source::Empty }),
                "--proc" | "--dev" => sight.add(value(), Source::Unknown),
                "--chdir" => sight.work = value(),
                _ => {}
            }
        }
        sight.add(PathBuf::from(OWN), Source::Unknown);
        sight
    }

    fn add(&mut self, target: PathBuf, source: Source) {
        self.places.push(Place { target, source });
    }

    /// The same with this of the machine in it, at the same path.
    pub(crate) fn with(&self, path: &Path) -> Self {
        let mut more = self.clone();
        more.add(path.to_owned(), Source::Machine(path.to_owned()));
        more
    }

    /// What is to be mounted and is not on the machine: the sandbox can't be made then.
    pub(crate) fn missing_sources(&self) -> Vec<&Path> {
        let missing = |place: &Place| match &place.source {
            // The run's own files come with it.
            Source::Machine(source) if !place.target.starts_with(OWN) && look(source).is_gone() => true,
            Source::Machine(_) | Source::Link(_) | Source::Empty | Source::Unknown => false,
        };
        let sources = self.places.iter().filter(|place| missing(place)).filter_map(|place| match &place.source {
            Source::Machine(source) => Some(source.as_path()),
            _ => None,
        });
        sources.collect()
    }

    fn entry(&self, path: &Path) -> Entry {
        for Place { target, source } in self.places.iter().rev() {
            let Ok(rest) = path.strip_prefix(target) else { continue };
            let is_mount = rest.as_os_str().is_empty();
            return match source {
                Source::Machine(source) if is_mount => Entry::Machine { host: source.clone(), is_mount },
                Source::Machine(source) => Entry::Machine { host: source.join(rest), is_mount },
                Source::Link(target) => Entry::Link(target.clone()),
                Source::Empty if is_mount => Entry::Directory,
                Source::Empty => self.way_to_a_place(path),
                Source::Unknown => Entry::Unknown,
            };
        }
        self.way_to_a_place(path)
    }

    /// Directories on the way to what is mounted are made.
    fn way_to_a_place(&self, path: &Path) -> Entry {
        let is_way = self.places.iter().any(|place| place.target.starts_with(path));
        if is_way { Entry::Directory } else { Entry::Nothing }
    }

    /// Follows `path`, which is relative to the working directory unless it is absolute.
    pub(crate) fn follow(&self, path: &Path) -> Result<Seen, Obstacle> {
        let mut todo: VecDeque<OsString> = parts(&self.work.join(path));
        let mut at = PathBuf::from("/");
        let mut links = 0;
        let mut last_link = None;
        let mut seen = Seen::Directory;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                at.pop();
                seen = Seen::Directory;
                continue;
            }
            let next = at.join(&part);
            let missing = |link: &Option<PathBuf>| {
                let path = todo.iter().fold(next.clone(), |path, part| path.join(part));
                Obstacle::Missing { path, link: link.clone() }
            };
            let link = match self.entry(&next) {
                Entry::Unknown => return Ok(Seen::Unknown),
                Entry::Nothing => return Err(missing(&last_link)),
                Entry::Directory => {
                    seen = Seen::Directory;
                    None
                }
                Entry::Link(target) => Some(target),
                Entry::Machine { host, is_mount } => {
                    // What is mounted is found by the machine's own links.
                    let read = if is_mount { std::fs::metadata(&host) } else { std::fs::symlink_metadata(&host) };
                    match read {
                        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                            return Err(Obstacle::Denied(next));
                        }
                        Err(error) if is_shortage(&error) => return Ok(Seen::Unknown),
                        Err(_) => return Err(missing(&last_link)),
                        Ok(metadata) if metadata.is_symlink() => match std::fs::read_link(&host) {
                            Ok(target) => Some(target),
                            Err(error) if is_shortage(&error) => return Ok(Seen::Unknown),
                            Err(_) => return Err(missing(&last_link)),
                        },
                        Ok(metadata) => {
                            if metadata.is_dir() && !self.permits(&host, &metadata, EXECUTE) {
                                return Err(Obstacle::Denied(next));
                            }
                            if !metadata.is_dir() && !todo.is_empty() {
                                return Err(missing(&last_link));
                            }
                            seen = Seen::There { host, metadata };
                            None
                        }
                    }
                }
            };
            match link {
                None => at = next,
                Some(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Obstacle::Circle(next));
                    }
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    for part in parts(&target).into_iter().rev() {
                        todo.push_front(part);
                    }
                    last_link = Some(next);
                }
            }
        }
        Ok(seen)
    }

    /// Whether the run's user may read the file.
    pub(crate) fn may_read(&self, host: &Path, metadata: &Metadata) -> bool {
        self.permits(host, metadata, READ)
    }

    /// Whether the run's user may execute the file, or pass the directory.
    pub(crate) fn may_execute(&self, host: &Path, metadata: &Metadata) -> bool {
        self.permits(host, metadata, EXECUTE)
    }

    fn permits(&self, host: &Path, metadata: &Metadata, wanted: u32) -> bool {
        let Some((user, group)) = self.owner else {
            let wanted = if wanted == READ { Access::READ_OK } else { Access::EXEC_OK };
            return access(host, wanted).is_ok();
        };
        let mode = metadata.mode();
        let granted = if metadata.uid() == user {
            mode >> 6
        } else if metadata.gid() == group {
            mode >> 3
        } else {
            mode
        };
        granted & wanted == wanted
    }

    /// Who the program is, for messages.
    pub(crate) fn who(&self) -> String {
        match self.owner {
            Some((user, _)) => format!("user {user}, as whom the run is executed,"),
            None => "the server's user".to_owned(),
        }
    }
}

/// Whether this says of the machine that it is short of something, and nothing of the file.
fn is_shortage(error: &std::io::Error) -> bool {
    Unknown::of("", error).kind == Cause::Shortage
}

/// The names in a path, and its `..`.
fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn options(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn paths_are_followed_as_the_sandbox_has_them() {
        let dir = tempfile::tempdir().unwrap();
        // Its own path may have links.
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        std::fs::create_dir_all(at("lib/deep")).unwrap();
        std::fs::create_dir(at("hidden")).unwrap();
        for file in ["lib/deep/tool", "hidden/secret"] {
            std::fs::write(at(file), "").unwrap();
        }
        symlink("deep/tool", at("lib/inside")).unwrap();
        symlink(at("hidden/secret"), at("lib/out")).unwrap();
        symlink("round", at("lib/round")).unwrap();
        let lib = at("lib").display().to_string();
        let sight = Sight::of_sandbox(
            &options(&[
                "/usr/bin/bwrap",
                "--unshare-pid",
                "--hostname",
                "x",
                "--ro-bind",
                &lib,
                "/opt/lib",
                "--symlink",
                "opt/lib",
                "/lib",
                "--ro-bind-try",
                "/no/such",
                "/etc/no",
                "--tmpfs",
                "/tmp",
                "--proc",
                "/proc",
                "--ro-bind",
                "/no/such",
                "/data",
                "--dir",
                "/opt",
                "--dir",
                "/made",
                "--chdir",
                "/tmp",
            ]),
            None,
        );
        let host = |path: &str| match sight.follow(Path::new(path)) {
            Ok(Seen::There { host, .. }) => Ok(host.strip_prefix(&root).unwrap().display().to_string()),
            Ok(Seen::Directory) => Ok("directory".to_owned()),
            Ok(Seen::Unknown) => Ok("unknown".to_owned()),
            Err(Obstacle::Missing { path, link }) => Err((path, link)),
            Err(other) => panic!("{other:?}"),
        };
        for path in ["/opt/lib/deep/tool", "/lib/deep/tool", "/lib/inside", "../lib/deep/./tool", "/lib/deep/../inside"]
        {
            assert_eq!(host(path), Ok("lib/deep/tool".to_owned()), "{path}");
        }
        for (path, what) in
            [("/opt", "directory"), ("/made", "directory"), ("/tmp", "directory"), ("/proc/1/exe", "unknown")]
        {
            assert_eq!(host(path), Ok(what.to_owned()), "{path}");
        }
        assert_eq!(host("/run/longshore/files/x"), Ok("unknown".to_owned()));
        let out = host("/lib/out").unwrap_err();
        assert_eq!(out.1, Some(PathBuf::from("/opt/lib/out")));
        assert_eq!(out.0, at("hidden/secret"));
        for path in ["/tmp/x", "/etc/no", "/lib/deep/tool/below", "/home"] {
            assert!(host(path).is_err(), "{path}");
        }
        assert!(matches!(sight.follow(Path::new("/lib/round")), Err(Obstacle::Circle(_))));
        assert_eq!(sight.missing_sources(), [Path::new("/no/such")]);
        assert!(matches!(sight.with(&at("hidden")).follow(Path::new("/lib/out")), Ok(Seen::There { .. })));
    }

    #[test]
    fn another_user_is_judged_by_the_mode() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let metadata = |mode: u32| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::metadata(&file).unwrap()
        };
        let own = metadata(0o600).uid();
        let other = Sight { owner: Some((own + 1, u32::MAX)), ..Sight::of_machine(PathBuf::from("/")) };
        let same = Sight { owner: Some((own, u32::MAX)), ..other.clone() };
        for (mode, by_same, by_other) in [(0o700, true, false), (0o705, true, true), (0o005, false, true)] {
            let metadata = metadata(mode);
            assert_eq!(same.may_execute(&file, &metadata), by_same, "{mode:o}");
            assert_eq!(other.may_execute(&file, &metadata), by_other, "{mode:o}");
            assert_eq!(other.may_read(&file, &metadata), by_other, "{mode:o}");
        }
    }
}
