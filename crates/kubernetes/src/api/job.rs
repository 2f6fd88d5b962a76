//! What a Job says of itself beside its conditions.

use k8s_openapi::api::batch::v1::Job;

/// What the Job has under this annotation.
pub(crate) fn annotation<'a>(job: &'a Job, key: &str) -> Option<&'a str> {
    job.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whether the Job has this annotation, whatever it says.
pub(crate) fn is_annotated(job: &Job, key: &str) -> bool {
    annotation(job, key).is_some()
}

/// Where an annotation stands, for a JSON patch (RFC 6901).
pub(crate) fn annotation_path(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Whether it is held back.
pub(crate) fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false)
}
