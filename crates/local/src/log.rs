//! Reads a run's log file.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;

use crate::blocking::{blocking, lock};
use crate::run::facts::{Contents, Stand};
use crate::run::inotify::{Subscription, WatchMask};
use crate::run::runs::LocalRuns;
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource};
use longshore_domain::log::{CriSplitter, LogGap, LogGapCause, LogPiece, Resume, Resumed};
use longshore_domain::run::rundir::{self, Exit};

mod seek;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;
/// How often a follower looks unasked, although it is notified of every change.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often it looks if the kernel does not report changes.
const POLL_EVERY: Duration = Duration::from_millis(50);

type Item = Result<LogItem, BackendError>;

pub(crate) async fn open(
    local: Arc<LocalRuns>,
    source: LogSource,
    options: LogOptions,
) -> Result<BoxStream<'static, Item>, BackendError> {
    let opening = Arc::clone(&local);
    let opened = blocking("opening the output", move || {
        let contents = opening.own(&source.run, &source.run_uid)?;
        let last = contents.ledger.there().map_or(1, |ledger| ledger.number);
        if !(1..=last).contains(&source.attempt) || source.container != "run" {
            let what = format!("container {} of {}", source.container, source.run.attempt(source.attempt));
            return Err(BackendError::NotFound(what));
        }
        let mut reader = LogFileReader::new(opening, source, options);
        if let (Some(position), Some(file)) = (options.from, reader.file()?) {
            reader.offset = seek::before(&file, position.time)
                .map_err(|source| BackendError::Io { what: format!("reading {}", reader.path.display()), source })?;
        }
        if !options.follow {
            reader.tail = Some(LogTail::of(&reader.local, &contents, reader.source.attempt)?);
            reader.until = Some(match reader.file()? {
                None => 0,
                Some(file) => {
                    let failed =
                        |source| BackendError::Io { what: format!("reading {}", reader.path.display()), source };
                    file.metadata().map_err(failed)?.len()
                }
            });
        }
        Ok(reader)
    });
    let reader = opened.await?;
    Ok(stream::unfold(reader, |mut reader| async move { reader.next().await.map(|item| (item, reader)) }).boxed())
}

/// What is known of the log's end.
struct LogTail {
    /// Whether nothing is written any more.
    complete: bool,
    /// How long the log was, if it is complete.
    bytes: Option<u64>,
    /// Why something of the end is missing, or may be.
    missing: Option<(LogGapCause, String)>,
}

impl LogTail {
    /// Of the log of this attempt, which may have been put away.
    fn of(local: &LocalRuns, contents: &Contents, attempt: u32) -> Result<Self, BackendError> {
        let ledger = contents.ledger.there().cloned().unwrap_or_default();
        if !ledger.is_between() && attempt == ledger.number {
            return Ok(Self::of_present(contents));
        }
        // Nothing writes to it any more. Of one whose shim was killed there is no such file. It may be put away meanwhile.
        let present = match attempt == ledger.number {
            true => local.store.read(&contents.name, rundir::EXIT)?,
            false => None,
        };
        let put_away = format!("{}/{}", rundir::put_away(attempt), rundir::EXIT);
        let exit = match present {
            None => local.store.read(&contents.name, &put_away)?,
            present => present,
        };
        let exit: Option<Exit> = exit.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(exit.as_ref().map_or_else(Self::of_lost, Self::of_exit))
    }

    fn of_exit(exit: &Exit) -> Self {
        let missing = exit.log_error.clone().map(|why| (LogGapCause::NotWritten, why));
        Self { complete: true, bytes: Some(exit.log_bytes), missing }
    }

    fn of_lost() -> Self {
        let why = "the process that kept the log was killed, so its end may be missing".to_owned();
        Self { complete: true, bytes: None, missing: Some((LogGapCause::NotWritten, why)) }
    }

    fn of_present(contents: &Contents) -> Self {
        match (contents.exit.there(), contents.stand()) {
            (Some(exit), _) => Self::of_exit(exit),
            (None, Stand::Lost) => Self::of_lost(),
            // Nothing writes to it any more, and nobody waits any longer for what would show how long it was.
            (None, Stand::Unknown) if contents.is_idle() && contents.released.is_there() => {
                let why = contents.exit.unknown().map(ToString::to_string).unwrap_or_default();
                let why = format!("how the run ended can't be read, so the log's end may be missing: {why}");
                Self { complete: true, bytes: None, missing: Some((LogGapCause::Unreadable, why)) }
            }
            (None, _) => Self { complete: false, bytes: None, missing: None },
        }
    }
}

struct LogFileReader {
    local: Arc<LocalRuns>,
    source: LogSource,
    path: PathBuf,
    file: Option<Arc<File>>,
    offset: u64,
    /// Where to end; `None`: where the log ends.
    until: Option<u64>,
    splitter: CriSplitter,
    resume: Option<Resume>,
    tail: Option<LogTail>,
    subscriptions: Vec<Subscription>,
    last_time: Option<Timestamp>,
    ready: VecDeque<Item>,
    done: bool,
}

impl LogFileReader {
    fn new(local: Arc<LocalRuns>, source: LogSource, options: LogOptions) -> Self {
        let path = local.store.dir(&source.run).join(rundir::LOG);
        Self {
            local,
            source,
            path,
            file: None,
            offset: 0,
            until: None,
            splitter: CriSplitter::default(),
            resume: options.from.map(Resume::new),
            tail: None,
            subscriptions: Vec::new(),
            last_time: options.from.map(|position| position.time),
            ready: VecDeque::new(),
            done: false,
        }
    }

    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.advance().await {
                self.done = true;
                return Some(Err(error));
            }
        }
    }

    /// Reads on, ends, or waits for more.
    async fn advance(&mut self) -> Result<(), BackendError> {
        self.listen();
        let mut changes: Vec<_> =
            self.subscriptions.iter().map(|subscription| Box::pin(subscription.changed().notified_owned())).collect();
        if !changes.is_empty() {
            changes.push(Box::pin(Arc::clone(&self.local.lost).notified_owned()));
        }
        // From here on no change is missed.
        for changed in &mut changes {
            changed.as_mut().enable();
        }
        let at_end = !self.read().await?;
        let last = self.until.is_some() || self.tail.as_ref().is_some_and(|tail| tail.complete);
        if at_end && last {
            self.end();
        } else if at_end && !self.look_for_end().await? {
            let is_notified = !self.subscriptions.is_empty() && (self.subscriptions.len() > 1 || self.file.is_none());
            let patience = if is_notified { LOOK_EVERY } else { POLL_EVERY };
            // Either way it is looked for again.
            let _ = tokio::time::timeout(patience, any(changes)).await;
        }
        Ok(())
    }

    /// Listens to the log and to its directory, where the log and the exit appear.
    fn listen(&mut self) {
        if self.until.is_some() {
            return;
        }
        let Some(notifier) = lock(&self.local.notifier).clone() else { return };
        if self.subscriptions.is_empty() {
            let dir = self.path.parent().unwrap_or_else(|| Path::new("/"));
            self.subscriptions.extend(notifier.listen(dir, WatchMask::CREATE | WatchMask::MOVED_TO));
        }
        if self.subscriptions.len() == 1 {
            self.subscriptions.extend(notifier.listen(&self.path, WatchMask::MODIFY));
        }
    }

    fn file(&mut self) -> Result<Option<Arc<File>>, BackendError> {
        if self.file.is_none() {
            self.file = self.open_file()?.map(Arc::new);
        }
        Ok(self.file.clone())
    }

    /// The log of the attempt, wherever it is by now.
    fn open_file(&self) -> Result<Option<File>, BackendError> {
        let (store, run, attempt) = (&self.local.store, &self.source.run, self.source.attempt);
        // One that is put away meanwhile is found there; the log of the next attempt is not taken for it.
        let present = store.open_file(run, rundir::LOG)?;
        match store.open_file(run, &format!("{}/{}", rundir::put_away(attempt), rundir::LOG))? {
            Some(file) => Ok(Some(file)),
            None if store.is_past(run, attempt)? => Ok(None),
            None => Ok(present),
        }
    }

    /// Reads the next chunk. `false`: nothing is there.
    async fn read(&mut self) -> Result<bool, BackendError> {
        let Some(file) = self.file()? else { return Ok(false) };
        let left = self.until.map_or(u64::MAX, |until| until.saturating_sub(self.offset));
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let (offset, path) = (self.offset, self.path.clone());
        let chunk = blocking("reading the log", move || {
            let mut buffer = vec![0; size];
            let read = file.read_at(&mut buffer, offset);
            let count =
                read.map_err(|source| BackendError::Io { what: format!("reading {}", path.display()), source })?;
            buffer.truncate(count);
            Ok(Bytes::from(buffer))
        })
        .await?;
        if chunk.is_empty() {
            return Ok(false);
        }
        self.offset += chunk.len() as u64;
        let mut pieces = Vec::new();
        self.splitter.push(chunk, &mut pieces);
        self.pass(pieces);
        Ok(true)
    }

    fn pass(&mut self, pieces: Vec<LogPiece>) {
        let mut passed = Vec::new();
        for piece in pieces {
            match &mut self.resume {
                None => passed.push(piece),
                Some(resume) => {
                    if let Resumed::Lost(gap) = resume.push(piece, &mut passed) {
                        self.ready.push_back(Ok(LogItem::Gap(gap)));
                    }
                }
            }
        }
        self.pass_on(passed);
    }

    fn pass_on(&mut self, pieces: Vec<LogPiece>) {
        self.last_time = pieces.last().map(|piece| piece.time).or(self.last_time);
        self.ready.extend(pieces.into_iter().map(|piece| Ok(LogItem::Piece(piece))));
    }

    /// Looks whether the log is complete. If it has become so, there may be more to read.
    async fn look_for_end(&mut self) -> Result<bool, BackendError> {
        let (local, source) = (Arc::clone(&self.local), self.source.clone());
        let tail = blocking("reading a run", move || {
            LogTail::of(&local, &*local.own(&source.run, &source.run_uid)?, source.attempt)
        });
        let tail = tail.await?;
        let complete = tail.complete;
        self.tail = Some(tail);
        Ok(complete)
    }

    fn end(&mut self) {
        self.done = true;
        let dropped = self.splitter.finish();
        let mut passed = Vec::new();
        if let Some(gap) = self.resume.take().and_then(|resume| resume.finish(&mut passed)) {
            self.ready.push_back(Ok(LogItem::Gap(gap)));
        }
        self.pass_on(passed);
        let Some(tail) = self.tail.take().filter(|tail| tail.complete) else { return };
        let short = tail.bytes.is_some_and(|bytes| bytes > self.offset) || dropped > 0;
        let cut = "the machine went down before the log's end was on its disk";
        let cut = short.then(|| (LogGapCause::NotWritten, cut.to_owned()));
        if let Some((cause, message)) = tail.missing.or(cut) {
            let gap = LogGap { from_time: self.last_time, to_time: None, cause, message };
            self.ready.push_back(Ok(LogItem::Gap(gap)));
        }
    }
}

/// Waits for the first of them; for ever, if there are none.
async fn any<F: Future + Unpin>(futures: Vec<F>) {
    if futures.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(futures).await;
}
