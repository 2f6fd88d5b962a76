//! Holds the direction of the arrows between crates, and what Cargo can't hold: parts of a crate that only some
//! may name, and the one place that makes statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// For each crate those of this repository that it may name. A crate that is not here is new: add it.
const MAY_NAME: [(&str, &[&str]); 15] = [
    ("reader", &[]),
    ("text", &[]),
    ("domain", &["reader", "text"]),
    ("runtime", &[]),
    ("api", &["reader"]),
    ("backend", &["domain"]),
    ("kubernetes", &["backend", "domain", "runtime", "text"]),
    ("local", &["backend", "domain", "runtime"]),
    ("engine", &["backend", "domain", "runtime"]),
    ("sqlite", &[]),
    ("sql", &["sqlite", "text"]),
    ("config", &["domain", "runtime", "sql", "text"]),
    ("grpc", &["api", "backend", "domain", "engine", "runtime", "text"]),
    ("client", &["api"]),
    ("cli", &["api", "client", "config", "domain", "runtime", "text"]),
];

/// What the command line may name of the domain: the reader of results with a word of its rule, and ids of runs.
const CLI_NAMES: [&str; 3] = ["result", "run::spec::ResultScan", "name::RunId"];

/// The rooms of each crate, by noun, and what stands beside them: one may name those to its left.
const ROOMS: [(&str, &[&str]); 6] = [
    ("domain", &["notation", "name", "page", "selector", "access", "log", "result", "run"]),
    ("kubernetes", &["api", "run", "log", "doctor", "release"]),
    (
        "local",
        &[
            "blocking",
            "sys",
            "sandbox",
            "metrics",
            "run",
            "log",
            "config",
            "capabilities",
            "shim",
            "doctor",
            "roles",
            "open",
        ],
    ),
    // `Engine` itself is the crate's root: each use case adds a method to it.
    ("engine", &["error", "reconnect", "access", "reconcile", "observed", "metrics", "log", "result", "run", "engine"]),
    ("grpc", &["wire", "status", "server", "run", "info"]),
    ("cli", &["terminal", "exit", "client", "run", "server"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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

#[test]
fn arrows_point_one_way() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let manifest = std::fs::read_to_string(root().join("crates").join(&name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let Some((_, allowed)) = MAY_NAME.iter().find(|(of, _)| *of == name) else {
            wrong.push(format!("crate `{name}` has no row in MAY_NAME"));
            continue;
        };
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let ours = dependencies.keys().filter_map(|dependency| dependency.strip_prefix("longshore-"));
        wrong.extend(ours.filter(|it| !allowed.contains(it)).map(|it| format!("crate `{name}` may not name `{it}`")));
        seen.insert(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let gone: Vec<_> = MAY_NAME.iter().map(|(name, _)| *name).filter(|name| !seen.contains(*name)).collect();
    assert!(gone.is_empty(), "rows of MAY_NAME without a crate: {gone:?}");
}

#[test]
fn a_room_names_those_to_its_left() {
    let mut wrong = Vec::new();
    for (name, rooms) in ROOMS {
        let dir = root().join("crates").join(name).join("src");
        let mut files = Vec::new();
        sources(&dir, &mut files);
        for (at, room) in rooms.iter().enumerate() {
            let own: Vec<_> = files
                .iter()
                .filter(|file| **file == dir.join(room).with_extension("rs") || file.starts_with(dir.join(room)))
                .filter(|file| !file.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")))
                .collect();
            assert!(!own.is_empty(), "crate `{name}` has no room `{room}`");
            for file in own {
                let text = std::fs::read_to_string(file).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                // In the room's own file the crate is its parent.
                let is_door = *file == dir.join(room).with_extension("rs");
                let code = if is_door { code.replace("super::", "crate::") } else { code.to_owned() };
                let groups = code.match_indices("crate::{").filter_map(|(at, head)| code.get(at + head.len()..));
                let items = groups.filter_map(|rest| rest.split('}').next()).flat_map(|group| group.split(','));
                let grouped: Vec<_> = items.filter_map(|item| item.trim().split("::").next()).collect();
                for right in rooms.get(at + 1..).unwrap() {
                    if code.contains(&format!("crate::{right}::")) || grouped.contains(right) {
                        wrong.push(format!("{}: `{room}` may not name `{right}`", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The types that a file defines, but for those of its tests.
fn types_of(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    code.lines().filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let rest = ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| line.strip_prefix(kind))?;
        rest.split(|c: char| !c.is_alphanumeric()).next()
    })
}

#[test]
fn a_type_name_stands_once() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("crates"), &mut files);
    let mut defined: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let path = file.strip_prefix(root()).unwrap();
        let is_tests = |part: &str| part.starts_with("test") || part == "benches";
        if path.components().any(|part| is_tests(&part.as_os_str().to_string_lossy())) {
            continue;
        }
        for name in types_of(&std::fs::read_to_string(&file).unwrap()) {
            defined.entry(name.to_owned()).or_default().push(path.to_owned());
        }
    }
    assert!(defined.len() > 300, "only {} types", defined.len());
    defined.retain(|_, files| files.len() > 1);
    assert!(defined.is_empty(), "the noun's room has the bare name, others say what theirs is of: {defined:#?}");
}

#[test]
fn a_program_that_uses_a_server_gets_little() {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--locked", "--offline", "--package", "longshore", "--edges", "normal", "--prefix", "none"]);
    cargo.args(["--no-default-features", "--features", "client", "--format", "{p}"]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<_> = crates.lines().filter_map(|line| line.split(' ').next()).collect();
    let ours: Vec<_> = crates.iter().filter_map(|name| name.strip_prefix("longshore-")).collect();
    assert_eq!(ours, ["api", "client", "domain", "reader", "text"]);
    // axum comes of the features of tonic, which stand once for server and client.
    let too_much: Vec<_> = ["kube", "k8s-openapi", "sqlx", "clap", "libsqlite3-sys"]
        .into_iter()
        .filter(|name| crates.contains(name))
        .collect();
    assert!(too_much.is_empty() && crates.contains("tonic"), "{too_much:?} in {crates:?}");
}

#[test]
fn the_command_line_names_little_of_the_domain() {
    const DOMAIN: &str = "longshore_domain::";
    let mut files = Vec::new();
    sources(&root().join("crates/cli/src"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices(DOMAIN) {
            let path = text.get(at + DOMAIN.len()..).unwrap();
            if !CLI_NAMES.iter().any(|allowed| path.starts_with(allowed)) {
                let path: String = path.chars().take_while(|c| *c != ';' && *c != '\n').collect();
                wrong.push(format!("{}: {DOMAIN}{path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_file_makes_statuses() {
    const CONSTRUCTORS: [&str; 5] =
        ["Status::new(", "Status::with_", "Status::internal(", "Status::not_found(", "Status::invalid_"];
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("crates"), &mut files);
    let makes = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        CONSTRUCTORS.iter().any(|constructor| text.contains(constructor))
    };
    let statuses = root().join("crates/grpc/src/status");
    let is_there = |file: &PathBuf| file.with_extension("").starts_with(&statuses);
    // So that a move does not make this test one of nothing.
    assert!(files.iter().any(|file| is_there(file) && makes(file)));
    // Clients say so too when they can't call at all, and the tests of one play a server.
    let clients = ["crates/cli", "crates/client"].map(|of| root().join(of));
    let is_clients = |file: &PathBuf| clients.iter().any(|client| file.starts_with(client));
    let outside: Vec<_> = files.iter().filter(|file| makes(file) && !is_there(file) && !is_clients(file)).collect();
    assert!(outside.is_empty(), "{outside:?}");
}
