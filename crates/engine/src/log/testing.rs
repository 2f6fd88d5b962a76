//! A node whose log files a test writes, rotates and takes away.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Duration;

use super::source::source_of;
use crate::observed::ObservedRun;
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use longshore_domain::log::{LogPiece, Resume, Resumed, check};
use longshore_domain::run::StopCause;
use longshore_domain::run::derive::record;
use longshore_domain::run::facts::{AttemptFacts, AttemptPhase, JobEnd, JobEndCause, MainFacts, RunFacts, Terminated};
use longshore_domain::testing;

/// A program's log, and the run as it is observed.
pub(crate) struct Node {
    log: Mutex<Log>,
    run: watch::Sender<Arc<ObservedRun>>,
}

struct Log {
    files: Vec<Vec<LogPiece>>,
    /// Whether the container runs.
    runs: bool,
    /// What is answered instead of a log.
    refusal: Option<BackendError>,
    /// How many lines follows may still bring.
    budget: usize,
    printed: usize,
    /// The reads that were opened: whether each follows.
    opened: Vec<bool>,
    rotates: bool,
}

fn item(items: Vec<LogItem>) -> impl Iterator<Item = Result<LogItem, BackendError>> {
    items.into_iter().map(Ok)
}

impl Node {
    /// One whose program is not started, as the watch reports.
    pub(crate) fn new() -> Arc<Self> {
        let waiting = observed(MainFacts::Waiting(None), AttemptPhase::Pending).facts;
        let first = ObservedRun::after(None, waiting, Some(1), testing::at(200));
        let log = Log {
            files: vec![Vec::new()],
            runs: true,
            refusal: None,
            budget: usize::MAX,
            printed: 0,
            opened: Vec::new(),
            rotates: true,
        };
        Arc::new(Self { log: Mutex::new(log), run: watch::Sender::new(Arc::new(first)) })
    }

    /// The same, but nothing is ever rotated there.
    pub(crate) fn local() -> Arc<Self> {
        let node = Self::new();
        node.log.lock().unwrap().rotates = false;
        node
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Arc<ObservedRun>> {
        self.run.subscribe()
    }

    pub(crate) fn source(&self) -> LogSource {
        source_of(&self.run.borrow().facts, 1).unwrap()
    }

    /// Prints this many lines, numbered on, all at this millisecond.
    pub(crate) fn print(&self, lines: usize, millis: i64) {
        let mut log = self.log.lock().unwrap();
        for ordinal in 0..lines {
            let data = Bytes::from(format!("{}\n", log.printed));
            let time = Timestamp::from_millisecond(1_795_251_120_000 + millis).unwrap();
            let ordinal = u32::try_from(ordinal).unwrap();
            let check = check(0, &data);
            let piece = LogPiece { time, ordinal, offset: 0, stream: None, data, ends_line: true, check };
            log.files.last_mut().unwrap().push(piece);
            log.printed += 1;
        }
    }

    pub(crate) fn rotate(&self) {
        self.log.lock().unwrap().files.push(Vec::new());
    }

    /// Lets follows bring only so many lines more.
    pub(crate) fn allow(&self, lines: usize) {
        self.log.lock().unwrap().budget = lines;
    }

    /// From now on a log that is opened is answered by these words.
    pub(crate) fn refuse(&self, error: BackendError) {
        self.log.lock().unwrap().refusal = Some(error);
    }

    /// The same error once more.
    pub(crate) fn again(error: &BackendError) -> BackendError {
        match error {
            BackendError::NotFound(what) => BackendError::NotFound(what.clone()),
            BackendError::Unreadable { what, message } => {
                BackendError::Unreadable { what: what.clone(), message: message.clone() }
            }
            other => panic!("not foreseen: {other}"),
        }
    }

    pub(crate) fn opened(&self) -> Vec<bool> {
        self.log.lock().unwrap().opened.clone()
    }

    /// The container ends; nobody is notified yet.
    pub(crate) fn exit(&self) {
        self.log.lock().unwrap().runs = false;
    }

    /// The watch reports this of the container, in stretch `stretch` of it.
    pub(crate) fn report(&self, main: MainFacts, phase: AttemptPhase, stretch: u64) {
        self.report_all(|attempt| AttemptFacts { main, phase, ..attempt }, stretch);
    }

    pub(crate) fn report_all(&self, change: impl FnOnce(AttemptFacts) -> AttemptFacts, stretch: u64) {
        let before = Arc::clone(&self.run.borrow());
        let attempt = change(before.facts.attempts[0].clone());
        let next = ObservedRun::after(Some(&before), of(attempt).facts, Some(stretch), testing::at(200));
        self.run.send_replace(Arc::new(next));
    }

    pub(crate) fn report_running(&self) {
        self.report(MainFacts::Running { started_at: Some(testing::at(10)) }, AttemptPhase::Running, 1);
    }

    /// The Pod is gone, and its Job has failed.
    pub(crate) fn report_gone(&self) {
        let (cause, reason, message) = (JobEndCause::PodFailed, String::new(), String::new());
        let job_end =
            Some(JobEnd { complete: false, final_: true, cause, reason, message, time: Some(testing::at(30)) });
        self.report_all(|attempt| AttemptFacts { phase: AttemptPhase::Gone, job_end, ..attempt }, 1);
    }

    /// The run was cancelled, and its Pod, if there was one, went before anybody saw it.
    /// `final_`: its Job has counted it.
    pub(crate) fn report_cancelled_unseen(&self, had_pod: bool, final_: bool) {
        let (cause, reason, message) = (JobEndCause::Deadline, String::new(), String::new());
        let job_end = Some(JobEnd { complete: false, final_, cause, reason, message, time: Some(testing::at(30)) });
        let gone = AttemptFacts { uid: None, pod: None, phase: AttemptPhase::Gone, ..testing::attempt() };
        let attempt = AttemptFacts { unseen: had_pod, job_end, ..gone };
        let stop = Some(testing::stop(StopCause::Cancel, 100));
        self.run.send_replace(Arc::new(seen(RunFacts { attempts: vec![attempt], stop, ..testing::facts() })));
    }

    /// Ended after this many seconds.
    pub(crate) fn report_ended(&self, seconds: i64) {
        let end = Terminated { finished_at: Some(testing::at(10 + seconds)), ..testing::terminated(0) };
        self.report(MainFacts::Terminated(end), AttemptPhase::Succeeded, 1);
    }

    fn files(&self) -> usize {
        self.log.lock().unwrap().files.len()
    }
}

fn observed(main: MainFacts, phase: AttemptPhase) -> ObservedRun {
    of(AttemptFacts { main, phase, ..testing::attempt() })
}

fn of(attempt: AttemptFacts) -> ObservedRun {
    seen(RunFacts { attempts: vec![attempt], ..testing::facts() })
}

fn seen(mut facts: RunFacts) -> ObservedRun {
    let now = testing::at(200);
    // As the reconciler does: what is terminal stands in a record.
    facts.record = testing::settled(&facts, now).map(|(outcome, result)| record(&facts, &outcome, result, now));
    ObservedRun::new(facts, now)
}

/// The node as the engine reads it.
pub(crate) struct Read(pub(crate) Arc<Node>);

#[async_trait]
impl Logs for Read {
    fn rotates(&self) -> bool {
        self.0.log.lock().unwrap().rotates
    }

    async fn open(
        &self,
        _: &LogSource,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        let mut log = self.0.log.lock().unwrap();
        log.opened.push(options.follow);
        if let Some(error) = &log.refusal {
            return Err(Node::again(error));
        }
        let at_file_end = options.at_file_end;
        let mut resume = options.from.map(if at_file_end { Resume::at_file_end } else { Resume::new });
        if !options.follow {
            let file = log.files.last().unwrap().clone();
            drop(log);
            let mut items = pass(&mut resume, file);
            if let Some(resume) = resume {
                let mut out = Vec::new();
                items.extend(resume.finish(&mut out).map(LogItem::Gap));
                items.extend(out.into_iter().map(LogItem::Piece));
            }
            return Ok(stream::iter(item(items)).boxed());
        }
        let at = (log.files.len() - 1, 0);
        drop(log);
        let follower = (Arc::clone(&self.0), at, resume);
        let lines = stream::unfold(follower, |(node, at, mut resume)| async move {
            let (piece, at) = node.next(at).await?;
            let items = pass(&mut resume, vec![piece]);
            Some((stream::iter(item(items)), (node, at, resume)))
        });
        Ok(lines.flatten().boxed())
    }
}

impl Node {
    /// The next line of a follow that is at this line of this file; `None`: it ends.
    async fn next(&self, at: (usize, usize)) -> Option<(LogPiece, (usize, usize))> {
        let (mut file, mut line) = at;
        loop {
            {
                let mut log = self.log.lock().unwrap();
                let piece = log.files[file].get(line).cloned();
                match piece {
                    Some(piece) if log.budget > 0 => {
                        log.budget -= 1;
                        return Some((piece, (file, line + 1)));
                    }
                    None if !log.runs => return None,
                    _ => {}
                }
            }
            let at_end = line >= self.log.lock().unwrap().files[file].len();
            if at_end && self.files() > file + 1 {
                // As the kubelet does: on to the newest.
                (file, line) = (self.files() - 1, 0);
                continue;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn pass(resume: &mut Option<Resume>, pieces: Vec<LogPiece>) -> Vec<LogItem> {
    let Some(resume) = resume else { return pieces.into_iter().map(LogItem::Piece).collect() };
    let mut items = Vec::new();
    for piece in pieces {
        let mut out = Vec::new();
        if let Resumed::Lost(gap) = resume.push(piece, &mut out) {
            items.push(LogItem::Gap(gap));
        }
        items.extend(out.into_iter().map(LogItem::Piece));
    }
    items
}
