//! Manifests for people: YAML without the values that a caller handed over.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::Value;

use super::input::input_secret;
use super::{ManifestContext, ManifestError};
use longshore_backend::Launch;

/// What stands for the Job's uid before there is a Job.
const UID_UNKNOWN: &str = "(known once the Job exists)";

/// What would be made of `launch` as one YAML stream: its Job, and its Secret if it needs one, of whose values only the
/// sizes are shown.
///
/// # Errors
/// If an object can't be serialised.
pub fn preview_yaml(job: &Job, launch: &Launch, ctx: &ManifestContext) -> Result<String, ManifestError> {
    let mut text = document("Job", job.metadata.name.as_deref(), job)?;
    if let Some(secret) = input_secret(launch, UID_UNKNOWN, ctx) {
        text.push_str("---\n");
        text.push_str(&document("Secret", secret.metadata.name.as_deref(), &redacted(&secret)?)?);
    }
    Ok(text)
}

/// The Secret with sizes in place of its values.
fn redacted(secret: &Secret) -> Result<Value, ManifestError> {
    let sizes = secret.data.iter().flatten().map(|(key, value)| {
        let size = value.0.len();
        (key.clone(), Value::String(format!("({size} bytes)")))
    });
    let sizes: serde_json::Map<String, Value> = sizes.collect();
    let mut bare = secret.clone();
    bare.data = None;
    bare.string_data = None;
    let name = secret.metadata.name.as_deref();
    let mut shown = serde_json::to_value(&bare).map_err(|error| failed("Secret", name, error))?;
    if let Value::Object(fields) = &mut shown {
        fields.insert("data".to_owned(), Value::Object(sizes));
    }
    Ok(shown)
}

fn document(kind: &str, name: Option<&str>, object: &impl Serialize) -> Result<String, ManifestError> {
    // Folded text would be right but hard to read: long values are JSON, which has no line to break.
    let options = serde_saphyr::ser_options! { compact_list_indent: true, folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(object, options).map_err(|error| failed(kind, name, error))
}

fn failed(kind: &str, name: Option<&str>, error: impl std::error::Error + Send + Sync + 'static) -> ManifestError {
    ManifestError::Yaml { object: format!("{kind} {}", name.unwrap_or("without a name")), source: Box::new(error) }
}
