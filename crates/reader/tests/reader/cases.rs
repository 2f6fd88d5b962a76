//! Outputs of real programs, and what is to be read of them: `cases.json`.

use longshore_reader::{ResultErrorKind, ResultOutcome};
use serde::Deserialize;
use serde_json::Value;

use crate::reading::read_output;

#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    kind: String,
    input: Input,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Input {
    Text(String),
    Base64(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// The object.
    json: Option<Value>,
    /// The kind of error.
    error: Option<ResultErrorKind>,
    /// Another kind that is as honest.
    or_error: Option<ResultErrorKind>,
    /// A warning is wanted too.
    #[serde(default)]
    warn: bool,
    /// Any object is fine if it comes with a warning.
    #[serde(default)]
    or_warn: bool,
    /// What the documentation says where people may want another object: that one is fine.
    documented: Option<String>,
}

fn wrong(case: &Case, outcome: &ResultOutcome) -> Option<String> {
    let Expect { json, error, or_error, warn, or_warn, documented } = &case.expect;
    match outcome {
        ResultOutcome::Found(found) => {
            let read: Value = serde_json::from_str(found.json.as_deref().unwrap()).unwrap();
            let warned = !found.warnings.is_empty();
            let fine = json.as_ref() == Some(&read) && (warned || !warn) || *or_warn && warned || documented.is_some();
            (!fine).then(|| format!("{read}, {:?}", found.warnings))
        }
        ResultOutcome::None(reported) => {
            let fine = [error, or_error].into_iter().flatten().any(|kind| *kind == reported.kind);
            (!fine).then(|| format!("{reported:?}"))
        }
        ResultOutcome::Unavailable(why) => Some(why.clone()),
    }
}

#[test]
fn what_programs_print_is_read_as_people_read_it() {
    let cases = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() >= 35, "{}", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let text = match &case.input {
            Input::Text(text) => text.clone().into_bytes(),
            Input::Base64(text) => data_encoding::BASE64.decode(text.as_bytes()).unwrap(),
        };
        if let Some(why) = wrong(case, &read_output(&text)) {
            failures.push(format!("{}, {}: {why}, not {:?}", case.id, case.kind, case.expect));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
