use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::watch;

use super::contracts::Contracts;
use super::output::{ReadOutput, conclude};
use super::reading::read;
use crate::log::{Hub, source_of};
use crate::metrics::EngineMetrics;
use crate::observed::ObservedRun;
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use longshore_domain::log::{LogGap, LogGapCause, LogPiece};
use longshore_domain::result::ResultOutcome;
use longshore_domain::result::reader::{Dialects, FILE_MAX_BYTES, MAX_DEPTH, ReaderRule};
use longshore_domain::result::schema::JsonSchema;
use longshore_domain::run::facts::{AttemptFacts, AttemptPhase, MainFacts, RunFacts, Terminated};
use longshore_domain::run::profile::Profile;
use longshore_domain::run::spec::ResultScan;
use longshore_domain::testing;

const MARKER: &str = "MARK:";

fn rule() -> ReaderRule {
    ReaderRule {
        scan: ResultScan::LastObject,
        marker: MARKER.to_owned(),
        max_bytes: 1 << 20,
        max_depth: MAX_DEPTH,
        dialects: Dialects::Any,
    }
}

fn line(text: &str) -> LogItem {
    LogItem::Piece(LogPiece {
        time: Timestamp::UNIX_EPOCH,
        ordinal: 0,
        offset: 0,
        stream: None,
        data: Bytes::from(format!("{text}\n")),
        ends_line: true,
        check: 0,
    })
}

fn gap() -> LogItem {
    LogItem::Gap(LogGap {
        from_time: None,
        to_time: None,
        cause: LogGapCause::Rotated,
        message: "it was rotated away".to_owned(),
    })
}

/// The output of these items, read to its end.
fn output(items: &[LogItem]) -> ReadOutput {
    let mut output = ReadOutput::new(&rule());
    items.iter().for_each(|item| output.take(item));
    output
}

/// The object, or what is reported instead, and whether there is a warning of a gap.
fn summary(outcome: ResultOutcome) -> (String, bool) {
    match outcome {
        ResultOutcome::Found(found) => {
            let warned = found.warnings.iter().any(|warning| warning.contains("it was rotated away"));
            assert!(!warned || found.byte_range.is_none(), "after a gap no position is known");
            (found.json.unwrap(), warned)
        }
        ResultOutcome::None(error) => (format!("{:?}", error.kind), false),
        ResultOutcome::Unavailable(why) => (why, false),
    }
}

#[test]
fn after_a_gap_only_what_cannot_be_in_doubt_is_reported() {
    let lost = ("it was rotated away", false);
    let table: [(&[LogItem], (&str, bool)); 12] = [
        (&[line("noise")], ("Empty", false)),
        (&[line(r#"{"a":1}"#)], (r#"{"a":1}"#, false)),
        (&[line("noise"), gap(), line("noise")], lost),
        (&[line("noise"), gap(), line(r#"{"a":1}"#)], (r#"{"a":1}"#, true)),
        (&[line(r#"{"a":1}"#), gap(), line("noise")], lost),
        // An object within one that began in the gap.
        (&[gap(), line(r#"{"a":1},"#), line(r#"{"a":2}"#), line("]}")], lost),
        (&[gap(), line(r#""rows": 3, "last": {"a":1}}"#)], lost),
        (&[gap(), line(r#"{"a":1}"#), line("noise")], lost),
        // The halves of two objects are not one.
        (&[line(r#"{"a":1"#), gap(), line(r#","b":2}"#)], lost),
        (&[line(r#"MARK:{"a":1}"#), gap(), line("noise")], (r#"{"a":1}"#, true)),
        (&[line(r#"MARK:{"a":1}"#), gap(), line(r#"{"scan":1}"#)], (r#"{"a":1}"#, true)),
        (&[line(r#"MARK:{"a":1}"#), gap(), line(r#"MARK:{"a":2}"#)], (r#"{"a":2}"#, true)),
    ];
    for (items, (expected, warned)) in table {
        assert_eq!(summary(output(items).finish(b"")), (expected.to_owned(), warned), "{items:?}");
    }
}

#[test]
fn the_file_decides_whatever_became_of_the_output() {
    let unreadable = || Err("overdue".to_owned());
    let cut = vec![b'x'; FILE_MAX_BYTES];
    let table: [(&[u8], &str); 5] = [
        (br#"{"file":1}"#, r#"{"file":1}"#),
        (b"[1]", "NotAnObject"),
        (br#"{"file":"#, "Truncated"),
        (b" \n", "overdue"),
        (&cut, "overdue"),
    ];
    for (file, expected) in table {
        assert_eq!(summary(conclude(&rule(), unreadable(), file)).0, expected);
    }
    let marked = || output(&[line(r#"MARK:{"a":1}"#)]);
    assert_eq!(summary(conclude(&rule(), Ok(marked()), &cut)).0, r#"{"a":1}"#);
    assert_eq!(summary(conclude(&rule(), Ok(marked()), br#"{"file":1}"#)).0, r#"{"file":1}"#);
    let holed = output(&[gap(), line("noise")]);
    assert_eq!(summary(conclude(&rule(), Ok(holed), br#"{"file":1}"#)), (r#"{"file":1}"#.to_owned(), false));
}

/// What one read of a backend yields.
type Script = Result<Vec<Result<LogItem, BackendError>>, BackendError>;

/// A backend whose reads go as in the script; then they fail.
struct Scripted(Mutex<Vec<Script>>);

#[async_trait]
impl Logs for Scripted {
    fn rotates(&self) -> bool {
        false
    }

    async fn open(
        &self,
        _source: &LogSource,
        _options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        let mut scripts = self.0.lock().unwrap();
        let script = if scripts.is_empty() { Err(unavailable()) } else { scripts.remove(0) };
        script.map(|items| stream::iter(items).boxed())
    }
}

fn unavailable() -> BackendError {
    BackendError::Unavailable { what: "read".to_owned(), message: "no route".to_owned() }
}

fn hub(scripts: Vec<Script>) -> Hub {
    Hub::new(Arc::new(Scripted(Mutex::new(scripts))), EngineMetrics::default())
}

/// A run that ended with this result file; the sender keeps it.
fn ended(file: &str) -> (watch::Sender<Arc<ObservedRun>>, LogSource) {
    let end = Terminated { message: file.as_bytes().to_vec(), ..testing::terminated(0) };
    let attempt =
        AttemptFacts { phase: AttemptPhase::Succeeded, main: MainFacts::Terminated(end), ..testing::attempt() };
    let facts = RunFacts { attempts: vec![attempt], ..testing::facts() };
    let source = source_of(&facts, 1).unwrap();
    (watch::Sender::new(Arc::new(ObservedRun::new(facts, testing::at(30)))), source)
}

#[tokio::test(start_paused = true)]
async fn an_output_is_read_again_until_it_is_read_whole() {
    let scripts = vec![
        Err(unavailable()),
        Ok(vec![Ok(line("noise")), Err(unavailable())]),
        Ok(vec![Ok(line("noise")), Ok(line(r#"{"a":1}"#))]),
    ];
    let (run, source) = ended("");
    let outcome = read(&hub(scripts), &source, &rule(), run.subscribe(), Duration::from_secs(60)).await;
    assert_eq!(summary(outcome).0, r#"{"a":1}"#);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_gone_is_not_read_for_ever() {
    let (run, source) = ended("");
    let gone = || vec![Err(BackendError::NotFound("Pod x".to_owned()))];
    let outcome = read(&hub(gone()), &source, &rule(), run.subscribe(), Duration::from_secs(60)).await;
    assert_eq!(summary(outcome).0, "Pod x does not exist");
    let refused = || BackendError::Unreadable { what: "read".to_owned(), message: "no log".to_owned() };
    let refusals = (0..9).map(|_| Ok(vec![Err(refused())])).collect();
    let outcome = read(&hub(refusals), &source, &rule(), run.subscribe(), Duration::from_secs(60)).await;
    assert_eq!(summary(outcome).0, "read: its node answers: no log", "the kubelet's words are not a missing result");
}

#[tokio::test(start_paused = true)]
async fn an_overdue_output_leaves_the_file() {
    for (file, expected) in
        [(r#"{"file":1}"#, r#"{"file":1}"#), ("", "its output could not be read within 2 s of its end")]
    {
        let (run, source) = ended(file);
        let outcome = read(&hub(Vec::new()), &source, &rule(), run.subscribe(), Duration::from_secs(2)).await;
        assert_eq!(summary(outcome).0, expected);
    }
}

/// Contracts of profiles `strict` and `loose`.
fn contracts() -> Contracts {
    let schema = JsonSchema::compile(r#"{"required":["rows"]}"#).unwrap();
    let profile = |name: &str, result_schema| {
        (name.to_owned(), Profile { name: name.to_owned(), result_schema, ..Profile::default() })
    };
    let profiles = [profile("strict", Some(schema)), profile("loose", None)].into();
    Contracts::new(&profiles, Duration::from_secs(60))
}

#[tokio::test]
async fn a_result_is_checked_against_its_own_profile_only() {
    let contracts = contracts();
    let read = |text: &str| output(&[line(text)]).finish(b"");
    for (profile, text, expected) in [
        (Some("strict"), r#"{"rows":[]}"#, r#"{"rows":[]}"#),
        (Some("strict"), r#"{"a":1}"#, "Invalid"),
        (Some("strict"), "[1]", "NotAnObject"),
        (Some("strict"), "", "Empty"),
        (Some("loose"), r#"{"a":1}"#, r#"{"a":1}"#),
        (Some("removed"), r#"{"a":1}"#, r#"{"a":1}"#),
        (None, r#"{"a":1}"#, r#"{"a":1}"#),
    ] {
        let checked = contracts.check(profile, read(text)).await;
        assert_eq!(summary(checked.outcome).0, expected, "{profile:?} {text}");
        assert_eq!(checked.reported, None);
    }
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_given_up() {
    // Every level is looked at twice, so that the whole takes 2^14 looks: much longer than a
    // millisecond, and no more than seconds.
    let twice = r##"{ "anyOf": [
        { "properties": { "a": { "$ref": "#" } }, "required": ["b"] },
        { "properties": { "a": { "$ref": "#" } }, "required": ["c"] }
    ] }"##;
    let profile = Profile { result_schema: Some(JsonSchema::compile(twice).unwrap()), ..Profile::default() };
    let contracts = Contracts::new(&[("slow".to_owned(), profile)].into(), Duration::from_millis(1));
    let object = format!("{}1{}", r#"{"a":"#.repeat(14), "}".repeat(14));
    let checked = contracts.check(Some("slow"), output(&[line(&object)]).finish(b"")).await;
    let (why, _) = summary(checked.outcome);
    assert!(why.starts_with("it could not be checked against its profile within "), "{why}");
}
