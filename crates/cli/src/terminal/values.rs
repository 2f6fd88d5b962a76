//! What is typed as the value of an option: durations, pairs, inputs, files.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::terminal::error::CliError;
use longshore_api::v1 as pb;

/// What is read of a file or of stdin at most: the server takes 900 KiB, and its words are better than ours, but nothing
/// is gained by reading gigabytes for it.
const READ_MAX: u64 = 8 << 20;

/// `30s`, `5m`, `1h30m`, `7d`: at least zero, and a day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<prost_types::Duration, String> {
    let wrong = |why: &str| format!("{why}: expected a duration such as 30s, 5m, 1h30m or 7d");
    let span: Span = text.parse().map_err(|_| wrong("not a duration"))?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong("not a fixed duration"))?;
    if span.is_negative() {
        return Err(wrong("negative"));
    }
    Ok(prost_types::Duration { seconds: span.as_secs(), nanos: span.subsec_nanos() })
}

/// A clock of a run, with the words in which it was given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClockArg {
    typed: String,
    pub(crate) wire: prost_types::Duration,
}

impl ClockArg {
    /// Reads it; see [`duration`]. The server would round a fraction of a second up.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wire = duration(text)?;
        if wire.nanos != 0 {
            return Err("a run's clocks have no fractions of a second: expected whole seconds, such as 2s".to_owned());
        }
        Ok(Self { typed: text.to_owned(), wire })
    }

    /// As it was typed.
    pub(crate) fn typed(&self) -> &str {
        &self.typed
    }
}

/// As [`duration`], for a clock of our own.
pub(crate) fn local_duration(text: &str) -> Result<std::time::Duration, String> {
    let wire = duration(text)?;
    std::time::Duration::try_from(wire).map_err(|_| "longer than this machine can measure".to_owned())
}

/// How many lines or runs: a whole number, 0 or more.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    let wrong = || format!("expected a whole number from 0 to {}", u32::MAX);
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().map_err(|_| wrong()) } else { Err(wrong()) }
}

/// Number of an attempt: 1 or more.
pub(crate) fn attempt(text: &str) -> Result<i32, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected the number of an attempt, from 1".to_owned())
}

/// Numeric id of a user or group. Which ids are allowed, the server says.
pub(crate) fn numeric_id(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "expected a numeric id such as 1000; names are not known in the run".to_owned())
}

/// A point in time: how long ago (`10m`), or when (`2026-01-31T12:00:00Z`).
pub(crate) fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = local_duration(text)
        .map_err(|_| "expected how long ago, such as 10m, or when, such as 2026-01-31T12:00:00Z".to_owned())?;
    Timestamp::now().checked_sub(ago).map_err(|_| "too long ago".to_owned())
}

/// `key=value`; the value may hold more `=`, and be empty.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// What is typed, which must not be empty: mostly a variable of a shell that is not set.
pub(crate) fn not_empty(text: &str) -> Result<String, String> {
    match text {
        "" => {
            Err("it is empty, as a shell's variable is that is not set; leave the flag out, or give it a value".into())
        }
        text => Ok(text.to_owned()),
    }
}

/// Pairs as a map. A key that is there twice is refused, since one of the values would be lost.
pub(crate) fn map<'a, M>(flag: &str, pairs: impl IntoIterator<Item = &'a (String, String)>) -> Result<M, CliError>
where
    M: Default + Extend<(String, String)>,
{
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(other) = seen.insert(key, value) {
            return Err(CliError::usage(format!(
                "{flag} {key} is given twice, as `{other}` and as `{value}`; give each key once"
            )));
        }
    }
    let mut map = M::default();
    map.extend(seen.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(map)
}

/// A number of bytes: `65536`, `64Ki`, `4Mi`, `1Gi`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
    let unit = units.into_iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)));
    let (number, unit) = unit.unwrap_or((text, 1));
    let number: usize =
        number.parse().map_err(|_| "expected a number of bytes such as 65536, 64Ki or 4Mi".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a size above 0 that this machine can hold".to_owned())
}

/// The bytes that an argument stands for: `-` is stdin, `@path` a file, anything else the bytes themselves.
pub(crate) fn content(text: &str, stdin: impl Read) -> Result<Vec<u8>, CliError> {
    let read = |source: &mut dyn Read, what: &str| {
        let mut bytes = Vec::new();
        match source.take(READ_MAX + 1).read_to_end(&mut bytes) {
            Err(error) => Err(CliError::usage(format!("{what} cannot be read: {error}"))),
            Ok(_) if bytes.len() as u64 > READ_MAX => {
                Err(CliError::usage(format!("{what} is larger than {READ_MAX} bytes: no run takes that much")))
            }
            Ok(_) => Ok(bytes),
        }
    };
    if text == "-" {
        let mut stdin = stdin;
        return read(&mut stdin, "stdin");
    }
    let Some(path) = text.strip_prefix('@') else { return Ok(text.as_bytes().to_vec()) };
    if path.is_empty() {
        return Err(CliError::usage("`@` has no file name: expected @FILE, or - for stdin"));
    }
    let mut file =
        std::fs::File::open(path).map_err(|error| CliError::usage(format!("`{path}` cannot be read: {error}")))?;
    read(&mut file, &format!("`{path}`"))
}

/// `path[:target]`: a file of this machine, and where it is laid in the run. Without a target it keeps its bare name.
/// A file that is executable here is so there. A colon is a file name's own where there is a file of that name and none
/// of what is before the colon.
pub(crate) fn file(text: &str) -> Result<pb::File, CliError> {
    let is_there = |path: &str| std::fs::metadata(path).is_ok();
    let parts = text.rsplit_once(':').filter(|(path, target)| !path.is_empty() && !target.is_empty());
    let (path, target) = match parts.filter(|(path, _)| is_there(path) || !is_there(text)) {
        Some((path, target)) => (path, target.to_owned()),
        None => (text, base_name(text)?),
    };
    let wrong = |error: std::io::Error| {
        let split = match parts {
            Some((path, target)) if path.len() < text.len() => {
                format!("; `{text}` was read as PATH:TARGET, to be laid at `{target}`")
            }
            _ => String::new(),
        };
        CliError::usage(format!("--file `{path}` cannot be read: {error}{split}"))
    };
    let metadata = std::fs::metadata(path).map_err(wrong)?;
    if metadata.is_dir() {
        return Err(CliError::usage(format!("--file `{path}` is a directory: name its files one by one")));
    }
    let bytes = content(&format!("@{path}"), std::io::empty())?;
    let content = match String::from_utf8(bytes) {
        Ok(text) => pb::file::Content::Text(text),
        Err(not_text) => pb::file::Content::Data(not_text.into_bytes()),
    };
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(pb::File { path: target, mode: executable.then_some(0o555), content: Some(content) })
}

fn base_name(path: &str) -> Result<String, CliError> {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| CliError::usage(format!("--file `{path}` has no file name: say where it goes, as {path}:name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text: &str| duration(text).map(|d| (d.seconds, d.nanos));
        for (text, wanted) in [
            ("30s", (30, 0)),
            ("5m", (300, 0)),
            ("1h30m", (5400, 0)),
            ("7d", (604_800, 0)),
            ("1500ms", (1, 500_000_000)),
            ("0s", (0, 0)),
            ("PT2M", (120, 0)),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        assert_eq!(ClockArg::parse("90s").unwrap().wire.seconds, 90);
        for fraction in ["1.5s", "1500ms", "1ns"] {
            assert!(ClockArg::parse(fraction).unwrap_err().contains("whole seconds"), "{fraction}");
        }
        for wrong in ["", "30", "-5s", "1y", "2mo", "soon", "5 parsecs", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times() {
        let time = since("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(time.as_second(), 1_769_860_800);
        assert!(since("10m").unwrap() < Timestamp::now());
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!((count("0"), count("4294967295")), (Ok(0), Ok(u32::MAX)));
        assert_eq!((attempt("1"), numeric_id("-1")), (Ok(1), Ok(-1)));
        for wrong in ["", "x", "-1", "+1", "1.5", "4294967296", "1 "] {
            let error = count(wrong).unwrap_err();
            assert!(error.starts_with("expected "), "{wrong}: {error}");
        }
        assert!(attempt("0").is_err() && attempt("first").is_err());
        assert!(numeric_id("alice").is_err() && numeric_id("99999999999999999999").is_err());
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err());
        assert!(pair("=a").is_err());
        let typed = |pairs: &[(&str, &str)]| -> Result<BTreeMap<String, String>, String> {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            map("--label", &pairs).map_err(|error| error.to_string())
        };
        assert_eq!(typed(&[("a", "1"), ("b", "1")]).unwrap().len(), 2);
        for value in ["1", "2"] {
            let message = typed(&[("a", "1"), ("b", "1"), ("a", value)]).unwrap_err();
            assert_eq!(message, format!("--label a is given twice, as `1` and as `{value}`; give each key once"));
        }
    }

    #[test]
    fn sizes() {
        let table = [("65536", 65_536), ("64Ki", 65_536), ("900Ki", 921_600), ("4Mi", 4 << 20), ("1Gi", 1 << 30)];
        for (text, wanted) in table {
            assert_eq!(bytes(text), Ok(wanted), "{text}");
        }
        for wrong in ["", "0", "0Mi", "-1", "Ki", "1.5Mi", "4M", "99999999999999999999", "17179869184Gi"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn contents() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input.json");
        std::fs::write(&path, b"{\"a\":1}\n").unwrap();
        assert_eq!(content(&format!("@{}", path.display()), std::io::empty()).unwrap(), b"{\"a\":1}\n");
        assert_eq!(content("-", &b"from stdin"[..]).unwrap(), b"from stdin");
        assert_eq!(content("{}", std::io::empty()).unwrap(), b"{}");
        assert!(content("@/nothing/here", std::io::empty()).is_err());
        assert!(content("@", std::io::empty()).unwrap_err().to_string().contains("has no file name"));
        assert!(content("-", std::io::repeat(b'x')).is_err(), "endless input is refused");
    }

    #[test]
    fn files_keep_their_executable_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tool.sh");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let typed = path.display().to_string();
        let plain = file(&typed).unwrap();
        assert_eq!((plain.path.as_str(), plain.mode), ("tool.sh", None));
        assert_eq!(plain.content, Some(pb::file::Content::Text("#!/bin/sh\n".into())));

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let moved = file(&format!("{typed}:bin/tool")).unwrap();
        assert_eq!((moved.path.as_str(), moved.mode), ("bin/tool", Some(0o555)));
        assert_eq!(moved.content, Some(pb::file::Content::Data(vec![0xff, 0xfe])));

        let colon = directory.path().join("a:b.csv").display().to_string();
        let message = file(&colon).unwrap_err().to_string();
        assert!(message.contains("was read as PATH:TARGET, to be laid at `b.csv`"), "{message}");
        std::fs::write(&colon, "").unwrap();
        assert_eq!(file(&colon).unwrap().path, "a:b.csv");
        assert_eq!(file(&format!("{colon}:c.csv")).unwrap().path, "c.csv");
        std::fs::write(directory.path().join("a"), "").unwrap();
        assert_eq!(file(&colon).unwrap().path, "b.csv", "PATH:TARGET where both can be meant");

        assert!(file(&directory.path().display().to_string()).is_err(), "a directory");
        assert!(file("/").is_err());
    }
}
