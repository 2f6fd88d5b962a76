//! From the text of the file to what is typed in it, with everything that is wrong at once.
//!
//! A key that there is not, or a value of the wrong type, is reported and taken out; what is left is
//! read again, so that one mistake hides no other. Knows TOML, not what the keys mean.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::file::ConfigFile;
use longshore_text::nearest;

/// Most faults of this kind that are looked for: each needs another reading.
const FAULTS_MAX: usize = 100;

/// Something wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Line in the file, from 1; `None` if it is not there, or comes from a flag.
    pub line: Option<usize>,
    /// Path of the key, such as `profiles.report.kubernetes.image`; empty for broken TOML.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl std::fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Typed<'i> {
    /// What could be read.
    pub(super) file: ConfigFile,
    /// What is wrong with the rest.
    pub(super) faults: Vec<ConfigFault>,
    /// Keys for which a wrong one may have been meant: that they are missing is the same fault.
    meant: Vec<String>,
    /// Whether the file is TOML at all.
    pub(super) is_toml: bool,
    text: &'i str,
    table: DeTable<'i>,
}

impl<'i> Typed<'i> {
    /// Reads `text`.
    pub(super) fn read(text: &'i str) -> Self {
        let (mut root, errors) = DeTable::parse_recoverable(text);
        let table = root.get_ref().clone();
        let is_toml = errors.is_empty();
        let mut typed =
            Self { file: ConfigFile::default(), faults: Vec::new(), meant: Vec::new(), is_toml, text, table };
        for error in errors {
            let line = error.span().map(|span| typed.line_at(span.start));
            // One mistake may break several rules of the grammar.
            if typed.faults.iter().all(|fault| fault.line != line) {
                let message = format!("is not TOML: {}", error.message());
                typed.faults.push(ConfigFault { line, key: String::new(), message });
            }
        }
        while typed.is_toml && typed.faults.len() < FAULTS_MAX {
            match ConfigFile::deserialize(Deserializer::from(root.clone())) {
                Ok(file) => {
                    typed.file = file;
                    break;
                }
                Err(error) => typed.take_out(root.get_mut(), &error),
            }
        }
        typed
    }

    /// Reports `error` and removes what it is about.
    fn take_out(&mut self, root: &mut DeTable<'i>, error: &toml::de::Error) {
        let place = error.span().and_then(|span| place_of(root, &span).map(|path| (span, path)));
        let Some((span, path)) = place else {
            // Nothing can be taken out, so nothing is read again.
            let message = error.message().to_owned();
            self.faults.push(ConfigFault { line: None, key: String::new(), message });
            root.clear();
            return;
        };
        let key = shown(&path);
        let message = match unknown(error.message()) {
            None => plain(error.message()),
            Some((wrong, known)) => match nearest(wrong, known.iter().copied()) {
                Some(near) => {
                    self.meant.push(match key.rsplit_once('.') {
                        Some((table, _)) => format!("{table}.{near}"),
                        None => near.to_owned(),
                    });
                    format!("is not a key here; did you mean `{near}`?")
                }
                None => format!("is not a key here; expected one of {}", known.join(", ")),
            },
        };
        self.faults.push(ConfigFault { line: Some(self.line_at(span.start)), key, message });
        remove(root, &path);
    }

    /// The fault of the value at `key`, with its line; `None` if it only follows from a fault that
    /// is reported already.
    pub(super) fn fault_at(&self, key: String, message: String) -> Option<ConfigFault> {
        let same = |other: &str| key == other || starts_path(other, &key) || starts_path(&key, other);
        if self.faults.iter().any(|fault| same(&fault.key)) || self.meant.contains(&key) {
            return None;
        }
        let line = line_of(&self.table, &key).map(|at| self.line_at(at));
        Some(ConfigFault { line, key, message })
    }

    fn line_at(&self, at: usize) -> usize {
        1 + self.text.get(..at).map_or(0, |before| before.matches('\n').count())
    }
}

/// Whether `path` lies below `above`.
fn starts_path(above: &str, path: &str) -> bool {
    !above.is_empty() && path.strip_prefix(above).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// A step from a table to what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PathStep {
    Key(String),
    Index(usize),
}

fn shown(path: &[PathStep]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            PathStep::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            PathStep::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// The entry that `span` is about: the one whose key it is, else the innermost one around it.
fn place_of(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<PathStep>> {
    let mut best: Option<(usize, Vec<PathStep>)> = None;
    visit(table, &mut Vec::new(), &mut |path, key, value| {
        let size = if key == *span {
            0
        } else if value.start <= span.start && span.end <= value.end {
            1 + value.len()
        } else {
            return;
        };
        // Of two that are as small the later one lies deeper.
        if best.as_ref().is_none_or(|(smallest, _)| size <= *smallest) {
            best = Some((size, path.to_vec()));
        }
    });
    best.map(|(_, path)| path)
}

fn visit(
    table: &DeTable<'_>,
    path: &mut Vec<PathStep>,
    seen: &mut impl FnMut(&[PathStep], Range<usize>, Range<usize>),
) {
    for (key, value) in table {
        path.push(PathStep::Key(key.get_ref().clone().into_owned()));
        seen(path, key.span(), value.span());
        visit_value(value, path, seen);
        path.pop();
    }
}

fn visit_value(
    value: &Spanned<DeValue<'_>>,
    path: &mut Vec<PathStep>,
    seen: &mut impl FnMut(&[PathStep], Range<usize>, Range<usize>),
) {
    match value.get_ref() {
        DeValue::Table(table) => visit(table, path, seen),
        DeValue::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                path.push(PathStep::Index(index));
                visit_value(value, path, seen);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Removes the entry at `path`, which ends in a key.
fn remove(table: &mut DeTable<'_>, path: &[PathStep]) {
    let [PathStep::Key(key), rest @ ..] = path else { return };
    if rest.is_empty() {
        table.remove(key.as_str());
        return;
    }
    let Some(mut value) = table.get_mut(key.as_str()) else { return };
    let mut rest = rest;
    while let [PathStep::Index(index), more @ ..] = rest {
        let DeValue::Array(list) = value.get_mut() else { return };
        let Some(element) = list.get_mut(*index) else { return };
        (value, rest) = (element, more);
    }
    if let DeValue::Table(inner) = value.get_mut() {
        remove(inner, rest);
    }
}

/// Where `key` stands, or the nearest table above it that does.
fn line_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    // A key may have dots of its own: the longest that is there is meant.
    let ends = [key.len()].into_iter().chain(key.rmatch_indices(['.', '[']).map(|(at, _)| at));
    let mut found = ends.filter_map(|end| table.get_key_value(key.get(..end)?).map(|entry| (end, entry)));
    let (end, (name, mut value)) = found.next()?;
    let mut at = name.span().start;
    let mut rest = key.get(end..).unwrap_or_default();
    while let Some((index, more)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let element = index.parse::<usize>().ok().and_then(|index| value.get_ref().as_array()?.get(index));
        let Some(element) = element else { return Some(at) };
        (at, value, rest) = (element.span().start, element, more);
    }
    match (value.get_ref().as_table(), rest.strip_prefix('.')) {
        (Some(inner), Some(rest)) => line_of(inner, rest).or(Some(at)),
        _ => Some(at),
    }
}

/// serde's message without words of our code.
fn plain(message: &str) -> String {
    let wrong = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "i64" => "a whole number",
        "usize" => "a whole number that is not negative",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "path string" => "a path",
        "a map" => "a table",
        structure if structure.starts_with("struct ") => "a table",
        other => other,
    };
    format!("is not {expected}, but {found}")
}

/// The key that serde's message says is unknown, and all known ones.
fn unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let (wrong, known) = message.strip_prefix("unknown field `")?.split_once('`')?;
    Some((wrong, known.split('`').skip(1).step_by(2).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(usize, String, String)> {
        let typed = Typed::read(text);
        typed.faults.into_iter().map(|fault| (fault.line.unwrap_or(0), fault.key, fault.message)).collect()
    }

    #[test]
    fn every_key_that_there_is_not_and_every_wrong_type() {
        let text = r#"lisen = "127.0.0.1:1"
insecure_no_auth = "yes"

[limits]
max_run_timout = "1h"
default_user = "root"

[profiles.x.kubernetes]
imag = "i"
args = ["a", 1]

[profiles.x.defaults]
volumes = [{ volume = "v", mount = "/m" }]

[[authorization.rules]]
users = ["a"]
[[authorization.rules]]
user = ["b"]
zzz = 1
"#;
        let mut found = faults(text);
        found.sort();
        let wanted = [
            (1, "lisen", "is not a key here; did you mean `listen`?"),
            (2, "insecure_no_auth", "is not `true` or `false`, but string \"yes\""),
            (5, "limits.max_run_timout", "is not a key here; did you mean `max_run_timeout`?"),
            (6, "limits.default_user", "is not a whole number, but string \"root\""),
            (9, "profiles.x.kubernetes.imag", "is not a key here; did you mean `image`?"),
            (10, "profiles.x.kubernetes.args", "is not a string, but integer `1`"),
            (13, "profiles.x.defaults.volumes[0].mount", "is not a key here; did you mean `mount_path`?"),
            (18, "authorization.rules[1].user", "is not a key here; did you mean `users`?"),
            (
                19,
                "authorization.rules[1].zzz",
                "is not a key here; expected one of users, groups, namespaces, verbs, profiles",
            ),
        ];
        let wanted = wanted.map(|(line, key, message)| (line, key.to_owned(), message.to_owned()));
        assert_eq!(found, wanted, "{found:#?}");
    }

    #[test]
    fn types_are_named_as_the_file_has_them() {
        let text =
            "listen = 5\nlimits = 3\n[profiles]\nx = \"y\"\n[volumes.v]\nread_only = 1\n[local]\nstate_dir = 1\n";
        let mut found = faults(&format!("{text}[tls]\ncert_file = []\n[authorization]\nrules = \"all\"\n"));
        found.sort();
        for ((line, key, message), wanted) in found.iter().zip([
            "is not a string, but integer `5`",
            "is not a table, but integer `3`",
            "is not a table, but string \"y\"",
            "is not `true` or `false`, but integer `1`",
            "is not a path, but integer `1`",
            "is not a path, but sequence",
            "is not a list, but string \"all\"",
        ]) {
            assert_eq!(message, wanted, "{line}: {key}");
        }
        assert_eq!(found.len(), 7, "{found:?}");
    }

    #[test]
    fn what_is_no_toml_is_reported_once_a_line() {
        let mut found = faults("listen = \n[limits\nbackend = \"local\"\n");
        found.sort();
        let lines: Vec<_> = found.iter().map(|fault| fault.0).collect();
        assert_eq!(lines, [1, 2], "{found:?}");
        assert!(!Typed::read("listen = \n").is_toml);
    }

    #[test]
    fn a_fault_that_follows_from_another_is_not_reported() {
        let typed = Typed::read("[profiles.x.kubernetes]\nimag = \"i\"\n[limits]\nmax_user = \"x\"\n[tls]\n");
        let at = |key: &str| typed.fault_at(key.to_owned(), String::new()).map(|fault| fault.line);
        for follows in ["profiles.x.kubernetes.image", "profiles.x", "limits.max_user", "limits.max_user.x"] {
            assert_eq!(at(follows), None, "{follows}");
        }
        assert_eq!(at("tls.cert_file"), Some(Some(5)));
        assert_eq!(at("nowhere"), Some(None));
        assert_eq!(at("profiles.x.kubernetes.args"), Some(Some(1)));
    }

    #[test]
    fn keys_with_dots_are_found() {
        let typed = Typed::read("[limits.max_limits]\n\"example.com/gpu\" = \"1\"\nmemory = \"2\"\n");
        let at = |key: &str| typed.fault_at(key.to_owned(), String::new()).unwrap().line;
        assert_eq!(at("limits.max_limits.example.com/gpu"), Some(2));
        assert_eq!(at("limits.max_limits.memory"), Some(3));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-z\\[\\]=\\.\"'{}, \n0-9]{0,60}", key in "[a-z\\[\\]0-9.]{0,20}") {
            let typed = Typed::read(&text);
            let _ = typed.fault_at(key, String::new());
        }
    }
}
