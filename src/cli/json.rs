//! Messages as JSON: canonical proto3 JSON (lowerCamelCase, 64-bit integers as strings), as grpcurl prints it.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::error::CliError;
use crate::proto;

/// How much room JSON takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Indented, for one answer.
    Pretty,
    /// On one line, for a stream of them.
    Line,
}

/// `message`, which is a `longshore.v1.{name}`, as JSON with a line end.
pub(super) fn to_json(message: &impl Message, name: &str, layout: Layout) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::BadAnswer(format!("{name} as JSON: {error}"));
    let pool = pool().map_err(|error| failed(&error))?;
    let descriptor =
        pool.get_message_by_name(&format!("longshore.v1.{name}")).ok_or_else(|| failed(&"there is no such message"))?;
    let dynamic =
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|error| failed(&error))?;
    let value = serde_json::to_value(&dynamic).map_err(|error| failed(&error))?;
    let text = match layout {
        Layout::Pretty => serde_json::to_string_pretty(&value),
        Layout::Line => serde_json::to_string(&value),
    };
    text.map(|text| text + "\n").map_err(|error| failed(&error))
}

fn pool() -> Result<&'static DescriptorPool, &'static prost_reflect::DescriptorError> {
    static POOL: OnceLock<Result<DescriptorPool, prost_reflect::DescriptorError>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(proto::DESCRIPTORS)).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{Result as RunResult, Run, RunState, Timeline};

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
