//! The commands in README.md and docs/, run as a reader would run them.
//!
//! A block opened by ```` ```sh test ```` is run by bash in a directory of its document, against a server of its own on
//! the local backend; `127.0.0.1:7420` becomes that server's address. `needs=NAME` skips the block, by name, where there
//! is no such program (`needs=python-MODULE`: no such Python module). A block ```` ```text output ```` after it is what
//! it prints on stdout. ```` ```LANGUAGE file=NAME ```` is written to that file. ```` ```LANGUAGE from=FILE ```` stands
//! in that file, line by line, but for the indentation. Every ```` ```toml ```` block is a configuration that loads;
//! ```` ```toml serve ```` is that of the page's server, in the directory of its document. A `cargo test` in backquotes
//! runs at least one test, and a `scripts/fuzz.sh` a target that exists.

#![allow(clippy::print_stderr, reason = "prints what is skipped")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use longshore::config::{Config, InstallationArgs, ServeArgs};
use rustix::process::{Pid, Signal, kill_process};

/// The address that the pages use.
const DOCUMENTED: &str = "127.0.0.1:7420";

/// `| of what | how many | each | together |`, and their sum.
fn memory_table(rows: &[longshore::grpc::BudgetRow]) -> (String, usize) {
    let size = |bytes: usize| match bytes {
        _ if bytes >= 1 << 20 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{} KiB", bytes >> 10),
    };
    let mut table = "| | how many | each | together |\n| --- | --- | --- | --- |\n".to_owned();
    for longshore::grpc::BudgetRow { what, count, each } in rows {
        table.push_str(&format!("| {what} | {count} | {} | {} |\n", size(*each), size(count * each)));
    }
    let sum = rows.iter().map(|row| row.count * row.each).sum();
    table.push_str(&format!("| **all** | | | **{}** |\n", size(sum)));
    (table, sum)
}

#[test]
fn what_the_daemon_can_take_is_in_the_page_and_below_the_charts_limit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let result_max = longshore::domain::run::profile::Limits::default().max_result_bytes;
    let (table, sum) = memory_table(&longshore::grpc::worst_case(2, 10_000, result_max));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    assert!(page.contains(&table), "docs/security.md must have this table:\n{table}");

    let values = std::fs::read_to_string(root.join("helm/longshore/values.yaml")).unwrap();
    let limits = values.lines().find_map(|line| line.strip_prefix("  limits: {cpu: \"2\", memory: ")).unwrap();
    let (limit, _) = limits.split_once("Mi,").expect("mebibytes");
    let limit = limit.parse::<usize>().unwrap() << 20;
    assert!(sum < limit, "{sum} bytes, and the chart gives {limit}");
}

/// A fenced block.
#[derive(Debug)]
struct Block {
    /// Where it begins, counted from 1.
    line: usize,
    /// The words after the fence.
    info: Vec<String>,
    text: String,
}

impl Block {
    fn is(&self, words: [&str; 2]) -> bool {
        self.info.starts_with(&words.map(str::to_owned))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.info.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(info), None) => {
                let info = info.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { line: index + 1, info, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block never ends: {open:?}");
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, by their path from the root.
fn pages() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)).to_vec();
    paths.extend(std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    paths.sort();
    let page = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, std::fs::read_to_string(path).unwrap())
    };
    paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")).map(page).collect()
}

/// A server of the binary, ended as an operator would end it.
struct Server {
    process: Child,
    address: String,
    /// Held open: a server whose log nobody reads must not be ended by that.
    _log: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Server {
    fn start(state: &Path, config: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.env_remove("LONGSHORE_CONFIG");
        if let Some(config) = config {
            command.env("LONGSHORE_CONFIG", config);
        }
        let mut process = command
            .args(["serve", "--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off"])
            .args(["--log-format", "json", "--state-dir"])
            .arg(state)
            .env("RUST_LOG", "longshore::app=info,error")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.by_ref().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).ok()?;
            (line["message"] == "serving").then(|| line["address"].as_str().unwrap().to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("the server ended before it served: {:?}", process.wait()));
        Self { process, address, _log: log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.process);
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.process.wait();
    }
}

fn is_there(needed: &str) -> bool {
    let mut command = match needed.strip_prefix("python-") {
        Some(module) => {
            let mut python = Command::new("python3");
            python.args(["-c", &format!("import {module}")]);
            python
        }
        None => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("command -v {needed}")]);
            shell
        }
    };
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs the block and gives its stdout.
fn run(block: &Block, page: &str, dir: &Path, address: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_longshore"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &block.text.replace(DOCUMENTED, address)])
        .current_dir(dir)
        .env("PATH", path)
        .env("LONGSHORE_SERVER", format!("http://{address}"))
        .env_remove("LONGSHORE_NAMESPACE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{page}:{}: {}\n{}\n{out}\n{err}", block.line, output.status, block.text);
    out.into_owned()
}

fn run_page(page: &str, blocks: &[Block]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let config = blocks.iter().find(|block| block.is(["toml", "serve"])).map(|block| {
        let path = work.join("longshore.toml");
        std::fs::write(&path, &block.text).unwrap();
        path
    });
    let server = Server::start(&dir.path().join("state"), config.as_deref());
    let mut ran = 0;
    for (index, block) in blocks.iter().enumerate() {
        if let Some(file) = block.value("file") {
            std::fs::write(work.join(file), block.text.replace(DOCUMENTED, &server.address)).unwrap();
        }
        if !block.is(["sh", "test"]) {
            continue;
        }
        if let Some(needed) = block.value("needs").filter(|needed| !is_there(needed)) {
            eprintln!("skipped: {page}:{} needs {needed}", block.line);
            continue;
        }
        let printed = run(block, page, &work, &server.address);
        ran += 1;
        if let Some(expected) = blocks.get(index + 1).filter(|next| next.is(["text", "output"])) {
            assert_eq!(printed, expected.text, "{page}:{}: this is not what is printed", expected.line);
        }
    }
    ran
}

#[test]
fn commands_in_the_pages_do_what_they_say() {
    let mut ran = 0;
    for (page, text) in pages() {
        let blocks = blocks(&text);
        if blocks.iter().any(|block| block.is(["sh", "test"])) {
            ran += run_page(&page, &blocks);
        }
    }
    assert!(ran > 0, "no page has a block to be run");
}

#[test]
fn excerpts_in_the_pages_stand_in_their_files() {
    let lines = |text: &str| -> Vec<String> { text.trim().lines().map(|line| line.trim().to_owned()).collect() };
    let mut compared = 0;
    for (page, text) in pages() {
        for block in blocks(&text) {
            let Some(file) = block.value("from") else { continue };
            let whole = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let (whole, part) = (lines(&whole), lines(&block.text));
            let is_part = whole.windows(part.len()).any(|window| window == part);
            assert!(is_part, "{page}:{}: these lines do not stand in {file}", block.line);
            compared += 1;
        }
    }
    assert!(compared > 0, "no page shows a part of a file");
}

#[test]
fn configurations_in_the_pages_load() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("longshore.toml");
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.info.first().is_some_and(|word| word == "toml")) {
            std::fs::write(&file, &block.text).unwrap();
            let installation = InstallationArgs { config: Some(file.clone()), ..InstallationArgs::default() };
            let args = ServeArgs { installation, ..ServeArgs::default() };
            if let Err(error) = Config::load(&args) {
                panic!("{page}:{}: {error}", block.line);
            }
        }
    }
}

#[test]
fn links_in_the_pages_lead_somewhere() {
    let mut dead = Vec::new();
    for (page, text) in pages() {
        let dir = root().join(&page).parent().unwrap().to_owned();
        let text = without_code(&text);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            let target = if target.is_empty() { root().join(&page) } else { dir.join(target) };
            let there = match anchor {
                "" => target.exists(),
                _ => std::fs::read_to_string(&target).is_ok_and(|text| headings(&text).any(|h| h == anchor)),
            };
            if !there {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// What stands in backquotes, but for blocks.
fn spans(text: &str) -> Vec<&str> {
    let mut block = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        let fence = line.starts_with("```");
        block ^= fence;
        if !block && !fence {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

/// The tests of all `.rs` files below `dir`, as `module::name`, for a crate whose root is there.
fn tests_below(dir: &Path, module: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        let module = if matches!(&*name, "lib" | "main") { module.to_owned() } else { format!("{module}{name}::") };
        if path.is_dir() {
            tests_below(&path, &module, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let (mut inline, mut is_test) = ("", false);
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                if line == "mod tests {" {
                    inline = "tests::";
                }
                let line = line.trim_start();
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let Some((name, _)) = function.and_then(|rest| rest.split_once('('))
                    && std::mem::take(&mut is_test)
                {
                    found.push(format!("{module}{inline}{name}"));
                }
            }
        }
    }
}

/// Why `cargo test` with these arguments runs no test, if it runs none.
fn why_no_test(arguments: &str) -> Option<String> {
    let mut dir = root().to_owned();
    let mut sources = None;
    let mut filter = None;
    let mut words = arguments.split_whitespace().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        match word {
            "-p" => {
                let package = words.next()?;
                let Some(name) = package.strip_prefix("longshore-") else { return Some(format!("no `{package}`")) };
                dir = root().join("crates").join(name);
            }
            "--lib" => sources = Some("src"),
            "--test" => match words.next()? {
                "it" => sources = Some("tests/it"),
                other => return Some(format!("`--test {other}` is not known here")),
            },
            "--locked" => {}
            _ if word.starts_with('-') => return Some(format!("`{word}` is not known here")),
            _ => filter = Some(word),
        }
    }
    let sources = dir.join(sources.unwrap_or("src"));
    if !sources.is_dir() {
        return Some(format!("no {}", sources.display()));
    }
    let mut tests = Vec::new();
    tests_below(&sources, "", &mut tests);
    let runs = tests.iter().any(|test| filter.is_none_or(|filter| test.contains(filter)));
    (!runs).then(|| format!("none of {} tests below {}", tests.len(), sources.display()))
}

#[test]
fn commands_that_the_pages_give_for_tests_run_some() {
    let mut empty = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for span in spans(&text) {
            let why = if let Some(arguments) = span.strip_prefix("cargo test ") {
                why_no_test(arguments)
            } else if let Some(words) = span.strip_prefix("scripts/fuzz.sh ") {
                let target = words.split(' ').nth(1).unwrap_or_default();
                let is_there = target == "TARGET" || root().join(format!("fuzz/fuzz_targets/{target}.rs")).is_file();
                (!is_there).then(|| "no such target".to_owned())
            } else {
                continue;
            };
            seen += 1;
            empty.extend(why.map(|why| format!("{page}: `{span}`: {why}")));
        }
    }
    assert!(seen > 25, "only {seen} commands");
    assert!(empty.is_empty(), "{}", empty.join("\n"));
}

/// The pages for developers, which name files without linking to them.
const DEVELOPERS: [&str; 4] = ["CONTRIBUTING.md", "docs/architecture.md", "docs/performance.md", "docs/recipes.md"];

/// Whether `path` is a file or directory of the repository, if it is one of those named that way: from the root, or
/// `crate/module`, without `src` and `.rs`.
fn is_in_the_repository(path: &str) -> Option<bool> {
    const FROM_THE_ROOT: [&str; 9] = ["crates", "deploy", "docs", "fuzz", "helm", "proto", "scripts", "src", "tests"];
    let (first, rest) = path.split_once('/')?;
    let (dir, path) = match first {
        "" => return None,
        _ if FROM_THE_ROOT.contains(&first) => (root().to_owned(), path),
        "app" => (root().join("src"), path),
        _ => (root().join("crates").join(first), rest),
    };
    if !dir.is_dir() {
        return None;
    }
    let sources = dir.join("src");
    let places =
        [dir.join(path), sources.join(path), dir.join(format!("{path}.rs")), sources.join(format!("{path}.rs"))];
    Some(places.iter().any(|place| place.exists()))
}

#[test]
fn paths_in_the_pages_for_developers_exist() {
    let mut gone = Vec::new();
    let mut seen = 0;
    for (page, text) in pages().into_iter().filter(|(page, _)| DEVELOPERS.contains(&page.as_str())) {
        for (index, line) in text.lines().enumerate() {
            let is_of_a_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-');
            for path in line.split(|c| !is_of_a_path(c)) {
                let path = path.trim_end_matches('.');
                match is_in_the_repository(path) {
                    Some(true) => seen += 1,
                    Some(false) => gone.push(format!("{page}:{}: {path}", index + 1)),
                    None => {}
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} paths");
    assert!(gone.is_empty(), "{}", gone.join("\n"));
}

/// The text without blocks and spans of code.
fn without_code(text: &str) -> String {
    let mut block = false;
    let mut kept = String::new();
    for line in text.lines() {
        let fence = line.starts_with("```");
        block ^= fence;
        if !block && !fence {
            kept.extend(line.split('`').step_by(2));
            kept.push('\n');
        }
    }
    kept
}

/// The anchors of a page's headings, as forges make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}
