//! RunService: each method decodes, calls the engine, and encodes.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::run::log::LogEncoder;
use crate::run::watch::WatchEncoder;
use crate::run::{request, response};
use crate::server::layers::{KeptBytes, caller, note};
use crate::server::streams;
use crate::status::{self, HandlerResult};
use crate::wire::View;
use longshore_api::v1;
use longshore_api::v1::run_service_server::RunService;
use longshore_domain::result::FoundResult;
use longshore_domain::run::Run;
use longshore_engine::{Engine, Watched};

/// Largest piece of a result, in bytes.
const RESULT_CHUNK: usize = 64 * 1024;

/// Answers RunService.
#[derive(Clone, Debug)]
pub(crate) struct RunApi {
    pub(crate) engine: Engine,
    pub(crate) drain: CancellationToken,
}

type Messages<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl RunService for RunApi {
    type WatchRunsStream = Messages<v1::WatchRunsResponse>;
    type StreamLogsStream = Messages<v1::StreamLogsResponse>;
    type ReadResultStream = Messages<v1::ReadResultResponse>;

    async fn submit_run(&self, request: Request<v1::SubmitRunRequest>) -> HandlerResult<v1::SubmitRunResponse> {
        let caller = caller(&request);
        let submit = request::submit(request.into_inner()).map_err(status::invalid)?;
        let submitted = self.engine.submit(&caller, submit).await.map_err(status::answer)?;
        note(&submitted.run.name);
        let mut answer = response::submitted(&submitted);
        self.add_text(&submitted.run, answer.run.as_mut(), View::Full).await;
        Ok(Response::new(answer))
    }

    async fn batch_submit_runs(
        &self,
        request: Request<v1::BatchSubmitRunsRequest>,
    ) -> HandlerResult<v1::BatchSubmitRunsResponse> {
        let caller = caller(&request);
        let batch = request::batch_submit(request.into_inner()).map_err(status::invalid)?;
        let validate_only = batch.validate_only;
        let submitted = self.engine.batch_submit(&caller, batch).await.map_err(status::answer)?;
        Ok(Response::new(response::batch_submitted(submitted, validate_only)))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> HandlerResult<v1::GetRunResponse> {
        let caller = caller(&request);
        let (name, view) = request::get(request.get_ref()).map_err(status::invalid)?;
        note(&name);
        let run = self.engine.get(&caller, &name).await.map_err(status::answer)?;
        Ok(Response::new(v1::GetRunResponse { run: Some(self.one(&run, view).await) }))
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> HandlerResult<v1::ListRunsResponse> {
        let caller = caller(&request);
        let (list, view) = request::list(request.into_inner()).map_err(status::invalid)?;
        let page = self.engine.list(&caller, list.clone()).await.map_err(status::answer)?;
        Ok(Response::new(response::page(&page, view, |run| self.engine.page_token_after(&list, run))))
    }

    async fn watch_runs(&self, request: Request<v1::WatchRunsRequest>) -> HandlerResult<Self::WatchRunsStream> {
        let caller = caller(&request);
        let (watched, filter, view) = request::watch(request.into_inner()).map_err(status::invalid)?;
        if let Watched::Run(name) = &watched {
            note(name);
        }
        let events = self.engine.watch(&caller, watched, filter).await.map_err(status::answer)?;
        Ok(Response::new(streams::messages(events.map(Ok).boxed(), WatchEncoder::new(view), self.drain.clone())))
    }

    async fn wait_run(&self, request: Request<v1::WaitRunRequest>) -> HandlerResult<v1::WaitRunResponse> {
        let caller = caller(&request);
        let (name, timeout, view) = request::wait(request.get_ref()).map_err(status::invalid)?;
        note(&name);
        let waited = tokio::select! {
            waited = self.engine.wait(&caller, &name, timeout) => waited,
            // A drain does not wait for waiters: they get the present run and call again.
            () = self.drain.cancelled() => self.engine.wait(&caller, &name, Duration::ZERO).await,
        };
        let run = waited.map_err(status::answer)?;
        Ok(Response::new(v1::WaitRunResponse { run: Some(self.one(&run, view).await) }))
    }

    async fn stream_logs(&self, request: Request<v1::StreamLogsRequest>) -> HandlerResult<Self::StreamLogsStream> {
        let caller = caller(&request);
        let (query, format) = request::stream_logs(request.into_inner()).map_err(status::invalid)?;
        note(&query.name);
        let encoder = LogEncoder::new(&query, format);
        let events = self.engine.stream_logs(&caller, query).await.map_err(status::answer)?;
        Ok(Response::new(streams::messages(events, encoder, self.drain.clone())))
    }

    async fn read_result(&self, request: Request<v1::ReadResultRequest>) -> HandlerResult<Self::ReadResultStream> {
        let caller = caller(&request);
        let (name, offset) = request::read_result(request.get_ref()).map_err(status::invalid)?;
        note(&name);
        let (found, json) = self.engine.read_result(&caller, &name).await.map_err(status::answer)?;
        let from = usize::try_from(offset).ok().filter(|from| *from <= json.len());
        let from = from.ok_or_else(|| status::offset_out_of_range(&name, offset, json.len() as u64))?;
        let mut answer = Response::new(result_chunks(&found, json.slice(from..)));
        answer.extensions_mut().insert(KeptBytes(json.len()));
        Ok(answer)
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> HandlerResult<v1::CancelRunResponse> {
        let caller = caller(&request);
        let request = request.into_inner();
        let name = request::cancel(&request).map_err(status::invalid)?;
        note(&name);
        let run = self.engine.cancel(&caller, &name, request.reason, &request.etag).await.map_err(status::answer)?;
        Ok(Response::new(v1::CancelRunResponse { run: Some(self.one(&run, View::Full).await) }))
    }

    async fn cancel_runs(&self, request: Request<v1::CancelRunsRequest>) -> HandlerResult<v1::CancelRunsResponse> {
        let caller = caller(&request);
        let (matching, reason) = request::cancel_matching(request.into_inner()).map_err(status::invalid)?;
        let matched = self.engine.cancel_matching(&caller, matching, &reason).await.map_err(status::answer)?;
        Ok(Response::new(response::cancelled(matched)))
    }

    async fn delete_run(&self, request: Request<v1::DeleteRunRequest>) -> HandlerResult<v1::DeleteRunResponse> {
        let caller = caller(&request);
        let request = request.into_inner();
        let name = request::delete(&request).map_err(status::invalid)?;
        note(&name);
        let held = self.engine.delete(&caller, &name, request.allow_missing, &request.etag).await;
        let run = match held.map_err(status::answer)? {
            Some(run) => Some(self.one(&run, View::Full).await),
            None => None,
        };
        Ok(Response::new(v1::DeleteRunResponse { run }))
    }

    async fn delete_runs(&self, request: Request<v1::DeleteRunsRequest>) -> HandlerResult<v1::DeleteRunsResponse> {
        let caller = caller(&request);
        let matching = request::delete_matching(request.into_inner()).map_err(status::invalid)?;
        let matched = self.engine.delete_matching(&caller, matching).await.map_err(status::answer)?;
        Ok(Response::new(response::deleted(matched)))
    }
}

impl RunApi {
    /// A run that is reported by itself.
    async fn one(&self, run: &Run, view: View) -> v1::Run {
        let mut wire = response::to_wire(run, view);
        self.add_text(run, Some(&mut wire), view).await;
        wire
    }

    /// Fetches a result that is reported inline but kept beside the record. One that can't be read
    /// now is reported without its text: the rest of the run is true all the same, and ReadResult
    /// says why.
    async fn add_text(&self, run: &Run, wire: Option<&mut v1::Run>, view: View) {
        let result = wire.and_then(|wire| wire.result.as_mut()).filter(|result| response::lacks_text(result, view));
        let Some(result) = result else { return };
        if let Ok((found, json)) = self.engine.result_of(&run.name).await
            && found.sha256 == result.sha256
        {
            result.json = String::from_utf8(json.into()).unwrap_or_default();
        }
    }
}

/// The rest of a result in pieces; the first describes the whole, and comes even if nothing is
/// left.
fn result_chunks(found: &FoundResult, rest: Bytes) -> Messages<v1::ReadResultResponse> {
    let mut first = v1::ReadResultResponse {
        data: Vec::new(),
        size_bytes: i64::try_from(found.size_bytes).unwrap_or(i64::MAX),
        sha256: found.sha256.clone(),
    };
    let mut rest = rest;
    first.data = rest.split_to(rest.len().min(RESULT_CHUNK)).to_vec();
    let more = stream::unfold(rest, |mut rest| async {
        let data = rest.split_to(rest.len().min(RESULT_CHUNK)).to_vec();
        (!data.is_empty()).then(|| (Ok(v1::ReadResultResponse { data, ..Default::default() }), rest))
    });
    stream::iter([Ok(first)]).chain(more).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_domain::result::{ResultDialect, ResultSource};

    async fn chunks(rest: Bytes) -> Vec<v1::ReadResultResponse> {
        let found = FoundResult {
            json: None,
            size_bytes: 200_000,
            sha256: "ab".to_owned(),
            source: ResultSource::File,
            dialect: ResultDialect::Json,
            byte_range: None,
            warnings: Vec::new(),
        };
        result_chunks(&found, rest).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn a_result_comes_whole_in_small_pieces() {
        let json: Bytes = (0..200_000u32).map(|i| i.to_le_bytes()[0]).collect::<Vec<_>>().into();
        let chunks = chunks(json.clone()).await;
        assert_eq!(chunks.iter().flat_map(|chunk| chunk.data.clone()).collect::<Vec<_>>(), json);
        assert_eq!(chunks.iter().map(|chunk| chunk.data.len()).max(), Some(RESULT_CHUNK));
        assert_eq!((chunks[0].size_bytes, chunks[0].sha256.as_str()), (200_000, "ab"));
        assert!(chunks[1..].iter().all(|chunk| chunk.size_bytes == 0 && chunk.sha256.is_empty()));
    }

    #[tokio::test]
    async fn at_the_end_there_is_still_one_answer() {
        let chunks = chunks(Bytes::new()).await;
        assert_eq!((chunks.len(), chunks[0].size_bytes, chunks[0].data.len()), (1, 200_000, 0));
    }
}
