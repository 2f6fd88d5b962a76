//! Holds the direction of the arrows between modules: who may name whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// For each top-level module the ones that it may name. A module that is not here is new: add it.
const MAY_NAME: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("proto", &["domain"]),
    ("runtime", &[]),
    ("sys", &["domain"]),
    ("backend", &["domain", "runtime", "sys"]),
    ("engine", &["domain", "backend", "runtime"]),
    ("grpc", &["domain", "engine", "backend", "proto", "runtime"]),
    ("config", &["domain", "runtime", "runner"]),
    ("runner", &["domain", "sys"]),
    ("app", &["domain", "backend", "engine", "grpc", "config", "runner", "runtime", "proto", "sys"]),
    ("cli", &["proto", "config", "runtime", "domain"]),
];

/// Modules of which only some parts may be named: the reader of results with a word of its rule, and ids of runs.
const ONLY: [(&str, &str, &[&str]); 2] = [
    ("cli", "domain", &["domain::result", "domain::spec::ResultScan", "domain::name::RunId"]),
    ("proto", "domain", &["domain::result"]),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// What follows `crate::` in the code of this file, comments left out.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names = BTreeSet::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            names.insert(path);
        }
    }
    names
}

#[test]
fn arrows_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module `{module}` has no row in MAY_NAME", relative.display()));
            continue;
        };
        for path in named(&std::fs::read_to_string(&file).unwrap()) {
            let target = path.split("::").next().unwrap_or_default();
            let inside = target == module || target.is_empty();
            let narrowed = ONLY.iter().find(|(from, to, _)| *from == module && *to == target);
            let too_wide = narrowed.is_some_and(|(_, _, only)| !only.iter().any(|only| path.starts_with(only)));
            if !inside && (!allowed.contains(&target) || too_wide) {
                wrong.push(format!("{}: may not name crate::{path}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_file_makes_statuses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let makes = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        let constructors =
            ["Status::new(", "Status::with_", "Status::internal(", "Status::not_found(", "Status::invalid_"];
        constructors.iter().any(|constructor| text.contains(constructor))
    };
    let outside = files.iter().filter(|file| makes(file) && !file.to_string_lossy().contains("grpc/status"));
    // The client's tests play a server.
    let outside: Vec<_> = outside.filter(|file| !file.components().any(|c| c.as_os_str() == "cli")).collect();
    assert!(outside.is_empty(), "{outside:?}");
}
