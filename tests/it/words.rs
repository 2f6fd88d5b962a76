//! Holds that no word to avoid (docs/glossary.md) stands in names, messages, comments or pages.

use std::path::{Path, PathBuf};

/// Where words are looked for: all `.rs`, `.md` and `.proto` files below these, and these themselves.
const PLACES: [&str; 10] = [
    "crates",
    "src",
    "tests/it",
    "tests/support",
    "fuzz/src",
    "fuzz/fuzz_targets",
    "docs",
    "proto/longshore",
    "README.md",
    "CONTRIBUTING.md",
];
/// Names the words, so it has them.
const GLOSSARY: &str = "docs/glossary.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|e| e == "rs" || e == "md" || e == "proto") {
        found.push(path.to_owned());
    }
}

/// The words of a line in lower case, those within names apart.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in line.chars() {
        let begins = !letter.is_alphabetic() || (letter.is_uppercase() && before.is_lowercase());
        if begins {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What stands in backquotes in the first column of the table below "Words to avoid".
fn avoided() -> Vec<String> {
    let page = std::fs::read_to_string(root().join(GLOSSARY)).unwrap();
    let (_, below) = page.split_once("### Words to avoid").expect("the table");
    let (table, _) = below.split_once("### ").expect("its end");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn no_word_to_avoid_is_used() {
    let avoided = avoided();
    assert!(avoided.len() > 5, "{avoided:?}");
    let mut found = Vec::new();
    for place in PLACES {
        files(&root().join(place), &mut found);
    }
    let mut used = Vec::new();
    for path in found {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if name == GLOSSARY || name.contains("/target/") {
            continue;
        }
        for (index, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let words = words(line);
            if let Some(word) = avoided.iter().find(|word| words.contains(word)) {
                used.push(format!("{name}:{}: `{word}`", index + 1));
            }
        }
    }
    assert!(used.is_empty(), "docs/glossary.md has better words:\n{}", used.join("\n"));
}
