//! Whether a program can be executed where its run will be: found, allowed, and with every
//! interpreter that it needs. The doctor, a preview and a failed run give the same answer.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::sight::{Obstacle, Seen, Sight};
use crate::sys::file::{seems_directory, seems_file};
use crate::sys::look;
use longshore_domain::name::shown;
use longshore_domain::run::rundir::StartFault;

mod file;
mod python;

use file::FileKind;
use python::VENV;

/// How much of a file is looked at, in bytes: its `#!` line, or the headers of an ELF file.
const HEAD: u64 = 64 * 1024;
/// How many interpreters of interpreters are followed; as in Linux.
const DEPTH_MAX: usize = 5;
/// How many directories are proposed to be mounted.
const MOUNTS_MAX: usize = 8;
/// How names of scripts end that are given to an interpreter.
const SCRIPTS: [&str; 13] = ["py", "pyz", "js", "mjs", "cjs", "ts", "rb", "pl", "php", "sh", "lua", "r", "jar"];
/// How many neighbours of a script are looked at.
const NEIGHBOURS_MAX: usize = 1000;

/// Looks for programs with the eyes of a run.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    /// What the run sees.
    pub(crate) sight: &'a Sight,
    /// Its `$PATH`.
    pub(crate) path: &'a str,
    /// The profile, for what is to be changed.
    pub(crate) profile: &'a str,
}

/// Why a program can't be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) fix: String,
    /// Whether it must not even be tried: it would seem to work, or be executed as something else.
    certain: bool,
    /// What is on the machine, but not seen by the run.
    hidden: Option<PathBuf>,
}

impl Fault {
    fn new(what: String, fix: impl Into<String>) -> Self {
        Self { what, fix: fix.into(), certain: false, hidden: None }
    }

    fn certain(self) -> Self {
        Self { certain: true, ..self }
    }

    /// As the shim reports it.
    pub(crate) fn for_shim(&self) -> StartFault {
        StartFault { message: format!("{}; {}", self.what, self.fix), certain: self.certain }
    }
}

impl Look<'_> {
    /// Where the program is, as the run sees it: a path, or a name that is looked for in its `$PATH`.
    ///
    /// # Errors
    /// What keeps it from being executed.
    pub(crate) fn program(&self, program: &str) -> Result<PathBuf, Fault> {
        if let Some(missing) = self.sight.missing_sources().first() {
            let missing = missing.display();
            let fix = format!("create it, or correct {} and `volumes`", self.key("mounts"));
            let what = format!("`{missing}` is to be mounted, and there is no such file or directory on this machine");
            return Err(Fault::new(what, fix).certain());
        }
        let Err(mut fault) = self.judge(program) else { return self.judge(program) };
        let mut mounts = Vec::new();
        let (mut sight, mut hidden) = (self.sight.clone(), fault.hidden.clone());
        while let Some(path) = hidden.filter(|_| mounts.len() < MOUNTS_MAX) {
            let mount = mount_for(&path);
            if mounts.contains(&mount) {
                break;
            }
            sight = sight.with(&mount);
            mounts.push(mount);
            hidden = Look { sight: &sight, ..*self }.judge(program).err().and_then(|fault| fault.hidden);
        }
        if !mounts.is_empty() {
            let list: Vec<_> = mounts.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
            fault.fix = format!("add to [profiles.{}.local]: mounts = [{}]", self.profile, list.join(", "));
        }
        Err(fault)
    }

    fn key(&self, name: &str) -> String {
        format!("`profiles.{}.local.{name}`", self.profile)
    }

    fn judge(&self, program: &str) -> Result<PathBuf, Fault> {
        let subject = format!("the program `{}`", shown(program));
        if program.contains('/') {
            self.check(&subject, Path::new(program), 0)?;
            return Ok(PathBuf::from(program));
        }
        self.find(&subject, program, 0)
    }

    /// Looks for a name in `$PATH`, as `execvp` does.
    fn find(&self, subject: &str, name: &str, depth: usize) -> Result<PathBuf, Fault> {
        // One that can't be executed does not end the search.
        let mut first = None;
        let mut hidden = None;
        for path in std::env::split_paths(self.path).map(|dir| dir.join(name)) {
            match self.sight.follow(&path) {
                Ok(Seen::Unknown) => return Ok(path),
                Ok(Seen::There { metadata, .. }) if metadata.is_file() => match self.check(subject, &path, depth) {
                    Ok(()) => return Ok(path),
                    Err(fault) if fault.certain => return Err(fault),
                    Err(fault) => drop(first.get_or_insert(fault)),
                },
                Ok(_) => {}
                Err(_) if self.sight.sandboxed && seems_file(&path) => {
                    hidden.get_or_insert(path);
                }
                Err(_) => {}
            }
        }
        if let Some(fault) = first {
            return Err(fault);
        }
        let mut what = format!("{subject} is not found: no such file in any directory of PATH ({})", self.path);
        if let Some(path) = &hidden {
            let _ = write!(what, "; the sandbox does not see `{}` of this machine", path.display());
        }
        let key = self.key("command");
        let fix = format!("install it, or name it by a path in {key} (`./NAME`: beside the configuration file)");
        Err(Fault { hidden, ..Fault::new(what, fix) })
    }

    /// Whether the file at `path`, as the run sees it, can be executed.
    fn check(&self, subject: &str, path: &Path, depth: usize) -> Result<(), Fault> {
        self.check_python(subject, path)?;
        let no_file = || {
            let fix = format!("name a file in {}", self.key("command"));
            Err(Fault::new(format!("{subject} is a directory or a special file"), fix))
        };
        let (host, metadata) = match self.sight.follow(path) {
            Err(_) if seems_directory(path) => return no_file(),
            Err(obstacle) => return Err(self.obstacle(subject, obstacle)),
            Ok(Seen::Unknown) => return Ok(()),
            Ok(Seen::There { host, metadata, .. }) if metadata.is_file() => (host, metadata),
            Ok(Seen::There { .. } | Seen::Directory) => return no_file(),
        };
        if !self.sight.may_execute(&host, &metadata) {
            use std::os::unix::fs::MetadataExt;
            let who = if metadata.mode() & 0o111 == 0 { "nobody".to_owned() } else { self.sight.who() };
            let what = match who.as_str() {
                "nobody" => format!("{subject} has no execute permission"),
                _ => format!("{subject} may not be executed: {who} has no right to"),
            };
            let command = if who == "nobody" { "+x" } else { "a+rx" };
            return Err(Fault::new(what, format!("chmod {command} {}", host.display())));
        }
        let mut head = Vec::new();
        // What this process can't read it can't judge.
        if File::open(&host).and_then(|file| file.take(HEAD).read_to_end(&mut head)).is_err() || depth >= DEPTH_MAX {
            return Ok(());
        }
        let is_script = head.starts_with(b"#!");
        if is_script && !self.sight.may_read(&host, &metadata) {
            let what = format!("{subject} is a script that may not be read: {} has no right to", self.sight.who());
            return Err(Fault::new(what, format!("chmod a+rx {}", host.display())));
        }
        self.check_content(subject, &host, &head, depth)
    }

    fn check_content(&self, subject: &str, host: &Path, head: &[u8], depth: usize) -> Result<(), Fault> {
        let file = host.display();
        match file::kind(head) {
            FileKind::Other => Ok(()),
            FileKind::Text => {
                let what = format!("{subject} is a text file without a `#!` line, so nothing says what executes it");
                let fix = format!("begin {file} with a line such as `#!/bin/sh` or `#!/usr/bin/env python3`");
                Err(Fault::new(what, fix).certain())
            }
            FileKind::ByteOrderMark => {
                let what = format!("{subject} begins with a byte order mark, which hides its `#!` line");
                Err(Fault::new(what, format!("save {file} as UTF-8 without a byte order mark")).certain())
            }
            FileKind::CrLf(line) => {
                let what = format!("the `#!` line of {subject} ends in CR LF, so `{line}\\r` is looked for");
                Err(Fault::new(what, format!("give {file} Unix line ends: sed -i 's/\\r$//' {file}")).certain())
            }
            FileKind::Script { interpreter, argument } => {
                if interpreter.is_empty() {
                    let what = format!("the `#!` line of {subject} names no interpreter");
                    return Err(Fault::new(what, format!("begin {file} with a line such as `#!/bin/sh`")));
                }
                let by = format!("the interpreter `{}` of {subject}", shown(&interpreter));
                self.check(&by, Path::new(&interpreter), depth + 1)?;
                self.check_env(subject, host, &interpreter, &argument, depth)
            }
            FileKind::Elf { loader } => match self.sight.follow(Path::new(&loader)) {
                Err(Obstacle::Missing { .. }) => {
                    let loader = shown(&loader);
                    let what = format!("{subject} needs the loader `{loader}`, and there is no such file");
                    let fix = "use a build for this system's C library, or a static one; or install the loader";
                    Err(Fault::new(what, fix))
                }
                _ => Ok(()),
            },
        }
    }

    /// What `#!/usr/bin/env NAME` asks for is looked for in `$PATH`.
    fn check_env(
        &self,
        subject: &str,
        host: &Path,
        interpreter: &str,
        argument: &str,
        depth: usize,
    ) -> Result<(), Fault> {
        if Path::new(interpreter).file_name().is_none_or(|name| name != "env") || argument.is_empty() {
            return Ok(());
        }
        let split = argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string"));
        let wanted = match split {
            Some(rest) => {
                let words = rest.trim_start_matches('=').split_whitespace();
                words.into_iter().find(|word| !word.starts_with('-') && !word.contains('='))
            }
            None if argument.starts_with('-') || argument.contains('=') => None,
            None if argument.contains(char::is_whitespace) => {
                let argument = shown(argument);
                let what = format!("{subject} asks `env` for one program of the name `{argument}`");
                let fix = format!("begin {} with `#!{interpreter} -S {argument}`", host.display());
                return Err(Fault::new(what, fix));
            }
            None => Some(argument),
        };
        let Some(wanted) = wanted else { return Ok(()) };
        let by = format!("`{}`, which is to execute {subject},", shown(wanted));
        if wanted.contains('/') {
            return self.check(&by, Path::new(wanted), depth + 1);
        }
        self.find(&by, wanted, depth + 1).map(drop)
    }

    /// What keeps an argument from being the file that it seems to name; `None`: nothing, or it does
    /// not seem to.
    pub(crate) fn argument(&self, argument: &str) -> Option<Fault> {
        let path = Path::new(argument);
        if argument.starts_with('-') || argument.contains(char::is_whitespace) || argument.contains("://") {
            return None;
        }
        let is_script = path.extension().is_some_and(|extension| SCRIPTS.iter().any(|script| extension == *script));
        if !(is_script || path.is_absolute() && look(path).is_there()) {
            return None;
        }
        let subject = format!("the argument `{}`", shown(argument));
        match self.sight.follow(path) {
            Err(Obstacle::Missing { .. }) if !path.is_absolute() => {
                let work = if self.sight.sandboxed {
                    format!("`{}`", self.sight.work.display())
                } else {
                    "a directory of its own".to_owned()
                };
                let what = format!("{subject} is relative, and a run starts in {work}, where there is no such file");
                Some(Fault::new(what, format!("write its absolute path in {}", self.key("command"))))
            }
            Err(obstacle) => {
                let mut fault = self.obstacle(&subject, obstacle);
                if let Some(hidden) = &fault.hidden {
                    let mount = mount_for(hidden);
                    fault.fix = format!("add to [profiles.{}.local]: mounts = [{mount:?}]", self.profile);
                }
                Some(fault)
            }
            Ok(Seen::There { host, metadata, .. }) if metadata.is_file() && !self.sight.may_read(&host, &metadata) => {
                let what = format!("{subject} may not be read: {} has no right to", self.sight.who());
                Some(Fault::new(what, format!("chmod a+r {}", host.display())))
            }
            Ok(_) => None,
        }
    }

    /// What a script may miss: others of its kind beside it, which the run does not see. Not a fault
    /// as long as it does not need them.
    pub(crate) fn neighbours(&self, script: &str) -> Option<Fault> {
        let path = Path::new(script);
        let (dir, extension) = (path.parent()?, path.extension()?);
        let is_seen = |path: &Path| !matches!(self.sight.follow(path), Err(Obstacle::Missing { .. }));
        let is_script = SCRIPTS.iter().any(|script| extension == *script);
        if !(self.sight.sandboxed && is_script && path.is_absolute() && is_seen(path)) || mount_for(path) != dir {
            return None;
        }
        let beside = std::fs::read_dir(dir).ok()?.flatten().take(NEIGHBOURS_MAX).map(|entry| entry.path());
        let missed = beside.into_iter().find(|other| other.extension() == Some(extension) && !is_seen(other))?;
        let what = format!("of `{}` the sandbox shows `{script}`, but not `{}`", dir.display(), missed.display());
        let fix = format!("if it is needed, add to [profiles.{}.local]: mounts = [{dir:?}]", self.profile);
        Some(Fault::new(what, fix))
    }

    fn obstacle(&self, subject: &str, obstacle: Obstacle) -> Fault {
        match obstacle {
            Obstacle::Denied(path) => {
                let what =
                    format!("{subject} cannot be reached: {} may not pass `{}`", self.sight.who(), path.display());
                Fault::new(what, format!("chmod a+x {}", path.display()))
            }
            Obstacle::Circle(path) => {
                let what =
                    format!("{subject} cannot be reached: the link `{}` leads round in a circle", path.display());
                Fault::new(what, "correct the link")
            }
            Obstacle::Missing { path, link } => {
                let hidden = self.sight.sandboxed && look(&path).is_there();
                let there = path.display();
                let end = match (link, hidden) {
                    (Some(link), true) => {
                        format!("`{}` leads to `{there}`, which the sandbox does not see", link.display())
                    }
                    (Some(link), false) => {
                        format!("`{}` leads to `{there}`, and there is no such file", link.display())
                    }
                    (None, true) => {
                        format!("the sandbox does not see `{there}` of this machine, so there is no such file")
                    }
                    (None, false) => format!("there is no such file: `{there}`"),
                };
                let what = format!("{subject} is not found: {end}");
                let fix = format!("install it, or correct {}", self.key("command"));
                Fault { hidden: hidden.then_some(path), ..Fault::new(what, fix) }
            }
        }
    }
}

/// What to mount so that `path` is seen with what belongs to it, and no more than needed: a virtual
/// environment, an installation with its `bin`, the directory of a script; never a home as a whole.
fn mount_for(path: &Path) -> PathBuf {
    if let Some(venv) = path.ancestors().skip(1).find(|dir| seems_file(&dir.join(VENV))) {
        return venv.to_owned();
    }
    if seems_directory(path) {
        return path.to_owned();
    }
    let dir = path.parent().unwrap_or(path);
    let wanted = match dir.parent() {
        Some(prefix) if dir.ends_with("bin") && seems_directory(&prefix.join("lib")) => prefix,
        _ => dir,
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let too_much = wanted.components().count() <= 2
        || wanted.ends_with(".local")
        || wanted.ends_with(".local/bin")
        || home.is_some_and(|home| home.starts_with(wanted));
    if too_much { path.to_owned() } else { wanted.to_owned() }
}

#[cfg(test)]
mod tests;
