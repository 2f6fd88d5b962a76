//! The use case of reading a result.

use bytes::Bytes;

use crate::Engine;
use crate::access::Caller;
use crate::error::EngineError;
use longshore_domain::name::RunName;
use longshore_domain::result::{FoundResult, ResultState};

impl Engine {
    /// Reads the result: what is known of it, and its compact JSON.
    ///
    /// # Errors
    /// There is no such run, or it has no result; the backend failed.
    pub async fn read_result(&self, caller: &Caller, name: &RunName) -> Result<(FoundResult, Bytes), EngineError> {
        self.authorize(caller, name).await?;
        self.result_of(name).await
    }

    /// The same for a run that the caller may view anyway.
    ///
    /// # Errors
    /// As [`Engine::read_result`].
    pub async fn result_of(&self, name: &RunName) -> Result<(FoundResult, Bytes), EngineError> {
        let observed = self.observed(name).await?;
        let none = |why: &str| EngineError::NoResult { name: name.clone(), why: why.to_owned() };
        let info = observed.view.result.as_ref().ok_or_else(|| none("its result rule is NONE"))?;
        let Some(found) = &info.found else {
            return Err(none(match (info.state, &info.error) {
                (ResultState::Pending, _) => "it has not ended yet",
                (_, Some(error)) => &error.message,
                (_, None) => "none was found",
            }));
        };
        if let Some(json) = &found.json {
            return Ok((found.clone(), Bytes::from(json.clone())));
        }
        // An error would mean that it is closed, which it never is.
        let _turn = self.inner.results_read.acquire().await;
        match self.inner.backend.runs.read_result(name, &observed.facts.uid).await? {
            Some(bytes) => Ok((found.clone(), Bytes::from(bytes))),
            None => Err(none("the object that stored it was deleted")),
        }
    }
}
