//! What is logged is made up by somebody who wants a line of their own.

use std::io::Write;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::printable::is_control;

#[path = "../../../../tests/support/strict.rs"]
mod strict;

use strict::Strict;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What `log` has written in this format.
fn written(format: LogFormat, colours: bool, log: impl FnOnce()) -> String {
    let kept = Kept::default();
    let writer = {
        let kept = kept.clone();
        move || kept.clone()
    };
    let filter = EnvFilter::new("trace");
    match format.is_json(false) {
        true => tracing::subscriber::with_default(json_lines(filter, writer), log),
        false => tracing::subscriber::with_default(text_lines(filter, colours, writer), log),
    }
    String::from_utf8(std::mem::take(&mut *kept.0.lock().unwrap())).unwrap()
}

/// The one line that there is.
fn line(text: &str) -> Value {
    let line = text.strip_suffix('\n').expect("a line ends");
    assert!(!line.chars().any(is_control), "{line:?}");
    serde_json::from_str::<Strict>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    serde_json::from_str(line).unwrap()
}

#[derive(Debug)]
#[allow(dead_code, reason = "to be formatted")]
struct Shown(String);

fn log(text: &str) {
    let span = tracing::info_span!("outer", name = text, run = tracing::field::Empty);
    let _entered = span.enter();
    span.record("run", tracing::field::display(text));
    span.record("run", text);
    tracing::info!(target: "longshore::audit", user = text, error = %text, shown = ?Shown(text.to_owned()), target = text, level = text, timestamp = text, span = text, message_ = 7_u64, "it is {text}");
}

proptest! {
    #[test]
    fn a_line_is_one_whatever_is_logged(text in r"(\PC|[\n\r\t\x00-\x1f\x7f-\x{9f}\x{202a}-\x{202e}\x{2028}\x{2029}\x{61c}]){0,20}") {
        let read = line(&written(LogFormat::Json, false, || log(&text)));
        for key in ["user", "error", "target_", "level_", "timestamp_", "span_"] {
            prop_assert_eq!(&read[key], &Value::from(text.as_str()), "{}", key);
        }
        prop_assert_eq!(&read["message"], &Value::from(format!("it is {text}")));
        prop_assert_eq!(&read["target"], "longshore::audit");
        prop_assert_eq!(&read["level"], "INFO");
        prop_assert_eq!(&read["span"]["name"], "outer");
        prop_assert_eq!(&read["span"]["name_"], &Value::from(text.as_str()));
        prop_assert_eq!(&read["span"]["run"], &Value::from(text.as_str()));

        let plain = written(LogFormat::Text, false, || log(&text));
        let plain = plain.strip_suffix('\n').expect("a line ends");
        prop_assert!(!plain.chars().any(is_control), "{:?}", plain);
    }

    /// Only colours of our own begin with ESC.
    #[test]
    fn colours_are_our_own(text in r"[\x1b\[0-9m\n]{0,12}") {
        let painted = written(LogFormat::Text, true, || log(&text));
        let plain = written(LogFormat::Text, false, || log(&text));
        let colour = regex::Regex::new("\x1b\\[[0-9]*m").unwrap();
        let bare = colour.replace_all(&painted, "");
        let after_time = |line: &str| line.split_once("INFO").unwrap().1.to_owned();
        prop_assert_eq!(after_time(&bare), after_time(&plain));
    }
}

#[test]
fn the_order_is_that_of_the_documentation() {
    let text = written(LogFormat::Json, false, || tracing::warn!(a = 1, b = true, c = 1.5, "so it is"));
    let read = line(&text);
    let keys: Vec<_> = read.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["timestamp", "level", "message", "a", "b", "c", "target"], "{text}");
    assert_eq!((&read["a"], &read["b"], &read["c"]), (&1.into(), &true.into(), &1.5.into()));
}
