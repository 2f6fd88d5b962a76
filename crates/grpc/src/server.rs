//! ServerService: what this server is and offers.

use std::sync::Arc;

use tonic::{Request, Response};

use super::convert::server::ServerFacts;
use super::convert::{request, server};
use super::layers::caller;
use super::status::{self, Answer};
use longshore_api::v1;
use longshore_api::v1::server_service_server::ServerService;
use longshore_engine::Engine;

/// Answers ServerService.
#[derive(Clone, Debug)]
pub(super) struct ServerApi {
    pub(super) engine: Engine,
    pub(super) facts: Arc<ServerFacts>,
}

#[tonic::async_trait]
impl ServerService for ServerApi {
    async fn get_server_info(&self, request: Request<v1::GetServerInfoRequest>) -> Answer<v1::GetServerInfoResponse> {
        let namespaces = self.engine.namespaces(&caller(&request)).await.map_err(status::answer)?;
        Ok(Response::new(server::info(&self.facts, self.engine.rules(), &namespaces)))
    }

    async fn list_runner_profiles(
        &self,
        request: Request<v1::ListRunnerProfilesRequest>,
    ) -> Answer<v1::ListRunnerProfilesResponse> {
        let namespace = request::profiles(request.get_ref()).map_err(status::invalid)?;
        let profiles = self.engine.profiles(&caller(&request), &namespace).await.map_err(status::answer)?;
        Ok(Response::new(server::profiles(profiles)))
    }
}
