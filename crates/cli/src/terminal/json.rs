//! Messages as JSON: canonical proto3 JSON (lowerCamelCase, 64-bit integers as strings), as grpcurl prints it; but a
//! run's result is the object itself, with all its digits, and not a string of JSON.

pub(crate) mod raw;

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use crate::terminal::error::CliError;
use longshore_api as proto;

/// How much room JSON takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Indented, for one answer.
    Pretty,
    /// On one line, for a stream of them.
    Line,
}

/// `message`, which is a `longshore.v1.{name}`, as JSON with a line end.
pub(crate) fn to_json(message: &impl Message, name: &str, layout: Layout) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::BadAnswer(format!("{name} as JSON: {error}"));
    let pool = pool().map_err(|error| failed(&error))?;
    let descriptor =
        pool.get_message_by_name(&format!("longshore.v1.{name}")).ok_or_else(|| failed(&"there is no such message"))?;
    let dynamic =
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|error| failed(&error))?;
    let mut value = serde_json::to_value(&dynamic).map_err(|error| failed(&error))?;
    let objects = take_objects(&mut value, name);
    let text = match layout {
        Layout::Pretty => serde_json::to_string_pretty(&value),
        Layout::Line => serde_json::to_string(&value),
    };
    text.map(|text| put_objects(&text, &objects, layout) + "\n").map_err(|error| failed(&error))
}

/// Takes the result objects out of the message called `name`, in their order, and leaves null in their places.
fn take_objects(value: &mut Value, name: &str) -> Vec<String> {
    let results: Vec<&mut Value> = match name {
        "Result" => vec![value],
        "Run" => value.get_mut("result").into_iter().collect(),
        "SubmitRunResponse" => value.pointer_mut("/run/result").into_iter().collect(),
        "WatchRunsResponse" => {
            let place = if value.get("removed").is_some() { "/removed/run/result" } else { "/run/result" };
            value.pointer_mut(place).into_iter().collect()
        }
        "ListRunsResponse" => {
            let runs = value.get_mut("runs").and_then(Value::as_array_mut);
            runs.into_iter().flatten().filter_map(|run| run.get_mut("result")).collect()
        }
        _ => Vec::new(),
    };
    let places = results.into_iter().filter_map(|result| result.get_mut("json"));
    let objects = places.filter(|json| json.as_str().is_some_and(raw::is_object));
    let taken = objects.map(Value::take).filter_map(|json| match json {
        Value::String(json) => Some(json),
        _ => None,
    });
    taken.collect()
}

/// Puts the objects in the places that are null. There are no others: proto3 JSON leaves out what is unset, and within
/// a string the quotes of a key are escaped.
fn put_objects(text: &str, objects: &[String], layout: Layout) -> String {
    let place = match layout {
        Layout::Pretty => "\"json\": null",
        Layout::Line => "\"json\":null",
    };
    let key = place.trim_end_matches("null");
    let mut out = String::with_capacity(text.len() + objects.iter().map(String::len).sum::<usize>());
    let mut rest = text;
    for object in objects {
        let Some((before, after)) = rest.split_once(place) else { break };
        out.push_str(before);
        out.push_str(key);
        match layout {
            Layout::Pretty => {
                let line = before.rsplit('\n').next().unwrap_or_default();
                raw::push_indented(&mut out, object, line.len() / 2);
            }
            Layout::Line => out.push_str(object),
        }
        rest = after;
    }
    out + rest
}

fn pool() -> Result<&'static DescriptorPool, &'static prost_reflect::DescriptorError> {
    static POOL: OnceLock<Result<DescriptorPool, prost_reflect::DescriptorError>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(proto::DESCRIPTORS)).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_api::v1::{Result as RunResult, Run, RunState, Timeline};

    #[test]
    fn canonical_names_and_times() {
        let run = Run {
            name: "namespaces/default/runs/a".into(),
            state: RunState::Running.into(),
            timeline: Some(Timeline {
                create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
                ..Default::default()
            }),
            result: Some(RunResult { size_bytes: 1 << 60, ..Default::default() }),
            exit_code: Some(0),
            ..Default::default()
        };
        assert_eq!(
            to_json(&run, "Run", Layout::Line).unwrap(),
            "{\"name\":\"namespaces/default/runs/a\",\"state\":\"RUN_STATE_RUNNING\",\
             \"timeline\":{\"createTime\":\"2023-11-14T22:13:20Z\"},\
             \"result\":{\"sizeBytes\":\"1152921504606846976\"},\"exitCode\":0}\n"
        );
    }

    #[test]
    fn a_result_is_the_object_itself() {
        let result = |json: &str| Some(RunResult { json: json.into(), size_bytes: 7, ..Default::default() });
        let json = r#"{"n":123456789012345678901234567890,"f":1.10,"s":"\"json\": null","e":{}}"#;
        let message = "its \"json\": null, or \"json\":null".to_owned();
        let run = Run { message, result: result(json), ..Default::default() };
        let line = to_json(&run, "Run", Layout::Line).unwrap();
        assert!(line.contains(&format!("\"result\":{{\"json\":{json},\"sizeBytes\":\"7\"}}")), "{line}");
        let pretty = to_json(&run, "Run", Layout::Pretty).unwrap();
        assert!(pretty.contains("\"json\": {\n      \"n\": 123456789012345678901234567890,\n"), "{pretty}");
        let (line, pretty): (Value, Value) =
            (serde_json::from_str(&line).unwrap(), serde_json::from_str(&pretty).unwrap());
        assert_eq!(line, pretty);
        assert_eq!(line["message"], run.message);

        let none = Run { result: result(""), ..Default::default() };
        let runs = vec![run.clone(), none, Run { result: result("{\"a\":1}"), ..Default::default() }];
        let list = longshore_api::v1::ListRunsResponse { runs, ..Default::default() };
        let list: Value = serde_json::from_str(&to_json(&list, "ListRunsResponse", Layout::Pretty).unwrap()).unwrap();
        assert_eq!(list["runs"][0], line);
        assert_eq!(list["runs"][1]["result"], serde_json::json!({ "sizeBytes": "7" }));
        assert_eq!(list["runs"][2]["result"]["json"]["a"], 1);
        // What is not an object stays what it is.
        let run = Run { result: result("nonsense"), ..Default::default() };
        assert!(to_json(&run, "Run", Layout::Line).unwrap().contains("\"json\":\"nonsense\""));
    }

    #[test]
    fn a_broken_answer_is_an_error() {
        let timeline = Timeline {
            create_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
            ..Default::default()
        };
        let run = Run { timeline: Some(timeline), state: 99, ..Default::default() };
        assert!(to_json(&run, "Run", Layout::Pretty).is_err());
        assert!(to_json(&run, "Nothing", Layout::Pretty).is_err());
    }
}
