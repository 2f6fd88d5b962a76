//! Programs of Python need more than their own file: a virtual environment whole, the installation
//! with its library. Without, they start and fail of something that does not say why.

use std::path::{Path, PathBuf};

use super::super::sight::{Obstacle, Seen};
use super::{Fault, Look};
use crate::sys::file::seems_file;
use crate::sys::look;

/// Where Python notes that a directory is a virtual environment.
pub(super) const VENV: &str = "pyvenv.cfg";
/// A file of every library of Python.
const LANDMARK: &str = "os.py";

impl Look<'_> {
    /// Whether what belongs to the program at `path`, if it is one of Python's, is seen with it.
    pub(super) fn check_python(&self, subject: &str, path: &Path) -> Result<(), Fault> {
        self.check_venv(subject, path)?;
        self.check_installation(subject, path)
    }

    /// A program of a virtual environment needs all of it, and the Python that it was made with.
    fn check_venv(&self, subject: &str, path: &Path) -> Result<(), Fault> {
        let Some(venv) = prefix_of(path).filter(|venv| seems_file(&venv.join(VENV))) else { return Ok(()) };
        let there = venv.display();
        if matches!(self.sight.follow(&venv.join(VENV)), Err(Obstacle::Missing { .. })) {
            let what = format!(
                "{subject} is part of the virtual environment `{there}`, which the sandbox does not see: no such file or directory there"
            );
            return Err(self.hidden(what, venv.to_owned()));
        }
        let Some(home) = std::fs::read_to_string(venv.join(VENV)).ok().as_deref().and_then(home_of) else {
            return Ok(());
        };
        match self.sight.follow(&home) {
            Err(Obstacle::Missing { .. }) if self.sight.sandboxed && look(&home).is_there() => {
                let what = format!(
                    "{subject} is part of the virtual environment `{there}`, whose Python in `{}` the sandbox does not see",
                    home.display()
                );
                Err(self.hidden(what, home.join("python")))
            }
            Err(Obstacle::Missing { .. }) => {
                let what = format!(
                    "{subject} is part of the virtual environment `{there}`, and its Python is gone: no such directory `{}`",
                    home.display()
                );
                Err(Fault::new(what, format!("make it again: python3 -m venv --clear {there}")))
            }
            Err(obstacle @ Obstacle::Denied(_)) => Err(self.obstacle(subject, obstacle)),
            Err(Obstacle::Circle(_)) | Ok(_) => Ok(()),
        }
    }

    /// Python finds its library beside its own file.
    fn check_installation(&self, subject: &str, path: &Path) -> Result<(), Fault> {
        let is_python = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("python"))
        };
        let Ok(Seen::There { host, .. }) = self.sight.follow(path) else { return Ok(()) };
        // What is mounted elsewhere than it is on the machine may have its library with it.
        let (Ok(real), Ok(same)) = (host.canonicalize(), path.canonicalize()) else { return Ok(()) };
        let Some(prefix) = prefix_of(&real).filter(|_| real == same && is_python(&real)) else { return Ok(()) };
        let Some(library) = library_of(prefix) else { return Ok(()) };
        // It looks for it from its own place upwards, so it may come upon the system's.
        let is_seen = |above: &Path| {
            let landmark = above.join("lib").join(&library).join(LANDMARK);
            !matches!(self.sight.follow(&landmark), Err(Obstacle::Missing { .. }))
        };
        if prefix.ancestors().any(is_seen) {
            return Ok(());
        }
        let prefix = prefix.display();
        let what = format!("{subject} is part of the Python in `{prefix}`, whose library the sandbox does not see");
        Err(self.hidden(what, real.clone()))
    }

    fn hidden(&self, what: String, path: PathBuf) -> Fault {
        let fault = Fault::new(what, format!("mount it by {}", self.key("mounts"))).certain();
        Fault { hidden: Some(path), ..fault }
    }
}

/// The directory that has this program in its `bin`.
fn prefix_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|dir| dir.ends_with("bin")).and_then(Path::parent)
}

/// Name of the library of the Python that is installed at `prefix`: `python3.12`.
fn library_of(prefix: &Path) -> Option<String> {
    let entries = std::fs::read_dir(prefix.join("lib")).ok()?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_library =
        |name: &String| name.starts_with("python") && seems_file(&prefix.join("lib").join(name).join(LANDMARK));
    names.into_iter().find(is_library)
}

/// `home` of a `pyvenv.cfg`: the directory of the Python that it was made with.
fn home_of(text: &str) -> Option<PathBuf> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "home").then(|| value.trim())
    });
    value.map(PathBuf::from).filter(|home| home.is_absolute())
}
