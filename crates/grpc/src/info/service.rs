//! ServerService: what this server is and offers.

use std::sync::Arc;

use tonic::{Request, Response};

use crate::info::response;
use crate::info::response::ServerFacts;
use crate::run::request;
use crate::server::layers::caller;
use crate::status::{self, HandlerResult};
use longshore_api::v1;
use longshore_api::v1::server_service_server::ServerService;
use longshore_engine::Engine;

/// Answers ServerService.
#[derive(Clone, Debug)]
pub(crate) struct ServerApi {
    pub(crate) engine: Engine,
    pub(crate) facts: Arc<ServerFacts>,
}

#[tonic::async_trait]
impl ServerService for ServerApi {
    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> HandlerResult<v1::GetServerInfoResponse> {
        let namespaces = self.engine.namespaces(&caller(&request)).await.map_err(status::answer)?;
        Ok(Response::new(response::info(&self.facts, self.engine.rules(), &namespaces)))
    }

    async fn list_runner_profiles(
        &self,
        request: Request<v1::ListRunnerProfilesRequest>,
    ) -> HandlerResult<v1::ListRunnerProfilesResponse> {
        let namespace = request::profiles(request.get_ref()).map_err(status::invalid)?;
        let profiles = self.engine.profiles(&caller(&request), &namespace).await.map_err(status::answer)?;
        Ok(Response::new(response::profiles(profiles)))
    }
}
