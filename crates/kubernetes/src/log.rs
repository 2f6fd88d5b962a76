//! The role [`Logs`] on a cluster: bytes of `pods/log`, cut into pieces and put in place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{ACCEPT_ENCODING, HeaderValue};
use http_body_util::{BodyDataStream, BodyExt, Limited};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::LogParams;
use kube::client::Body;
use kube::core::{Request, Status};
use tokio::time::timeout;

use crate::api::client::Cluster;
use crate::api::error::{CallError, Target, chain};
use longshore_backend::{BackendError, LogItem, LogOptions, LogSource, Logs};
use longshore_domain::log::{LogPiece, Resume, Resumed, TimestampedSplitter, since_seconds};

/// How long a plain read may wait for its next bytes.
const READ_IDLE: Duration = Duration::from_secs(30);
/// What is read of an error's body at most.
const ERROR_MAX_BYTES: usize = 64 * 1024;

/// Reads the output of Pods' containers.
#[derive(Clone, Debug)]
pub(crate) struct KubernetesLogs {
    cluster: Arc<Cluster>,
    read_idle: Duration,
}

impl KubernetesLogs {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, read_idle: READ_IDLE }
    }

    /// The same with another bound.
    #[cfg(test)]
    pub(crate) fn with_idle(cluster: Arc<Cluster>, idle: Duration) -> Self {
        Self { cluster, read_idle: idle }
    }
}

#[async_trait]
impl Logs for KubernetesLogs {
    fn rotates(&self) -> bool {
        true
    }

    async fn open(
        &self,
        source: &LogSource,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<LogItem, BackendError>>, BackendError> {
        let kube_namespace = self.cluster.target(&source.run.namespace)?.to_owned();
        let request = request(&kube_namespace, source, options).map_err(|error| {
            CallError::from(error).to_backend(Target::new("read the log of", "Pod", &kube_namespace, &source.pod))
        })?;
        let opening = open_body(Arc::clone(&self.cluster), kube_namespace, source.pod.clone(), request);
        let resume = if options.at_file_end { Resume::at_file_end } else { Resume::new };
        let reader = |upstream: PodLogStream, idle: Option<Duration>| PodLogReader {
            pod: source.pod.clone(),
            upstream,
            idle,
            splitter: TimestampedSplitter::default(),
            resume: options.from.map(resume),
            ready: VecDeque::new(),
            failed: None,
        };
        let reader = if options.follow {
            // Whether a header comes before the first line, which may take for ever, is the servers'
            // business: to wait for it is a part of reading.
            reader(PodLogStream::Opening(Box::pin(opening)), None)
        } else {
            let body = match timeout(self.cluster.request_timeout, opening).await {
                Ok(body) => body?,
                Err(_) => return Err(silent(&source.pod, self.cluster.request_timeout)),
            };
            reader(PodLogStream::Open(body), Some(self.read_idle))
        };
        Ok(stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        })
        .boxed())
    }
}

fn request(
    kube_namespace: &str,
    source: &LogSource,
    options: &LogOptions,
) -> Result<http::Request<Vec<u8>>, kube::Error> {
    let params = LogParams {
        container: Some(source.container.clone()),
        follow: options.follow,
        // A whole second: kube rounds to the nearest, and half a second would be lost.
        since_time: options.from.map(since_seconds).filter(|since| *since > Timestamp::UNIX_EPOCH),
        timestamps: true,
        ..LogParams::default()
    };
    let path = Pod::url_path(&(), Some(kube_namespace));
    let mut request = Request::new(path).logs(&source.pod, &params).map_err(kube::Error::BuildRequest)?;
    // Lines are to come as they are written, not when a compressor's block is full.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(request)
}

async fn open_body(
    cluster: Arc<Cluster>,
    kube_namespace: String,
    pod: String,
    request: http::Request<Vec<u8>>,
) -> Result<BodyDataStream<Body>, BackendError> {
    let target = Target::new("read the log of", "Pod", &kube_namespace, &pod);
    let answer = cluster.client.send(request.map(Body::from)).await;
    let answer = answer.map_err(|error| CallError::from(error).to_backend(target))?;
    if answer.status().is_success() {
        return Ok(answer.into_body().into_data_stream());
    }
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ERROR_MAX_BYTES).collect();
    let text = match timeout(cluster.request_timeout, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    Err(refusal(code, &text, target))
}

fn refusal(code: u16, body: &[u8], target: Target<'_>) -> BackendError {
    let status = serde_json::from_slice::<Status>(body).ok().filter(|status| status.code == code);
    let status = status.unwrap_or_else(|| Status::failure(&String::from_utf8_lossy(body), "").with_code(code));
    if code == 400 && is_too_early(&status.message) {
        return BackendError::Unavailable { what: target.to_string(), message: status.message };
    }
    CallError::Status(status.boxed()).to_backend(target)
}

/// The kubelet's words for a container whose output is not there yet, or not any more for a moment.
fn is_too_early(message: &str) -> bool {
    ["is waiting to start", "is not available", "is terminated"].iter().any(|words| message.contains(words))
}

fn silent(pod: &str, limit: Duration) -> BackendError {
    BackendError::Unavailable {
        what: format!("read the log of Pod {pod}"),
        message: format!("nothing came for {} s", limit.as_secs()),
    }
}

enum PodLogStream {
    Opening(BoxFuture<'static, Result<BodyDataStream<Body>, BackendError>>),
    Open(BodyDataStream<Body>),
    Ended,
}

/// What came of waiting for the upstream.
enum Received {
    Opened(BodyDataStream<Body>),
    Bytes(Bytes),
    End,
    Failed(BackendError),
    /// It has ended before.
    Nothing,
}

struct PodLogReader {
    pod: String,
    upstream: PodLogStream,
    /// How long the next bytes may take. `None`, for a follow: for ever; a half-open connection says
    /// nothing for ever too, and its reader has to see to that.
    idle: Option<Duration>,
    splitter: TimestampedSplitter,
    resume: Option<Resume>,
    /// Cut from one chunk; the next is only asked for when this is taken.
    ready: VecDeque<LogItem>,
    /// What comes after them, and ends the stream.
    failed: Option<BackendError>,
}

impl PodLogReader {
    async fn next(&mut self) -> Option<Result<LogItem, BackendError>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if let Some(error) = self.failed.take() {
                self.upstream = PodLogStream::Ended;
                return Some(Err(error));
            }
            let next = async {
                match &mut self.upstream {
                    PodLogStream::Opening(opening) => match opening.await {
                        Ok(body) => Received::Opened(body),
                        Err(error) => Received::Failed(error),
                    },
                    PodLogStream::Open(body) => match body.next().await {
                        Some(Ok(bytes)) => Received::Bytes(bytes),
                        Some(Err(error)) => Received::Failed(cut(&self.pod, &error)),
                        None => Received::End,
                    },
                    PodLogStream::Ended => Received::Nothing,
                }
            };
            let heard = match self.idle {
                None => next.await,
                Some(idle) => timeout(idle, next).await.unwrap_or_else(|_| Received::Failed(silent(&self.pod, idle))),
            };
            match heard {
                Received::Nothing => return None,
                Received::Opened(body) => self.upstream = PodLogStream::Open(body),
                Received::Bytes(bytes) => {
                    let mut pieces = Vec::new();
                    self.splitter.push(bytes, &mut pieces);
                    self.place(pieces);
                    self.failed = self.refusal();
                }
                Received::End => self.end(),
                Received::Failed(error) => self.failed = Some(error),
            }
        }
    }

    /// The kubelet's own words instead of output, if it said some.
    fn refusal(&self) -> Option<BackendError> {
        let message = self.splitter.refusal()?;
        Some(BackendError::Unreadable { what: format!("read the log of Pod {}", self.pod), message })
    }

    /// Passes on what comes after the position.
    fn place(&mut self, pieces: Vec<LogPiece>) {
        let Some(resume) = &mut self.resume else {
            self.ready.extend(pieces.into_iter().map(LogItem::Piece));
            return;
        };
        for piece in pieces {
            let mut out = Vec::new();
            if let Resumed::Lost(gap) = resume.push(piece, &mut out) {
                self.ready.push_back(LogItem::Gap(gap));
            }
            self.ready.extend(out.into_iter().map(LogItem::Piece));
        }
    }

    /// The backend ended the stream. A plain read is then complete, and what it did not find is not
    /// there; of a follow's position that says nothing.
    fn end(&mut self) {
        self.upstream = PodLogStream::Ended;
        let mut pieces = Vec::new();
        // A follow may have been cut, but then its next read goes on in the middle of the line.
        self.splitter.finish(true, &mut pieces);
        self.place(pieces);
        self.failed = self.refusal();
        if self.idle.is_none() || self.failed.is_some() {
            return;
        }
        if let Some(resume) = self.resume.take() {
            let mut out = Vec::new();
            self.ready.extend(resume.finish(&mut out).map(LogItem::Gap));
            self.ready.extend(out.into_iter().map(LogItem::Piece));
        }
    }
}

fn cut(pod: &str, error: &kube::Error) -> BackendError {
    BackendError::Unavailable { what: format!("read the log of Pod {pod}"), message: chain(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_will_pass_are_distinguished_from_others() {
        let target = Target::new("read the log of", "Pod", "ns", "p");
        let status = |code: u16, message: &str| {
            serde_json::to_vec(&Status::failure(message, "BadRequest").with_code(code)).unwrap()
        };
        let early = "container \"run\" in pod \"p\" is waiting to start: ContainerCreating";
        assert!(refusal(400, &status(400, early), target).is_transient());
        assert!(!refusal(400, &status(400, "container x is not valid for pod p"), target).is_transient());
        assert!(matches!(refusal(404, &status(404, "pods \"p\" not found"), target), BackendError::NotFound(_)));
        assert!(matches!(refusal(502, b"<html>bad gateway", target), BackendError::Unavailable { .. }));
    }
}
