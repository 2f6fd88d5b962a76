use tonic_types::StatusExt;

use super::*;
use longshore_domain::name::NamespaceName;
use longshore_domain::run::RunState;

fn name() -> RunName {
    RunName::parse("namespaces/default/runs/a").unwrap()
}

/// Reason, and what else the details say.
fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().expect("every error carries an ErrorInfo");
    assert_eq!(info.domain, "longshore.dev");
    info.reason
}

/// Size of the status as clients count it: names, values and 32 bytes for each.
fn size(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

fn text() -> String {
    "detail".to_owned()
}

fn backend_errors() -> Vec<(BackendError, Code, &'static str)> {
    let what = || "Job run-a".to_owned();
    vec![
        (BackendError::NotFound(what()), Code::NotFound, "RESOURCE_NOT_FOUND"),
        (BackendError::NamespaceNotReady(text()), Code::FailedPrecondition, "NAMESPACE_NOT_READY"),
        (BackendError::Conflict(what()), Code::Aborted, "CONFLICT"),
        (BackendError::Rejected { what: what(), message: text() }, Code::Internal, "INTERNAL"),
        (BackendError::InvalidField { field: what(), message: text() }, Code::InvalidArgument, "INVALID_FIELDS"),
        (BackendError::Exhausted { what: what(), message: text() }, Code::ResourceExhausted, "QUOTA_EXCEEDED"),
        (BackendError::Denied { what: what(), message: text() }, Code::Internal, "INTERNAL"),
        (BackendError::AdmissionDenied { what: what(), message: text() }, Code::FailedPrecondition, "ADMISSION_DENIED"),
        (BackendError::Throttled { what: what(), retry_after: None }, Code::Unavailable, "BACKEND_UNAVAILABLE"),
        (BackendError::Unavailable { what: what(), message: text() }, Code::Unavailable, "BACKEND_UNAVAILABLE"),
        (BackendError::Unreadable { what: what(), message: text() }, Code::Unavailable, "BACKEND_UNAVAILABLE"),
        (BackendError::Io { what: what(), source: std::io::Error::other("disk") }, Code::Internal, "INTERNAL"),
        (BackendError::Corrupt { what: what(), message: text() }, Code::Internal, "INTERNAL"),
    ]
}

fn engine_errors() -> Vec<(EngineError, Code, &'static str)> {
    let mut found = Violations::new();
    found.add("spec", "is required");
    let mut errors = vec![
        (EngineError::Invalid(found), Code::InvalidArgument, "INVALID_FIELDS"),
        (EngineError::RunNotFound(name()), Code::NotFound, "RESOURCE_NOT_FOUND"),
        (EngineError::NamespaceNotFound(NamespaceName::default_namespace()), Code::NotFound, "RESOURCE_NOT_FOUND"),
        (
            EngineError::PayloadMismatch { name: name(), stored: text(), sent: text(), differing: vec![text()] },
            Code::AlreadyExists,
            "PAYLOAD_MISMATCH",
        ),
        (EngineError::NameTaken { name: name(), what: text() }, Code::AlreadyExists, "NAME_TAKEN"),
        (EngineError::DeleteInProgress(name()), Code::Aborted, "DELETE_IN_PROGRESS"),
        (
            EngineError::NotTerminal { name: name(), state: RunState::Running },
            Code::FailedPrecondition,
            "RUN_NOT_TERMINAL",
        ),
        (EngineError::EtagMismatch { name: name(), present: text() }, Code::Aborted, "ETAG_MISMATCH"),
        (EngineError::NoSuchAttempt { name: name(), attempt: 2, present: 1 }, Code::OutOfRange, "OUT_OF_RANGE"),
        (EngineError::NoResult { name: name(), why: text() }, Code::FailedPrecondition, "NO_RESULT"),
        (EngineError::NotServing("draining"), Code::Unavailable, "NOT_SERVING"),
        (EngineError::RateLimited(text()), Code::ResourceExhausted, "RATE_LIMITED"),
        (EngineError::TooManyRuns { live: 5, new: 1, max: 5 }, Code::ResourceExhausted, "QUOTA_EXCEEDED"),
    ];
    errors.extend(backend_errors().into_iter().map(|(error, code, reason)| (error.into(), code, reason)));
    errors
}

#[test]
fn every_error_has_its_code_and_reason() {
    for (error, code, expected) in engine_errors() {
        let words = format!("{error:?}");
        let status = answer(error);
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{words}");
        // A run that is being deleted goes by itself; after any other ABORTED one has to read again.
        let retryable = matches!(code, Code::Unavailable | Code::ResourceExhausted) || expected == "DELETE_IN_PROGRESS";
        assert_eq!(status.get_details_retry_info().is_some(), retryable, "{words}");
        assert_eq!(status.get_details_bad_request().is_some(), code == Code::InvalidArgument, "{words}");
    }
}

#[test]
fn the_message_is_the_errors_own_except_where_it_names_our_account() {
    let denied = BackendError::Denied { what: text(), message: "User \"system:x\" cannot create".to_owned() };
    assert!(!answer(denied.into()).message().contains("system:x"));
    let admission = BackendError::AdmissionDenied { what: text(), message: "webhook says no".to_owned() };
    let status = answer(admission.into());
    assert!(status.message().contains("webhook says no"));
    let failure = status.get_details_precondition_failure().unwrap();
    assert!(failure.violations[0].description.contains("webhook says no"));
}

#[test]
fn a_mismatch_reports_both_digests_and_what_differs() {
    let status = answer(EngineError::PayloadMismatch {
        name: name(),
        stored: "aa".to_owned(),
        sent: "bb".to_owned(),
        differing: vec!["env".to_owned(), "labels".to_owned()],
    });
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["stored_sha256"].as_str(), metadata["sent_sha256"].as_str()), ("aa", "bb"));
    assert_eq!(metadata["differing_fields"], "env,labels");
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.resource_name), (RUN, name().to_string()));
}

#[test]
fn the_backends_own_delay_is_passed_on() {
    let retry_after = Some(Duration::from_secs(7));
    let status = answer(BackendError::Throttled { what: text(), retry_after }.into());
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, retry_after);
}

#[test]
fn the_reason_is_special_only_if_all_violations_are() {
    let mut found = Violations::new();
    found.unsupported_on_backend("spec.placement", "x");
    assert_eq!(reason(&invalid(found.clone())), "UNSUPPORTED_ON_BACKEND");
    found.not_supported_yet("spec.queue_name", "x");
    assert_eq!(reason(&invalid(found)), "INVALID_FIELDS");

    let mut found = Violations::new();
    found.not_supported_yet("spec.queue_name", "x");
    assert_eq!(reason(&invalid(found.clone())), "NOT_SUPPORTED_YET");
    found.add("spec", "x");
    assert_eq!(reason(&invalid(found)), "INVALID_FIELDS");
    assert_eq!(reason(&invalid(Violations::new())), "INVALID_FIELDS");
}

#[test]
fn twenty_violations_are_reported_and_the_rest_counted() {
    let mut found = Violations::new();
    for i in 0..20 {
        found.add(format!("spec.env[{i}]"), "wrong");
    }
    let violations_of = |found: &Violations| invalid(found.clone()).get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations_of(&found).len(), 20);
    assert_eq!(violations_of(&found)[19].field, "spec.env[19]");
    found.add("spec.env[20]", "wrong");
    assert_eq!(violations_of(&found).len(), 21);
    assert_eq!(
        (violations_of(&found)[20].field.as_str(), violations_of(&found)[20].description.as_str()),
        ("", "and 1 more")
    );
    let status = invalid(found);
    assert_eq!(status.get_details_error_info().unwrap().metadata["violations"], "21");
    assert!(status.message().contains("and 1 more"), "{}", status.message());
}

#[test]
fn no_status_is_too_large_for_trailers() {
    for long in ["x".repeat(100_000), "€".repeat(40_000), "\n".repeat(100_000)] {
        let mut found = Violations::new();
        for i in 0..50 {
            found.add(format!("spec.files[{i}].{long}"), long.clone());
        }
        let mut small = Violations::new();
        for i in 0..5_000 {
            small.add(format!("spec.files[{i}]"), "x".repeat(180));
        }
        let words = || long.clone();
        let errors: Vec<EngineError> = vec![
            EngineError::Invalid(found),
            EngineError::Invalid(small),
            EngineError::PayloadMismatch { name: name(), stored: words(), sent: words(), differing: vec![words(); 9] },
            EngineError::NameTaken { name: name(), what: words() },
            EngineError::NoResult { name: name(), why: words() },
            EngineError::RateLimited(words()),
            BackendError::Exhausted { what: words(), message: words() }.into(),
            BackendError::AdmissionDenied { what: words(), message: words() }.into(),
            BackendError::Rejected { what: words(), message: words() }.into(),
            BackendError::Denied { what: words(), message: words() }.into(),
            BackendError::Unavailable { what: words(), message: words() }.into(),
            BackendError::NamespaceNotReady(words()).into(),
        ];
        for error in errors {
            let status = answer(error);
            assert!(status.message().len() <= 1024, "{}", status.message().len());
            assert!(status.details().len() <= 6 * 1024, "{}", status.details().len());
            assert!(size(&status) <= 8 * 1024, "{} {:?}", size(&status), status.code());
        }
    }
}

#[test]
fn what_tonic_says_by_itself_gets_details_too() {
    let status = with_details(&Status::unimplemented("no such method"));
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such method"));
    assert_eq!(reason(&status), "MALFORMED_REQUEST");
    assert_eq!(reason(&with_details(&Status::not_found("x"))), "RESOURCE_NOT_FOUND");
}
